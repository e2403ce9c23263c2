#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>

namespace ferry::engine {

/// Lets one thread end the Engine calls that others are blocked in, now and for good. Thread-safe.
/// It must outlive the calls that it was given to.
class Interrupt {
 public:
  /// Makes every call under way end with Code::cancelled, returns when they have, and refuses later ones.
  /// Calls made by the calling thread itself would deadlock.
  void trip();
  bool tripped() const;

  /// The registration of one call, whose `abort` wakes it up and is harmless before it blocks and after it ended.
  /// For the HTTP code only.
  class Guard {
   public:
    Guard(Interrupt* interrupt, std::function<void()> abort);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    /// Whether the call may begin. Without an interrupt: always.
    bool admitted() const { return admitted_; }

   private:
    Interrupt* const interrupt_;
    bool admitted_ = true;
    std::list<std::function<void()>>::iterator entry_;
  };

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  // Guarded by mutex_.
  bool tripped_ = false;
  std::list<std::function<void()>> calls_;
};

}  // namespace ferry::engine
