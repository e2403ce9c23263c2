#pragma once

#include <cstdint>

#include "base/time.h"

namespace ferry::sync {

/// Bytes allocated to the files below an open directory, as far as they can be counted until the deadline: a lower
/// bound. Hard links count once per name. What cannot be read counts as nothing.
std::uint64_t measure(int root, Deadline deadline);

}  // namespace ferry::sync
