#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace ferry {

/// Parses a whole number with a unit of ms, s, m or h, e.g. "500ms" or "24h"; at most ten years.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace ferry
