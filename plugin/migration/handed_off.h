#pragma once

#include <optional>

#include "base/result.h"
#include "transport/peer_address.h"
#include "volumes/record.h"

namespace ferry::migration {

/// Of a volume that is ready here: whether it is no copy, or was handed off to this host.
bool is_owner(const volumes::VolumeRecord& record);

/// Why a volume that is this host's own cannot be reclaimed.
Error explain_own(const volumes::VolumeRecord& record);

/// How the host can be reached that has a volume in State::handed_off, or had it; if that is known.
std::optional<transport::PeerAddress> peer_that_has(const volumes::VolumeRecord& record);

/// Why a volume in State::handed_off cannot be used here, and where it is.
Error explain_handed_off(const volumes::VolumeRecord& record);

}  // namespace ferry::migration
