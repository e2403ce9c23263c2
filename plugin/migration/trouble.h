#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

namespace ferry::migration {

/// What a job waits for before it tries again, for whoever looks, and the wait itself. Thread-safe.
class Trouble {
 public:
  /// Empty: it does not wait.
  std::string text() const {
    const std::lock_guard guard(mutex_);
    return text_;
  }
  void clear() {
    const std::lock_guard guard(mutex_);
    text_.clear();
  }
  /// True if it is another one than before, and so worth a line in the log.
  bool set(const std::string& text) {
    const std::lock_guard guard(mutex_);
    if (text_ == text) return false;
    text_ = text;
    return true;
  }

  /// So long, or until `over`, which is looked at again after each wake().
  void wait(std::chrono::milliseconds time, const std::function<bool()>& over) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, over);
  }
  /// To be called after what `over` looks at has changed.
  void wake() const {
    { const std::lock_guard guard(mutex_); }  // who has just looked is waiting now
    changed_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::string text_;
};

}  // namespace ferry::migration
