#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace ferry {

/// A mutex per key: work on one key is serialised, other keys are not held up. Thread-safe.
class KeyedMutex {
  struct Entry {
    std::mutex mutex;
  };

 public:
  /// Keeps the key locked while it lives.
  class Guard {
   public:
    explicit Guard(std::shared_ptr<Entry> entry) : entry_(std::move(entry)), lock_(entry_->mutex) {}

   private:
    std::shared_ptr<Entry> entry_;
    std::unique_lock<std::mutex> lock_;
  };

  Guard lock(const std::string& key) { return Guard(entry(key)); }

 private:
  std::shared_ptr<Entry> entry(const std::string& key) {
    const std::lock_guard guard(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();)
      it = it->second.expired() ? entries_.erase(it) : std::next(it);
    auto existing = entries_[key].lock();
    if (!existing) entries_[key] = existing = std::make_shared<Entry>();
    return existing;
  }

  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Entry>> entries_;  // protected by mutex_; small: only keys in use stay
};

}  // namespace ferry
