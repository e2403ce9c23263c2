#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

#include "base/time.h"

namespace ferry::peer {

/// Who uses a source: one that walks it, or any number that read it. A turn ends with the object that was handed out,
/// in whatever thread; the Turns must outlive it. Thread-safe. (std::shared_timed_mutex belongs to the thread that
/// locked it.)
class Turns {
 public:
  using Turn = std::shared_ptr<void>;

  /// Waits until it may begin; null if that was not before the deadline.
  Turn walk(Deadline deadline);
  Turn read(Deadline deadline);

 private:
  void end(int& users);

  std::mutex mutex_;
  std::condition_variable changed_;
  int walkers_ = 0;  // protected by mutex_; 0 or 1
  int readers_ = 0;  // protected by mutex_
};

}  // namespace ferry::peer
