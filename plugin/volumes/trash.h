#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "volumes/layout.h"

namespace ferry::volumes {

/// Deletes removed volumes in the background, `retention` after their removal, and orphans an hour after theirs.
/// Thread-safe. Nothing else in Ferry deletes volume content.
class Trash {
 public:
  Trash(Layout layout, std::chrono::seconds retention);
  ~Trash();  ///< stops at once; a deletion under way is carried on by the next process

  /// Looks for work now rather than at the next minute.
  void wake();

 private:
  void run();
  void sweep();

  const Layout layout_;
  const std::chrono::seconds retention_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> stopping_{false};  // set with mutex_ held, so that no wait misses it
  bool wanted_ = true;                 // protected by mutex_
  std::thread thread_;
};

}  // namespace ferry::volumes
