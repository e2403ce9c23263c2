#include "migration/service_plans.h"

#include "base/log.h"
#include "base/time.h"
#include "migration/migration_record.h"
#include "migration/service_plan_job.h"
#include "migration/ticket_kind.h"

namespace ferry::migration {

namespace {

/// Of the 5 s that a create may take.
constexpr std::chrono::milliseconds check_time{4000};
constexpr const char* plan_member = "plan_service";

nlohmann::json to_json(const ServicePlanRequest& request) {
  nlohmann::json json = {{plan_member, migration::to_json(request.options)}, {"exports", request.exports}};
  add_to_json(json, request.peer);
  return json;
}

/// Throws nlohmann::json::exception.
ServicePlanRequest request_of(const nlohmann::json& json) {
  return {peer_of(json), json.at("exports").get<bool>(), service_options_of(json.at(plan_member))};
}

}  // namespace

void ServicePlans::resume() {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::service_plan) || record->state != volumes::State::importing) continue;
    try {
      start(record->name, request_of(record->import));
    } catch (const nlohmann::json::exception& error) {
      const std::string why = std::string("the stored request cannot be read: ") + error.what();
      spdlog::error("ticket {}: {}", record->name, why);
      auto stored = parts_.catalogue.update(record->name, [&](volumes::VolumeRecord& next) {
        next.state = volumes::State::failed;
        next.migration = {{"state", "failed"}, {"migration", {{"error", why}}}};
      });
      if (!stored) spdlog::error("{}", stored.error().message);
    }
  }
}

Result<> ServicePlans::begin(const std::string& name, const ServicePlanRequest& request) {
  const auto one_at_a_time = names_.lock(name);
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const std::string& container = request.options.container;
  const auto peer = parts_.peers.peer(request.peer);
  const Deadline deadline = after(check_time);
  FERRY_ASSIGN(const std::string uuid, peer->identify(left_until(deadline)));
  if (uuid == parts_.catalogue.uuid())
    return fail(Code::invalid_argument, request.peer.text() + " is this host: a service moves to another one");
  if (request.exports) {
    FERRY_ASSIGN(const auto service, parts_.services.describe(container, ServiceDetail::quick));
    FERRY_TRY(peer->plan_service(service, request.options, left_until(deadline)));  // so much for what it allows
  } else {
    FERRY_TRY(peer->describe_service(container, ServiceDetail::quick, left_until(deadline)));
  }
  FERRY_TRY(parts_.catalogue.create(new_ticket(name, to_json(request), new_plan_status(request))));
  start(name, request);
  return {};
}

void ServicePlans::start(const std::string& name, const ServicePlanRequest& request) {
  jobs_.start(name, std::make_shared<ServicePlanJob>(parts_, name, request));
}

void ServicePlans::cancel(const std::string& name) {
  const auto one_at_a_time = names_.lock(name);
  if (const auto job = jobs_.find(name)) job->abandon();
  jobs_.erase(name);
}

void ServicePlans::abandon_all() { jobs_.abandon_all(); }

nlohmann::json ServicePlans::status(const volumes::VolumeRecord& ticket) const { return jobs_.status(ticket); }

}  // namespace ferry::migration
