#pragma once

#include <filesystem>
#include <string>

#include "engine/containers.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "migration/service_departures.h"
#include "migration/service_planner.h"
#include "migration/sources.h"
#include "migration/tickets.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// Brings back services that have left, with what has become of them since: into the containers, and the volumes, that
/// have stayed here. What it begins is one of Tickets. Thread-safe.
class ServiceReturns {
 public:
  struct Parts {  ///< all must outlive this object
    const volumes::Catalogue& catalogue;
    PeerFactory& peers;
    engine::Client& client;
    const Sources& sources;
    const ServicePlanner& planner;
    const ServiceDepartures& departures;
    Tickets& tickets;
  };
  explicit ServiceReturns(Parts parts) : parts_(parts), containers_(parts.client) {}

  /// `reclaim.volume`: the ticket by which it has left, see ServiceDepartures::departed. Finds out within 5 s what
  /// stands in the way, as far as that can be known at once, adds the ticket `name` and starts it.
  Result<> begin(const std::string& name, const ReclaimRequest& reclaim);

 private:
  using Departed = ServiceDepartures::Departed;
  Result<transport::PeerAddress> peer_of(const Departed& departed, const ReclaimRequest& reclaim) const;
  Result<> add_volumes(const Departed& departed, Peer& peer, Deadline deadline, TicketPlan& plan,
                       TicketService& service) const;
  Result<> add_local(TicketVolume back, const Departed& departed, TicketService& service) const;
  Result<engine::Container> container_of(const Departed& departed) const;
  Result<> check_same(const Departed& departed, const engine::Container& here, const ServiceDescription& there) const;
  Result<bool> is_beside_ferrys(const std::filesystem::path& place) const;
  Result<> add_layer(const engine::Container& here, const ServiceDescription& there, TicketService& service) const;

  const Parts parts_;
  const engine::Containers containers_;
};

}  // namespace ferry::migration
