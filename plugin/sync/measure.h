#pragma once

#include <cstdint>

#include "base/time.h"

namespace ferry::sync {

/// Bytes of the regular files below an open directory without holes, as far as they can be counted until the deadline,
/// which is looked at for every entry: a lower bound of what a copy needs. A hard-linked file counts once. What cannot
/// be read, or is deeper than 128 directories, counts as nothing.
std::uint64_t measure(int root, Deadline deadline);

}  // namespace ferry::sync
