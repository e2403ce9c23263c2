#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "engine/client.h"
#include "migration/job_table.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "migration/service_planner.h"
#include "migration/tickets.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

class ServiceArrivalJob;

/// The destination's beginning of moves of whole services: a ticket of this kind makes what the service needs here, its
/// volumes and its container, while it still runs at the source. With that it becomes one of Tickets, which brings the
/// content and takes the service over. Until then all that is made here is taken back after a failure. Thread-safe.
class ServiceArrivals {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    PeerFactory& peers;
    engine::Client& client;
    const ServicePlanner& planner;
    Tickets& tickets;
  };
  explicit ServiceArrivals(Parts parts) : parts_(parts) {}
  ~ServiceArrivals();

  /// Carries on those that a restart interrupted. To be called when volumes are served, since containers are made.
  void resume();
  /// Finds out within 5 s what stands in the way, as far as that can be known at once, adds the ticket and starts it.
  Result<> begin(const std::string& name, const ServiceMoveRequest& request);
  /// Before its record is removed: takes back what was made. Afterwards the ticket may be one of Tickets.
  Result<> cancel(const std::string& name);
  void abandon_all();

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< all of it

 private:
  Result<std::shared_ptr<ServiceArrivalJob>> job_of(const volumes::VolumeRecord& ticket) const;

  const Parts parts_;
  KeyedMutex names_;  // held while one is cancelled
  JobTable<ServiceArrivalJob> jobs_;
};

}  // namespace ferry::migration
