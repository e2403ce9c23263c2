#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"

namespace ferry::sync {

/// Bytes of the regular files below an open directory without holes, as far as they can be counted until the deadline,
/// which is looked at for every entry: a lower bound of what a copy needs. A hard-linked file counts once. What cannot
/// be read, or is deeper than 128 directories, counts as nothing.
std::uint64_t measure(int root, Deadline deadline);

/// Bytes that are in use on the file system of an open directory: no less than measure() finds, but for what the file
/// system stores compressed or shared.
Result<std::uint64_t> used_bytes(int directory);

}  // namespace ferry::sync
