#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// Passes on what comes in a thread of its own, so that whoever writes need not wait for it: in pieces of one size, of
/// which two are in memory. Not thread-safe.
class QueuedSink : public Sink {
 public:
  /// `below` must outlive this object, and is this object's thread's until finish() has returned. Code::unavailable:
  /// there is no thread to be had.
  static Result<std::unique_ptr<QueuedSink>> open(Sink& below, std::size_t piece);
  QueuedSink(const QueuedSink&) = delete;
  QueuedSink& operator=(const QueuedSink&) = delete;
  /// Waits for what is being passed on, however long that takes, and drops the rest.
  ~QueuedSink() override;

  /// An error may be that of an earlier call.
  Result<> write(std::span<const char> bytes) override;

  /// Passes on what is left, and returns when `below` has all of it.
  Result<> finish();

 private:
  QueuedSink(Sink& below, std::size_t piece) : below_(below), piece_(piece) {}
  Result<> wait_for_room(std::unique_lock<std::mutex>& lock);
  Result<> hand_over();
  void run();

  Sink& below_;
  const std::size_t piece_;
  std::string filling_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string passing_;         // empty: there is room, or else its content is the thread's; protected by mutex_
  std::optional<Error> error_;  // of below_; protected by mutex_
  bool stopping_ = false;       // protected by mutex_
  std::thread thread_;          // last: it uses the others
};

}  // namespace ferry::archive
