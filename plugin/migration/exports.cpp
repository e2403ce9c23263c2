#include "migration/exports.h"

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/migration_record.h"
#include "migration/service_obstacles.h"
#include "migration/ticket_kind.h"

namespace ferry::migration {

namespace {

/// Below the 5 s that a create may take, altogether.
constexpr std::chrono::milliseconds look_time{1000};
constexpr std::chrono::milliseconds begin_time{4500};
constexpr std::chrono::milliseconds end_time{700};
constexpr std::uint64_t most_bytes = INT64_MAX;

}  // namespace

void Exports::resume() {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::exported)) continue;
    auto plan = export_plan(record->import);
    if (!plan) {
      spdlog::error("ticket {}: {}", record->name, plan.error().message);
      continue;
    }
    if (plan->told) continue;
    spdlog::info("carrying on ticket {} to {}", record->name, plan->request.peer.text());
    auto destination = parts_.peers.destination(plan->request, plan->id);
    start(record->name, *plan, std::move(destination));
  }
}

/// The destination looks at them, too; but what can be said here at once is said more plainly.
Result<> Exports::check_volumes(const TicketRequest& request) const {
  const Deadline deadline = after(look_time);
  for (const auto& volume : request.volumes) {
    if (SteadyClock::now() > deadline) break;
    FERRY_TRY(parts_.sources.describe(volume.source, request.terms.freeze, most_bytes));
  }
  return {};
}

/// With what is known of it once it has been looked at.
Result<TicketRequest> Exports::look_at(const TicketRequest& request, const std::string& name) const {
  TicketRequest known = request;
  if (!request.service) {
    FERRY_TRY(check_volumes(request));
    return known;
  }
  if (parts_.services == nullptr) return fail(Code::unsupported, "this host moves no services");
  FERRY_ASSIGN(const auto service, parts_.services->describe(request.service->container, ServiceDetail::quick));
  FERRY_TRY(check_names(service, *request.service, name));
  known.container = service.id;
  for (const auto* mount : travelling_volumes(service, *request.service))
    known.volumes.push_back({mount->at.name, mount->anonymous ? "" : name_there(*mount, *request.service),
                             is_copied(*mount, *request.service)});
  return known;
}

Result<> Exports::begin(const std::string& name, const TicketRequest& asked) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const Deadline deadline = after(begin_time);
  FERRY_ASSIGN(const TicketRequest request, look_at(asked, name));
  ExportPlan plan{request, random_hex(16)};
  auto destination = parts_.peers.destination(request, plan.id);
  // First: an export that the destination has taken on must be known here.
  FERRY_TRY(parts_.catalogue.create(new_ticket(name, to_json(plan), new_export_status(plan))));
  auto begun = destination->begin(request, left_until(deadline) - end_time);
  if (begun) {
    plan.begun = true;
    begun = parts_.catalogue.update(name, [](volumes::VolumeRecord& next) { next.import["begun"] = true; });
  }
  if (!begun) {
    if (auto taken = take_back(plan); !taken) spdlog::error("{}", taken.error().message);
    if (auto ended = destination->end(end_time); !ended)
      spdlog::warn("{} may have begun an export that was given up: {}", request.peer.text(), ended.error().message);
    if (auto removed = parts_.catalogue.remove(name); !removed) spdlog::error("{}", removed.error().message);
    return begun;
  }
  start(name, plan, std::move(destination));
  return {};
}

void Exports::start(const std::string& name, const ExportPlan& plan, std::shared_ptr<Destination> destination) {
  auto job =
      std::make_shared<ExportJob>(parts_.catalogue, name, plan, std::move(destination),
                                  ExportJob::HandOff{[this, id = plan.id] { return parts_.hand_offs.is_given(id); },
                                                     [this, id = plan.id] { return parts_.hand_offs.is_taken(id); },
                                                     [this, plan] { (void)take_back(plan); }});
  jobs_.start(name, std::move(job));
}

/// Of a hand-off: the volumes are this host's again, whatever the destination says. Code::busy: they are its own.
Result<> Exports::take_back(const ExportPlan& plan) const {
  if (!plan.request.hands_off()) return {};
  if (plan.request.service && parts_.departures != nullptr) return parts_.departures->cancel_export(plan.id);
  FERRY_ASSIGN(const hand_off::Answer answer, parts_.hand_offs.ask(plan.id, hand_off::Request::cancel));
  if (answer == hand_off::Answer::gone || answer == hand_off::Answer::reclaimed) return {};
  return fail(Code::busy, "the volumes are handed off to " + plan.request.peer.text() +
                              " already; the ticket ends as soon as that host has confirmed it");
}

/// The destination is told while it can still reach this host.
Result<> Exports::cancel(const std::string& name) {
  const auto one_at_a_time = names_.lock(name);
  const auto job = jobs_.find(name);
  if (!job) return {};
  if (!job->has_outcome()) FERRY_TRY(take_back(job->plan()));
  FERRY_TRY(job->withdraw());
  job->abandon();
  jobs_.erase(name);
  return {};
}

}  // namespace ferry::migration
