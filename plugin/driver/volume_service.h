#pragma once

#include <string>

#include "driver/rpc_driver.h"
#include "engine/tracker.h"
#include "migration/archive_exports.h"
#include "migration/exports.h"
#include "migration/forced_reclaims.h"
#include "migration/imports.h"
#include "migration/label_keeper.h"
#include "migration/service_arrivals.h"
#include "migration/service_departures.h"
#include "migration/service_plans.h"
#include "migration/service_returns.h"
#include "migration/tickets.h"
#include "volumes/catalogue.h"
#include "volumes/marker_keeper.h"
#include "volumes/mounts.h"
#include "volumes/trash.h"

namespace ferry::driver {

/// Ferry's volumes as the Engine uses them. Thread-safe. Get and List answer from memory; Create returns within 5 s;
/// Mount within 20 s of an import that is not complete by then.
class VolumeService : public VolumeDriver {
 public:
  struct Parts {  ///< all must outlive the service
    volumes::Catalogue& catalogue;
    volumes::Mounts& mounts;
    volumes::Trash& trash;
    migration::Imports& imports;
    migration::Tickets& tickets;
    migration::Exports& exports;
    migration::ArchiveExports& archive_exports;
    migration::HandOffs& hand_offs;
    migration::ForcedReclaims& forced;
    migration::ServicePlans& plans;
    migration::ServiceDepartures& departures;
    migration::ServiceArrivals& arriving;
    migration::ServiceReturns& returns;
    migration::LabelKeeper& labels;
    const engine::Tracker& tracker;
    volumes::MarkerKeeper& marker;
  };

  explicit VolumeService(Parts parts) : parts_(parts) {}

  Result<> create(const std::string& name, const std::map<std::string, std::string>& options) override;
  Result<> remove(const std::string& name) override;
  Result<std::string> mount(const std::string& name, const std::string& id) override;
  Result<> unmount(const std::string& name, const std::string& id) override;
  Result<std::string> path(const std::string& name) override;
  Result<VolumeInfo> get(const std::string& name) override;
  std::vector<VolumeInfo> list() override;

  /// As create(), of a ticket that a peer has asked for.
  Result<> create_ticket(const std::string& name, const migration::TicketRequest& request);
  nlohmann::json ticket_status(const volumes::VolumeRecord& ticket) const;  ///< all of it

 private:
  using Snapshot = volumes::Catalogue::Snapshot;
  Result<Snapshot> find(const std::string& name) const;
  void update_marker();
  Result<> start(const std::string& name, const migration::CreateRequest& request);
  Result<> begin(const std::string& name, const migration::CreateRequest& request);
  Result<> wait_for_content(const std::string& name);
  Result<> remove_ticket(const volumes::VolumeRecord& record);
  bool is_ticket(const std::string& name) const;
  Result<> begin_return(const std::string& name, const migration::ReclaimRequest& reclaim);
  Result<> create_plain(const std::string& name, const migration::CreateRequest& request);
  Result<> discard(const volumes::VolumeRecord& record);
  VolumeInfo info(const volumes::VolumeRecord& record) const;

  const Parts parts_;
};

}  // namespace ferry::driver
