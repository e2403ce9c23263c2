#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace ferry::migration {

/// Which directory it is, for place_layer().
Result<std::uint64_t> identify_layer(const std::filesystem::path& staged);

/// Exchanges a received upper directory with the one of a container that does not run, so that its overlay is not
/// mounted (overlayfs(5) forbids changes beneath one that is), or a received tree with a volume of the local driver
/// that nobody has mounted. Afterwards what was there is at `staged`. Does nothing if the directory of that `identity`
/// is in place already: after an error or a crash it is to be repeated. Durable once it has returned.
///
/// Code::unsupported: the two are on different file systems, or in different quota projects (`--storage-opt size`).
Result<> place_layer(const std::filesystem::path& staged, std::uint64_t identity, const std::filesystem::path& upper);

}  // namespace ferry::migration
