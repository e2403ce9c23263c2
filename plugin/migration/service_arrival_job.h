#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/time.h"
#include "engine/containers.h"
#include "engine/images.h"
#include "migration/service_arrivals.h"
#include "migration/service_steps.h"
#include "migration/trouble.h"

namespace ferry::migration {

/// Makes what one service needs at its destination, in a thread of its own. Thread-safe.
class ServiceArrivalJob {
 public:
  /// The ticket's record must be in the catalogue, in State::importing. `parts` must outlive this object. `id`: of the
  /// hand-off.
  ServiceArrivalJob(const ServiceArrivals::Parts& parts, std::string name, std::string id, ServiceMoveRequest request);
  ServiceArrivalJob(const ServiceArrivalJob&) = delete;
  ServiceArrivalJob& operator=(const ServiceArrivalJob&) = delete;
  ~ServiceArrivalJob() { abandon(); }

  void start();
  /// Ends it without an outcome. stop_soon() only begins to.
  void stop_soon();
  void abandon();
  /// Takes back what was made; after abandon(). Does nothing once the ticket is one of Tickets. Code::unavailable: the
  /// Engine is away, or may still be making the container.
  Result<> undo();

  nlohmann::json status() const;  ///< all of the ticket's Status

 private:
  using Descriptions = std::map<std::string, VolumeDescription>;  // by their names at the source
  void run();
  Result<> make();
  Result<> check(const ServiceDescription& service);
  Result<Descriptions> describe_volumes(const ServiceDescription& service);
  Result<std::string> name_image(const ServiceDescription& service, const std::string& image);
  Result<std::string> bring_image(const ServiceDescription& service);
  Result<> load_image(const ServiceDescription& service);
  Result<> make_volumes(const ServiceDescription& service, const Descriptions& described);
  Result<engine::Container> make_container(const ServiceDescription& service, const std::string& image);
  Result<TicketPlan> plan_of(const ServiceDescription& service, const Descriptions& described,
                             const engine::Container& made);
  bool is_made_here(const std::string& volume) const;
  template <class T>
  Result<T> soon(Result<T> done) const;
  Result<> note_creating(std::int64_t since_ns) const;
  bool may_be_creating() const;
  Result<> give_back(const volumes::VolumeRecord& volume) const;
  void set_step(const char* step);
  void fail_with(const Error& error);

  const ServiceArrivals::Parts parts_;
  const engine::Containers containers_;
  const engine::Images images_;
  const std::string name_, id_;
  const ServiceMoveRequest request_;
  const std::shared_ptr<Peer> peer_;
  const nlohmann::json base_;  // of its `migration`
  const SteadyClock::time_point patient_until_;
  engine::Interrupt interrupt_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> handed_on_{false};  // the ticket is one of Tickets
  Trouble trouble_;
  mutable std::mutex mutex_;
  ServiceSteps steps_;                // protected by mutex_
  nlohmann::json outcome_ = nullptr;  // protected by mutex_
  std::mutex thread_mutex_;
  std::thread thread_;  // protected by thread_mutex_
};

}  // namespace ferry::migration
