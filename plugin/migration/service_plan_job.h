#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "migration/service_plans.h"
#include "migration/trouble.h"

namespace ferry::migration {

/// What Status shows of a plan that has just been asked for.
nlohmann::json new_plan_status(const ServicePlanRequest& request);

/// Makes one plan, in a thread of its own, and writes it into the ticket's record. Thread-safe.
class ServicePlanJob {
 public:
  /// The ticket's record must be in the catalogue, in State::importing. `parts` must outlive this object.
  ServicePlanJob(const ServicePlans::Parts& parts, std::string name, ServicePlanRequest request);
  ServicePlanJob(const ServicePlanJob&) = delete;
  ServicePlanJob& operator=(const ServicePlanJob&) = delete;
  ~ServicePlanJob() { abandon(); }

  /// Once; does nothing after abandon().
  void start();
  /// Ends it without an outcome. stop_soon() only begins to.
  void stop_soon();
  void abandon();

  nlohmann::json status() const;  ///< all of the ticket's Status

 private:
  void run();
  Result<nlohmann::json> make_until_done();
  Result<nlohmann::json> make();
  bool pause(std::chrono::milliseconds duration, const Error& why);
  void end(const Result<nlohmann::json>& plan);

  const ServicePlans::Parts parts_;
  const std::string name_;
  const ServicePlanRequest request_;
  const std::shared_ptr<Peer> peer_;
  engine::Interrupt interrupt_;
  std::atomic<bool> cancelled_{false};
  Trouble trouble_;
  mutable std::mutex mutex_;
  nlohmann::json status_;  // protected by mutex_
  std::mutex thread_mutex_;
  std::thread thread_;  // protected by thread_mutex_
};

}  // namespace ferry::migration
