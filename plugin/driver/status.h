#pragma once

#include <nlohmann/json.hpp>

#include "engine/tracker.h"
#include "volumes/record.h"

namespace ferry::driver {

/// What `docker volume inspect` shows of a volume under Status; docs/status.md describes each member. `migration` is
/// that of a running import, or null, then the record's counts. Pure; asks nobody.
nlohmann::json status_of(const volumes::VolumeRecord& record, const nlohmann::json& migration,
                         const engine::Tracker::Facts& facts, bool engine_connected);

}  // namespace ferry::driver
