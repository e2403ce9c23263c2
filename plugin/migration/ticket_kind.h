#pragma once

#include "volumes/record.h"

namespace ferry::migration {

/// What a ticket stands for.
enum class TicketKind {
  volumes,           ///< Tickets: volumes that come here
  exported,          ///< Exports: volumes of this host that go to another one
  archive,           ///< ArchiveExports
  hand_off,          ///< HandOffs: volumes of this host that another one has asked for
  forced_reclaim,    ///< ForcedReclaims
  service_plan,      ///< ServicePlans
  arriving_service,  ///< ServiceArrivals: of which the container is being made; then it is one of `volumes`
  departed_service,  ///< ServiceDepartures
};

/// Of the record of a ticket: its `import` has a member that no other kind has.
TicketKind kind_of(const volumes::VolumeRecord& ticket);

/// Whether the record is that of a ticket of that kind.
inline bool is_ticket(const volumes::VolumeRecord& record, TicketKind kind) {
  return record.kind == volumes::Kind::ticket && kind_of(record) == kind;
}

}  // namespace ferry::migration
