#include "migration/service_arrivals.h"

#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/migration_record.h"
#include "migration/service_arrival_job.h"
#include "migration/service_obstacles.h"
#include "migration/ticket_kind.h"

namespace ferry::migration {

namespace {

/// Of the 5 s that a create may take.
constexpr std::chrono::milliseconds check_time{4000};
constexpr std::chrono::milliseconds check_time_of_export{3000};
constexpr std::chrono::milliseconds undo_time{15'000};
constexpr const char* id_member = "arriving";

nlohmann::json to_json(const std::string& id, const ServiceMoveRequest& request) {
  nlohmann::json json = {{id_member, id}, {"service_options", migration::to_json(request.options)}};
  add_to_json(json, request.peer);
  add_to_json(json, request.terms);
  return json;
}

/// Throws nlohmann::json::exception.
ServiceMoveRequest request_of(const nlohmann::json& json) {
  return {peer_of(json), service_options_of(json.at("service_options")), terms_of(json)};
}

}  // namespace

ServiceArrivals::~ServiceArrivals() { abandon_all(); }

void ServiceArrivals::abandon_all() { jobs_.abandon_all(); }

nlohmann::json ServiceArrivals::status(const volumes::VolumeRecord& ticket) const { return jobs_.status(ticket); }

/// As an earlier process has left it.
Result<std::shared_ptr<ServiceArrivalJob>> ServiceArrivals::job_of(const volumes::VolumeRecord& ticket) const {
  try {
    return std::make_shared<ServiceArrivalJob>(parts_, ticket.name, ticket.import.at(id_member).get<std::string>(),
                                               request_of(ticket.import));
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, "ticket " + ticket.name + " cannot be read: " + error.what());
  }
}

void ServiceArrivals::resume() {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::arriving_service) || record->state != volumes::State::importing) continue;
    const auto one_at_a_time = names_.lock(record->name);
    // It may have been made, or removed, since volumes are served.
    const auto now = parts_.catalogue.find(record->name);
    if (jobs_.find(record->name) || !now || !is_ticket(*now, TicketKind::arriving_service)) continue;
    auto job = job_of(*now);
    if (job)
      jobs_.start(record->name, std::move(*job));
    else
      spdlog::error("{}", job.error().message);
  }
}

Result<> ServiceArrivals::begin(const std::string& name, const ServiceMoveRequest& request) {
  const auto one_at_a_time = names_.lock(name);
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const auto peer = parts_.peers.peer(request.peer);
  const bool is_export = request.peer.way == transport::PeerAddress::Way::turned;
  const Deadline deadline = after(is_export ? check_time_of_export : check_time);
  FERRY_ASSIGN(const std::string uuid, peer->identify(left_until(deadline)));
  if (uuid == parts_.catalogue.uuid())
    return fail(Code::invalid_argument, request.peer.text() + " is this host: a service moves to another one");
  FERRY_ASSIGN(const auto service,
               peer->describe_service(request.options.container, ServiceDetail::quick, left_until(deadline)));
  FERRY_TRY(check_names(service, request.options, name));
  FERRY_ASSIGN(const auto obstacles, parts_.planner.obstacles(service, request.options, name));
  FERRY_TRY(refuse_blocked(obstacles));
  const std::string id = is_export ? request.peer.export_id : random_hex(16);  // the source knows that one
  const auto job = std::make_shared<ServiceArrivalJob>(parts_, name, id, request);
  FERRY_TRY(parts_.catalogue.create(new_ticket(name, to_json(id, request), job->status())));
  jobs_.start(name, job);
  return {};
}

Result<> ServiceArrivals::cancel(const std::string& name) {
  const auto one_at_a_time = names_.lock(name);
  auto job = jobs_.find(name);
  if (!job) {  // one that has failed in an earlier process, which may not have taken everything back
    const auto record = parts_.catalogue.find(name);
    if (!record || !is_ticket(*record, TicketKind::arriving_service)) return {};
    FERRY_ASSIGN(job, job_of(*record));
  }
  job->abandon();
  const Deadline deadline = after(undo_time);
  auto undone = job->undo();
  while (!undone && undone.error().code == Code::unavailable && SteadyClock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    undone = job->undo();
  }
  if (!undone) return fail(Code::busy, "ticket " + name + ": " + undone.error().message + "; try again");
  jobs_.erase(name);
  return {};
}

}  // namespace ferry::migration
