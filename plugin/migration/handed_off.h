#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "transport/peer_address.h"
#include "volumes/record.h"

namespace ferry::migration {

/// What the record of a volume in State::handed_off keeps, as its `hand_off`.
struct HandedOff {
  std::string id;                              ///< of the hand-off, or of a fence
  std::string host;                            ///< that has it now, for people
  std::optional<transport::PeerAddress> peer;  ///< how that can be reached, if it is known
  std::string uuid;                            ///< of that host's catalogue; empty: not known
  std::string volume;                          ///< its name there
  std::uint64_t epoch = 0;                     ///< that it has there
  std::size_t group = 1;                       ///< how many volumes that can be taken back were handed off together
  bool forced = false;                         ///< it was taken by force: this host may have written to it meanwhile
  std::string service{};                       ///< the ticket of the service that it has left with; empty: with none
};

/// From now on the volume is another host's.
void mark_handed_off(volumes::VolumeRecord& record, const HandedOff& to);

/// A peer as such records keep it; null: it is not known.
nlohmann::json peer_to_json(const std::optional<transport::PeerAddress>& peer);

/// The ID of the hand-off by which the volume came here; empty: by none.
std::string received_by(const volumes::VolumeRecord& record);

bool was_handed_off_by(const volumes::VolumeRecord& record, const std::string& id);

/// Of a volume that was taken back by force from that hand-off.
bool was_taken_from(const volumes::VolumeRecord& record, const std::string& id);

/// Of a volume that is ready here: whether it is no copy, or was handed off to this host.
bool is_owner(const volumes::VolumeRecord& record);

/// Why a volume that is this host's own cannot be reclaimed.
Error explain_own(const volumes::VolumeRecord& record);

/// How the host can be reached that has a volume in State::handed_off, or had it; if that is known.
std::optional<transport::PeerAddress> peer_that_has(const volumes::VolumeRecord& record);

/// Why a volume in State::handed_off cannot be used here, and where it is.
Error explain_handed_off(const volumes::VolumeRecord& record);

}  // namespace ferry::migration
