#include "migration/exports.h"

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/migration_record.h"
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
  for (const auto& record : catalogue_.list()) {
    if (!is_ticket(*record, TicketKind::exported)) continue;
    auto plan = export_plan(record->import);
    if (!plan) {
      spdlog::error("ticket {}: {}", record->name, plan.error().message);
      continue;
    }
    if (plan->told) continue;
    spdlog::info("carrying on ticket {} to {}", record->name, plan->request.peer.text());
    auto destination = peers_.destination(plan->request, plan->id);
    start(record->name, std::move(*plan), std::move(destination));
  }
}

/// The destination looks at them, too; but what can be said here at once is said more plainly.
Result<> Exports::check_volumes(const TicketRequest& request) const {
  const Deadline deadline = after(look_time);
  for (const auto& volume : request.volumes) {
    if (SteadyClock::now() > deadline) break;
    FERRY_TRY(sources_.describe(volume.source, request.terms.freeze, most_bytes));
  }
  return {};
}

Result<> Exports::begin(const std::string& name, const TicketRequest& request) {
  if (catalogue_.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const Deadline deadline = after(begin_time);
  FERRY_TRY(check_volumes(request));
  ExportPlan plan{request, random_hex(16)};
  auto destination = peers_.destination(request, plan.id);
  // First: an export that the destination has taken on must be known here.
  FERRY_TRY(catalogue_.create(new_ticket(name, to_json(plan), new_export_status(plan))));
  auto begun = destination->begin(request, left_until(deadline) - end_time);
  if (begun) {
    plan.begun = true;
    begun = catalogue_.update(name, [](volumes::VolumeRecord& next) { next.import["begun"] = true; });
  }
  if (!begun) {
    if (auto taken = take_back(plan); !taken) spdlog::error("{}", taken.error().message);
    if (auto ended = destination->end(end_time); !ended)
      spdlog::warn("{} may have begun an export that was given up: {}", request.peer.text(), ended.error().message);
    if (auto removed = catalogue_.remove(name); !removed) spdlog::error("{}", removed.error().message);
    return begun;
  }
  start(name, std::move(plan), std::move(destination));
  return {};
}

void Exports::start(const std::string& name, ExportPlan plan, std::shared_ptr<Destination> destination) {
  auto job = std::make_shared<ExportJob>(
      catalogue_, name, std::move(plan), std::move(destination),
      ExportJob::HandOff{[this, id = plan.id] { return hand_offs_.is_given(id); },
                         [this, id = plan.id] { return hand_offs_.is_taken(id); },
                         [this, id = plan.id] { (void)hand_offs_.ask(id, hand_off::Request::cancel); }});
  jobs_.start(name, std::move(job));
}

/// Of a hand-off: the volumes are this host's again, whatever the destination says. Code::busy: they are its own.
Result<> Exports::take_back(const ExportPlan& plan) {
  if (!plan.request.hands_off()) return {};
  FERRY_ASSIGN(const hand_off::Answer answer, hand_offs_.ask(plan.id, hand_off::Request::cancel));
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
