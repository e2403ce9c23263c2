#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace ferry {

/// Bytes per second: a whole number with an optional unit, K, M, G or KB, MB, GB (powers of 1000) or KiB, MiB, GiB, of
/// either case, such as "50M". From 100K (below, a connection would be taken for dead) to 1000G.
Result<std::uint64_t> parse_rate(std::string_view text);

}  // namespace ferry
