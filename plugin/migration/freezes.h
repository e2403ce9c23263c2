#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/keyed_mutex.h"
#include "base/periodic.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/containers.h"
#include "engine/interrupt.h"
#include "engine/tracker.h"
#include "migration/container_holds.h"
#include "migration/freeze.h"
#include "volumes/layout.h"

namespace ferry::migration {

/// The source's end of copies of volumes that are in use: for the last round all running containers that have one of
/// them mounted read-write stand still, or none. Whatever becomes of the destination, of this process or of the
/// Engine, they run again: what stands still is on disk before it does, and a freeze ends by itself if nothing is heard
/// of who wanted it, or if it lasts too long. One that an earlier process has left behind ends at once; while the
/// Engine is away, it is tried all the time. Thread-safe.
class Freezes {
 public:
  struct Parts {  ///< all must outlive this object
    const volumes::Layout& layout;
    engine::Client& client;
    const engine::Tracker& tracker;
    const ContainerHolds& holds;
    std::chrono::milliseconds longest_silence{4000};
    std::chrono::milliseconds look{250};  ///< how often it looks whether one is to end
    /// For which an Engine that has not answered may still pause what it was asked to.
    std::chrono::milliseconds doubt{30'000};
  };
  explicit Freezes(Parts parts);
  ~Freezes() { stop(); }

  /// Once; begins to end them, those that an earlier process has left first.
  void start();
  /// For good, after it has tried to end all freezes, which takes some 5 s at most.
  void stop();

  /// Begins the freeze of that ID (32 hex digits); does nothing if it lasts. While it begins it has to be beaten, too.
  /// Code::busy: a container is between two states, others begin to write all the time, or it takes longer than it may,
  /// or something may write, which FreezeKind::watch does not hold; unsupported: with FreezeKind::stop, one that --rm
  /// would remove, or that may take too long to end; already_exists: one of that ID has ended; cancelled: it was ended
  /// meanwhile; unavailable: the Engine is, or does not tell yet who writes, or this process ends, or too many last, or
  /// a container is held for another freeze or move; io: for such a reason, or because nothing was heard of who wants
  /// it, but something was held by then. After an error nothing stands still, as soon as the Engine can be reached;
  /// what is being stopped goes on once it has ended. No container is stopped unless all of them can be. Whether
  /// anything stands still: else nobody writes to its volumes.
  Result<bool> freeze(const std::string& id, const FreezeRequest& request);
  /// Somebody still wants it. Code::not_found: it does not last any more.
  Result<> beat(const std::string& id);
  /// Ends it. Whether it has lasted, so that nobody can have written to its volumes since freeze() has returned; that
  /// is told after some 5 s at most, whether everything runs again by then or not.
  bool thaw(const std::string& id);
  enum class Held {
    ended,  ///< or it is not of that volume
    idle,   ///< nothing writes to its volumes, so nothing stands still
    still,  ///< what is read of the volume now is read while what writes to it stands still
  };
  Held holds(const std::string& id, const std::string& volume) const;

 private:
  enum class Stand { begins, lasts, ends };
  struct Standing {
    HeldContainer container;
    ContainerHolds::Claim claim;
    bool in_doubt = false;  ///< the Engine was asked to hold it, and was not seen to do so: it may still be about to
    std::optional<Deadline> no_doubt{};  ///< a pause that has not come by then does not come any more
    bool needs_no_more = false;          ///< it runs, or somebody else has seen to it
  };
  struct Frozen {
    bool is_idle() const { return standing.empty() && paused.empty(); }
    FreezeRequest request;
    std::vector<Standing> standing;
    std::vector<Standing> paused;  ///< by their user
    Stand stand = Stand::begins;
    Deadline silence;  ///< it ends then, as it does at
    Deadline end;
    std::shared_ptr<engine::Interrupt> beginning;  ///< ends what freeze() asks the Engine
    engine::Ledger::Mark mark = 0;                 ///< of the tracker, since it lasts
    std::int64_t since_ns = 0;
    std::chrono::milliseconds pause{0};  ///< until it is tried again to end it
    std::string trouble{};               ///< why that has failed
  };
  using Names = std::vector<std::string>;
  using Many = std::vector<Standing>;
  Result<> freeze_all(const std::string& id, Frozen& frozen);
  Result<> check_room(FreezeKind kind) const;  // with mutex_ locked
  Result<Names> writers(const FreezeRequest& request, std::chrono::milliseconds patience) const;
  static std::string names_of(const Many& standing);  ///< for people
  static void erase_known(Names& containers, const Frozen& frozen);
  Result<> note(Frozen& frozen, const std::string& container, Many& into) const;
  Result<> hold(const Frozen& frozen, Standing& one) const;
  Result<> hold_still(const Frozen& frozen, Standing& one) const;
  Result<> store(const std::string& id, FreezeKind kind, const Many& standing) const;
  Result<> release(FreezeKind kind, Standing& one);
  Result<> let_go_on(Standing& one);
  using Change = std::function<Result<>(Standing&)>;
  static Result<> at_once(std::span<Standing> all, const Change& change);
  Result<> end(const std::string& id);
  void try_to_end(const std::string& id);
  std::shared_future<void> end_beside(const std::string& id);
  void note_trouble(const std::string& id, const std::string& text);
  Result<> check_untouched(Frozen& frozen) const;
  void look();
  void read();
  std::filesystem::path path_of(const std::string& id) const;

  const Parts parts_;
  const engine::Containers containers_;
  engine::Interrupt ending_;  // of what is asked of the Engine to end them
  KeyedMutex ids_;            // locked before mutex_: what is done to containers for one of them
  mutable std::mutex mutex_;
  std::map<std::string, Frozen> frozen_;  // protected by mutex_
  std::deque<std::string> ended_;         // protected by mutex_: the last ones, whose requests may come late
  bool stopping_ = false;                 // protected by mutex_
  std::map<std::string, std::shared_future<void>> enders_;  // protected by mutex_: by ID; none waits for another one's
  std::unique_ptr<Periodic> looking_;                       // last: it uses the others
};

}  // namespace ferry::migration
