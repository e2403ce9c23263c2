#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "base/time.h"

namespace ferry::test {

/// Whether the condition comes true in that time. It is asked again and again, from this thread.
inline bool wait(const std::function<bool()>& until, std::chrono::milliseconds longest) {
  const Deadline deadline = after(longest);
  while (!until() && SteadyClock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return until();
}

}  // namespace ferry::test
