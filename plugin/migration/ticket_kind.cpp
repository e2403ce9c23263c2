#include "migration/ticket_kind.h"

#include <array>
#include <utility>

namespace ferry::migration {

namespace {

/// As records on disk have them, so none may change its name.
constexpr std::array<std::pair<const char*, TicketKind>, 7> members = {{{"export", TicketKind::exported},
                                                                        {"to_archive", TicketKind::archive},
                                                                        {"hand_off", TicketKind::hand_off},
                                                                        {"forced", TicketKind::forced_reclaim},
                                                                        {"plan_service", TicketKind::service_plan},
                                                                        {"departed", TicketKind::departed_service},
                                                                        {"arriving", TicketKind::arriving_service}}};

}  // namespace

TicketKind kind_of(const volumes::VolumeRecord& ticket) {
  if (ticket.import.is_object())
    for (const auto& [member, kind] : members)
      if (ticket.import.contains(member)) return kind;
  return TicketKind::volumes;
}

}  // namespace ferry::migration
