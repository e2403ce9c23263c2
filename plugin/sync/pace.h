#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/time.h"

namespace ferry::sync {

/// Holds what several connections receive together to a rate: who has received something waits until it was due, so
/// that TCP's flow control slows down the sender. Thread-safe.
class Pace {
 public:
  /// `rate` in bytes per second; 0: no limit.
  Pace(std::uint64_t rate, const std::atomic<bool>& cancelled) : rate_(rate), cancelled_(cancelled) {}

  /// Waits, and returns at most 0.1 s after `cancelled` is set.
  void spend(std::uint64_t bytes);

 private:
  Deadline due_after(std::uint64_t bytes);

  const std::uint64_t rate_;
  const std::atomic<bool>& cancelled_;
  std::mutex mutex_;
  Deadline due_{};  // protected by mutex_: when all that was spent is due
};

}  // namespace ferry::sync
