#include "migration/service_plan_job.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/time.h"
#include "migration/migration_record.h"

namespace ferry::migration {

namespace {

/// For the source's Engine to look twice at each file of a layer, and for its volumes to be counted.
constexpr std::chrono::milliseconds describe_time{300'000};
constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};

nlohmann::json first_status(const volumes::Catalogue& catalogue, const std::string& name,
                            const ServicePlanRequest& request) {
  auto stored = stored_status(catalogue, name, "migration");
  return stored.is_null() ? new_plan_status(request) : stored;
}

}  // namespace

nlohmann::json new_plan_status(const ServicePlanRequest& request) {
  auto migration = new_migration_status(request.exports ? "export" : "import", request.peer.text());
  migration["phase"] = "manifest";
  migration["error"] = nullptr;
  return {{"state", request.exports ? "exporting" : "importing"}, {"migration", migration}, {"service", nullptr}};
}

ServicePlanJob::ServicePlanJob(const ServicePlans::Parts& parts, std::string name, ServicePlanRequest request)
    : parts_(parts),
      name_(std::move(name)),
      request_(std::move(request)),
      peer_(parts_.peers.peer(request_.peer)),
      status_(first_status(parts_.catalogue, name_, request_)) {}

void ServicePlanJob::start() {
  const std::lock_guard guard(thread_mutex_);
  if (!cancelled_) thread_ = std::thread([this] { run(); });
}

void ServicePlanJob::stop_soon() {
  cancelled_ = true;
  peer_->abort();
  interrupt_.trip();
  trouble_.wake();
}

void ServicePlanJob::abandon() {
  stop_soon();
  const std::lock_guard guard(thread_mutex_);
  if (thread_.joinable()) thread_.join();
}

void ServicePlanJob::run() {
  const auto plan = make_until_done();
  // Code::cancelled: the Engine's client is stopped first when this process ends.
  if (!cancelled_ && (plan || plan.error().code != Code::cancelled)) end(plan);
}

Result<nlohmann::json> ServicePlanJob::make_until_done() {
  for (auto interval = first_pause;; interval = std::min(interval * 2, longest_pause)) {
    auto plan = make();
    if (plan || plan.error().code != Code::unavailable) return plan;
    if (!pause(interval, plan.error())) return fail(Code::cancelled, "cancelled");
  }
}

Result<nlohmann::json> ServicePlanJob::make() {
  const std::string& container = request_.options.container;
  if (request_.exports) {
    FERRY_ASSIGN(const auto service, parts_.services.describe(container, ServiceDetail::full, &interrupt_));
    return peer_->plan_service(service, request_.options, describe_time);
  }
  FERRY_ASSIGN(const auto service, peer_->describe_service(container, ServiceDetail::full, describe_time));
  return parts_.planner.plan(service, request_.options, &interrupt_);
}

/// False if it is to end.
bool ServicePlanJob::pause(std::chrono::milliseconds duration, const Error& why) {
  if (trouble_.set(why.message)) spdlog::warn("ticket {} waits: {}", name_, why.message);
  trouble_.wait(duration, [this] { return cancelled_.load(); });
  return !cancelled_;
}

void ServicePlanJob::end(const Result<nlohmann::json>& plan) {
  nlohmann::json status = this->status();
  const char* const state = plan ? "done" : "failed";
  status["state"] = state;
  auto& migration = status["migration"];
  migration["phase"] = state;
  migration["finished"] = now_rfc3339();
  migration["error"] = plan ? nlohmann::json(nullptr) : nlohmann::json(plan.error().message);
  if (plan)
    status["service"] = *plan;
  else
    spdlog::error("ticket {} failed: {}", name_, plan.error().message);
  auto stored = parts_.catalogue.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = plan ? volumes::State::done : volumes::State::failed;
    record.migration = status;
  });
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name_, stored.error().message);
  const std::lock_guard guard(mutex_);
  trouble_.clear();
  status_ = std::move(status);
}

nlohmann::json ServicePlanJob::status() const {
  const std::lock_guard guard(mutex_);
  auto status = status_;
  if (const std::string trouble = trouble_.text(); !trouble.empty()) status["migration"]["error"] = trouble;
  return status;
}

}  // namespace ferry::migration
