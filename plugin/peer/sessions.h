#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/periodic.h"
#include "base/result.h"
#include "base/time.h"
#include "migration/sources.h"
#include "peer/turns.h"

namespace ferry::peer {

/// A volume that a peer has opened. A walk of it needs it for itself, content and seal share it.
struct Session {
  std::unique_ptr<migration::OpenVolume> volume;
  Turns turns;
};

/// The sessions of all peers by their IDs, 256 at most. One that nobody has found for `idle_time`, and of which nobody
/// holds what find() gave out, is closed within a quarter of that time more. Thread-safe.
class Sessions {
 public:
  explicit Sessions(std::chrono::milliseconds idle_time);

  /// The ID of the new session. Code::unavailable: there are too many.
  Result<std::string> add(std::shared_ptr<Session> session);
  /// Code::unavailable, because the receiver can open the source anew and carry on, e.g. after this process was
  /// restarted.
  Result<std::shared_ptr<Session>> find(const std::string& id);
  /// Ends it when the last one that holds it lets go.
  void close(const std::string& id);
  std::size_t count() const;

 private:
  struct Open {
    std::shared_ptr<Session> session;
    Deadline expires;
  };
  void close_idle();

  const std::chrono::milliseconds idle_time_;
  mutable std::mutex mutex_;
  std::map<std::string, Open> open_;  // protected by mutex_
  Periodic sweeper_;                  // last: it uses the others
};

}  // namespace ferry::peer
