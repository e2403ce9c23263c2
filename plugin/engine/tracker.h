#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/client.h"
#include "engine/interrupt.h"
#include "engine/ledger.h"

namespace ferry::engine {

struct TrackerPace {
  std::chrono::milliseconds first_retry{200};  ///< doubled up to last_retry
  std::chrono::milliseconds last_retry{5000};
  std::chrono::milliseconds settle{100};  ///< events within it share one listing
  int rest = 50;  ///< for so many times as long as listing the volumes took, events do not make it list them again
  std::chrono::milliseconds longest_rest{5000};
  std::chrono::milliseconds second_look{1000};  ///< the Engine lists a stopped container as running for a moment
  std::chrono::milliseconds resync{300000};     ///< for what changes without an event, such as purged labels
};

/// Knows the labels and options of every volume and who mounts it, by following the Engine's events and listing again
/// what they concern. Thread-safe. Two threads of its own: one reads the events and enters mounts at once, the other
/// lists. The Engine may be absent, booting or come and go; that is logged once per change.
class Tracker {
 public:
  using Facts = VolumeFacts;

  /// `on_change` is called from a thread of the tracker, without locks held, after each change of the facts or of
  /// connected(); changes in quick succession share a call. It may use the tracker and the client, but not stop().
  Tracker(Client& client, std::function<void()> on_change, TrackerPace pace = {});
  ~Tracker();
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  /// Returns at once. At most once in the tracker's life.
  void start();
  /// Ends calls to the Engine that are under way, and returns when both threads are gone. For good; may be repeated.
  void stop();

  /// Whether events are being followed and everything was listed since they are. If not, nothing below is current.
  bool connected() const;
  /// From memory, never calls the Engine. Of a volume made or declared anew, labels and options are none until the
  /// next listing, which is up to TrackerPace::longest_rest away while volumes are made or removed.
  Facts facts(const std::string& volume) const;

  /// A point in time for mount_rw_began_since().
  std::uint64_t mark() const;
  /// Whether a read-write mount of the volume began at or after `time_ns` (CLOCK_REALTIME, since the epoch), taken
  /// together with the mark. Unknown if the tracker was not connected at any time since. An event takes the Engine some
  /// milliseconds to send.
  Mounted mount_rw_began_since(const std::string& volume, std::uint64_t mark, std::int64_t time_ns) const;

 private:
  struct Listing {
    std::optional<std::vector<ContainerMount>> mounts;
    std::optional<std::vector<Volume>> volumes;
    std::optional<Error> error;
    Deadline::duration volumes_took{};
  };

  void follow();
  void opened();
  void take(const Event& event);
  bool closed(const Error& reason);

  void keep_listed();
  void list(std::unique_lock<std::mutex>& lock);
  Deadline next_listing() const;
  Ledger::Stale take_due();
  Listing ask(Ledger::Stale what);
  void listed(Ledger::Stale what, bool echo);
  void list_again(Ledger::Stale what, const Error& reason);
  void due_in(Ledger::Stale what, std::chrono::milliseconds delay);

  Client& client_;
  const std::function<void()> on_change_;
  const TrackerPace pace_;
  Interrupt interrupt_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  Ledger ledger_;
  bool stopping_ = false;
  bool changed_ = false;       ///< on_change_ is owed
  bool told_ = false;          ///< the present trouble is logged
  std::uint64_t streams_ = 0;  ///< the number of streams so far; the last one is open if stream_open_
  bool stream_open_ = false;
  bool echo_ = false;                      ///< the next listing of containers is only the second look
  Deadline volumes_due_, containers_due_;  ///< when each is listed next, while a stream is open
  Deadline rested_;                        ///< but the volumes no sooner
  std::chrono::milliseconds list_retry_{0};

  std::mutex threads_mutex_;
  std::thread reader_, lister_;  ///< guarded by threads_mutex_
};

}  // namespace ferry::engine
