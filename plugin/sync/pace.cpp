#include "sync/pace.h"

#include <algorithm>
#include <thread>

namespace ferry::sync {

namespace {

/// So much time of silence may be made up for, because what comes is uneven, as is a disk; more would be a burst.
constexpr std::chrono::milliseconds credit{250};
constexpr std::chrono::milliseconds look{100};

}  // namespace

Deadline Pace::due_after(std::uint64_t bytes) {
  const std::chrono::duration<double> time(static_cast<double>(bytes) / static_cast<double>(rate_));
  const std::lock_guard guard(mutex_);
  if (due_ == Deadline{}) due_ = SteadyClock::now();
  due_ = std::max(due_, SteadyClock::now() - credit) + std::chrono::duration_cast<SteadyClock::duration>(time);
  return due_;
}

void Pace::spend(std::uint64_t bytes) {
  if (rate_ == 0) return;
  const Deadline due = due_after(bytes);
  while (!cancelled_ && SteadyClock::now() < due) std::this_thread::sleep_until(std::min(due, after(look)));
}

}  // namespace ferry::sync
