#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "migration/export_job.h"
#include "migration/hand_offs.h"
#include "migration/job_table.h"
#include "migration/peer.h"
#include "migration/service_departures.h"
#include "migration/services.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The tickets of this host that export volumes, or a service. The destination does the work, see Arrivals; what counts
/// as done is what it says. Thread-safe.
class Exports {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    PeerFactory& peers;
    const Sources& sources;
    HandOffs& hand_offs;
    const Services* services = nullptr;       ///< null: none of them is exported
    ServiceDepartures* departures = nullptr;  ///< likewise
  };
  explicit Exports(Parts parts) : parts_(parts) {}

  /// Carries on those that a restart interrupted. To be called before volumes are served.
  void resume();

  /// Checks within 5 s all that can be known at once, at both ends, adds the ticket in State::importing and starts it.
  Result<> begin(const std::string& name, const TicketRequest& request);

  /// Before its record is removed: what is not decided is cancelled at the destination, too, if that can be reached.
  /// Code::busy: it is decided.
  Result<> cancel(const std::string& name);
  void abandon_all() { jobs_.abandon_all(); }

  nlohmann::json status(const volumes::VolumeRecord& ticket) const { return jobs_.status(ticket); }  ///< all of it

 private:
  Result<> check_volumes(const TicketRequest& request) const;
  Result<TicketRequest> look_at(const TicketRequest& request, const std::string& name) const;
  Result<> take_back(const ExportPlan& plan) const;
  void start(const std::string& name, const ExportPlan& plan, std::shared_ptr<Destination> destination);

  const Parts parts_;
  KeyedMutex names_;  // held while one is cancelled
  JobTable<ExportJob> jobs_;
};

}  // namespace ferry::migration
