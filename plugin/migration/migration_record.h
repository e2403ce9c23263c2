#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/time.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What Status shows under `migration` of one that has just been asked for; `role` as in docs/status.md.
nlohmann::json new_migration_status(const char* role, const std::string& peer);

/// The status that the record of a volume or ticket has, so that a migration that a restart interrupted keeps its id
/// and start. Null: it has none with that member.
nlohmann::json stored_status(const volumes::Catalogue& catalogue, const std::string& name, const char* member);

/// Bytes per second since `begin`. 0: it has not begun (the epoch of the clock), or too little time has passed to tell.
std::uint64_t rate_since(SteadyClock::time_point begin, std::uint64_t bytes);

/// Seconds until all is done at that rate, as Status has it; null: that is not known.
nlohmann::json eta_of(std::uint64_t done, std::uint64_t total, std::uint64_t rate);

/// The record of a ticket that is to begin: `import` is its request, `status` its whole Status.
volumes::VolumeRecord new_ticket(const std::string& name, nlohmann::json import, nlohmann::json status);

}  // namespace ferry::migration
