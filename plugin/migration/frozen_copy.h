#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "migration/freeze.h"
#include "migration/peer.h"
#include "migration/rounds.h"

namespace ferry::migration {

class FreezeClient;

/// A copy of volumes to which containers may write: it is read while they do, again and again as long as that makes
/// what is left less, and once more while they stand still, so that the copy is of one instant. If nobody has written,
/// the first time is enough: of several volumes if the source has watched all of them meanwhile, since each may have
/// been idle while it was read and all of them written to in between. A source that cannot hold what writes, or is not
/// to, is copied if nothing is known to write. By one thread, but for cancel() and status().
class FrozenCopy {
 public:
  struct Read {
    bool idle = false;             ///< it is known that nobody wrote while any of it was read: it is of one instant
    std::uint64_t bytes_sent = 0;  ///< for it, with the manifest
  };
  struct Parts {
    std::function<std::shared_ptr<Peer>()> another_peer;
    /// Reads everything that has changed since the last time. Freeze::none: although containers may write; refuse:
    /// while none does, or because the freeze of the ID `frozen` lasts, if that is not empty. Ends soon with
    /// Code::cancelled after give_up(), which is called from another thread.
    std::function<Result<Read>(Freeze writers, const std::string& frozen)> read;
    std::function<void()> give_up;
    std::chrono::milliseconds beat{1000};
    std::chrono::milliseconds retry{1000};  ///< a source that cannot be reached is asked again, later and later
  };
  FrozenCopy(Parts parts, FreezeRequest request, RoundLimits limits = {})
      : parts_(std::move(parts)), request_(std::move(request)), rounds_(limits) {}

  /// Code::busy: it did not get through in what it may be held, several times, or would not (RoundLimits::strict); what
  /// writes goes on as ever.
  Result<> run();
  /// run() ends soon with Code::cancelled, if its `read` does.
  void cancel();
  /// As of Rounds, and `downtime_ms` of the last freeze, null before; `error`: what it waits for, if it does.
  nlohmann::json status() const;

 private:
  Result<bool> read_live();
  Result<bool> read_frozen(FreezeKind kind);
  Result<bool> read_round();
  Result<> read_unheld(const Error& why);
  void set_trouble(const std::string& text);
  bool pause(std::chrono::milliseconds duration);
  Result<> check_time(std::chrono::milliseconds last) const;
  bool is_group() const { return request_.volumes.size() > 1; }

  const Parts parts_;
  const FreezeRequest request_;
  std::optional<Error> unwatched_{};  // of run()'s thread: why the last watch has not begun
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;                // protected by mutex_, as are the following
  std::shared_ptr<FreezeClient> freeze_;  // that is under way
  Rounds rounds_;
  nlohmann::json downtime_ms_ = nullptr;  // as status() has it
  std::string trouble_{};                 // likewise
};

/// What is to stand still for a copy on such terms, which hold writers.
FreezeRequest freeze_request(const Terms& terms, std::vector<std::string> volumes);

}  // namespace ferry::migration
