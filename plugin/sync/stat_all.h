#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "sync/entry.h"

namespace ferry::sync {

/// What stat(2) says of an entry; false: the caller need not see more.
using StatVisitor = std::function<bool(std::uint32_t index, const Result<struct stat>& info)>;

/// Looks at what is there now of the entries of a manifest below the open directory `root`, but for hard links, which
/// are other names of one of them. `visit` is called by two threads at once, for different entries, and not any more
/// by one to which it has returned false.
void stat_all(int root, const std::vector<Entry>& entries, const StatVisitor& visit);

/// The same for those of which `is_wanted` is true.
void stat_some(int root, const std::vector<Entry>& entries, const std::function<bool(std::uint32_t index)>& is_wanted,
               const StatVisitor& visit);

}  // namespace ferry::sync
