#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "base/result.h"
#include "migration/job_table.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "migration/service_planner.h"
#include "migration/services.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

class ServicePlanJob;

/// Tickets that say what would move with a service. Thread-safe.
class ServicePlans {
 public:
  /// All must outlive this object.
  struct Parts {
    volumes::Catalogue& catalogue;
    PeerFactory& peers;
    const Services& services;
    const ServicePlanner& planner;
  };

  explicit ServicePlans(Parts parts) : parts_(parts) {}
  ~ServicePlans() { abandon_all(); }

  /// Begins those anew that a restart interrupted. To be called before volumes are served.
  void resume();
  /// Finds out within 5 s whether there is such a service, adds the ticket and starts it.
  Result<> begin(const std::string& name, const ServicePlanRequest& request);
  /// Before its record is removed.
  void cancel(const std::string& name);
  void abandon_all();

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< all of it

 private:
  void start(const std::string& name, const ServicePlanRequest& request);

  const Parts parts_;
  KeyedMutex names_;  // held while one is cancelled
  JobTable<ServicePlanJob> jobs_;
};

}  // namespace ferry::migration
