#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "migration/freeze.h"
#include "migration/peer.h"

namespace ferry::migration {

class FreezeClient;

/// A copy of volumes to which containers may write: it is read while they do, again and again as long as that makes
/// what is left less, and once more while they stand still, so that the copy is of one instant. If nobody has written,
/// the first time is enough. By one thread, but for cancel() and status().
class FrozenCopy {
 public:
  struct Parts {
    std::function<std::shared_ptr<Peer>()> another_peer;
    /// Reads everything that has changed since the last time; `frozen`: while the freeze of that ID lasts, empty: while
    /// containers write. Whether it is known that none did, so that what was read is of one instant. Ends soon with
    /// Code::cancelled after give_up(), which is called from another thread.
    std::function<Result<bool>(const std::string& frozen)> read;
    std::function<void()> give_up;
    std::chrono::milliseconds beat{1000};
    std::chrono::milliseconds retry{1000};        ///< a source that cannot be reached is asked again
    unsigned most_rounds = 10;                    ///< while they write
    std::chrono::milliseconds short_enough{500};  ///< a round
  };
  FrozenCopy(Parts parts, FreezeRequest request) : parts_(std::move(parts)), request_(std::move(request)) {}

  /// Code::busy: it did not get through in what it may be held, several times; what writes goes on as ever.
  Result<> run();
  /// run() ends soon with Code::cancelled, if its `read` does.
  void cancel();
  /// `rounds`: how long each one took, in ms, while containers wrote; `downtime_ms` of the last freeze, null before.
  nlohmann::json status() const;

 private:
  Result<bool> read_live();
  Result<bool> read_frozen();
  bool pause();

  const Parts parts_;
  const FreezeRequest request_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;                           // protected by mutex_, as are the following
  std::shared_ptr<FreezeClient> freeze_;             // that is under way
  nlohmann::json rounds_ = nlohmann::json::array();  // as status() has it
  nlohmann::json downtime_ms_ = nullptr;             // likewise
};

/// What is to stand still for a copy on such terms, which hold writers.
FreezeRequest freeze_request(const Terms& terms, std::vector<std::string> volumes);

}  // namespace ferry::migration
