#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/periodic.h"
#include "migration/freeze.h"
#include "migration/peer.h"

namespace ferry::migration {

/// The destination's end of one freeze, see Freezes: asks for it, says all the time that it is still wanted, and ends
/// it. If this process dies, or the network does, the source ends it by itself. By one thread, but for cancel().
class FreezeClient {
 public:
  struct Parts {
    std::function<std::shared_ptr<Peer>()> another_peer;  ///< a connection of its own
    std::chrono::milliseconds beat{1000};
    std::function<void()> lost;  ///< called once, from another thread: it has ended too early
  };
  FreezeClient(Parts parts, FreezeRequest request);
  /// Ends it, if end() has not.
  ~FreezeClient();
  FreezeClient(const FreezeClient&) = delete;

  const std::string& id() const { return id_; }
  /// Nobody writes to the volumes from when this has returned. As Freezes::freeze.
  Result<bool> begin();
  /// Whether it has lasted until now. It is not known (false) if the source cannot be asked.
  bool end();
  /// begin() ends soon.
  void cancel();

 private:
  void beat();

  const Parts parts_;
  const FreezeRequest request_;
  const std::string id_;
  std::atomic<bool> lost_{false};
  std::atomic<bool> begun_{false};
  bool asked_ = false;  // and not ended
  std::mutex mutex_;
  bool cancelled_ = false;                  // protected by mutex_
  std::shared_ptr<Peer> peer_, beat_peer_;  // protected by mutex_ but for the threads that use them
  std::unique_ptr<Periodic> beating_;       // last: it uses the others
};

}  // namespace ferry::migration
