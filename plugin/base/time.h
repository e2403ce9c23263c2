#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

namespace ferry {

using SteadyClock = std::chrono::steady_clock;
using Deadline = SteadyClock::time_point;

inline Deadline after(std::chrono::milliseconds duration) { return SteadyClock::now() + duration; }

/// How long it still is until then; 0 once it has passed.
inline std::chrono::milliseconds left_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

/// CLOCK_REALTIME, nanoseconds since the epoch.
std::int64_t realtime_ns();

/// Now as RFC 3339 in UTC with seconds, e.g. 2026-11-22T17:05:09Z.
std::string now_rfc3339();

}  // namespace ferry
