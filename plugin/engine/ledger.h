#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/decode.h"
#include "engine/types.h"

namespace ferry::engine {

/// What is known about one volume. Labels and options are none if the Engine does not know the volume.
struct VolumeFacts {
  std::optional<StringMap> labels, options;
  std::vector<ContainerMount> mounts;
};

enum class Mounted { no, yes, unknown };

/// The Tracker's memory: what the Engine listed, corrected by its events. No I/O, not thread-safe.
///
/// A `mount` event precedes the process, and listings show the container as running only later, so a mount counts from
/// its event until its `unmount` (or the container's die or destroy); from then on the listings decide, since
/// `docker cp` makes the Engine send mount and unmount for each volume of a container that keeps running.
///
/// Time is counted in marks: whatever happened is noted with the number of the last mark given out before.
class Ledger {
 public:
  using Mark = std::uint64_t;

  /// What an event makes worth listing again.
  struct Stale {
    bool volumes = false;
    bool containers = false;
  };

  /// A stream of events begins: forgets the mounts known from the last one. Then apply() and the two listings,
  /// which have to be asked for after this, then set_connected(true).
  void begin();
  /// False: from now on nothing is current. The last facts stay, the time until the next true is a gap.
  void set_connected(bool connected);
  bool connected() const { return connected_; }

  Stale apply(const Event& event);
  /// Volumes are about to be listed. What is destroyed from now on may be in that listing nevertheless.
  void ask_volumes() { destroyed_.clear(); }
  /// A new listing. True: it differs from the last one.
  bool set_volumes(const std::vector<Volume>& volumes);
  bool set_mounts(const std::vector<ContainerMount>& mounts);

  VolumeFacts facts(const std::string& volume) const;
  Mark mark() const { return ++now_; }
  /// Whether a read-write mount of the volume began after `time_ns` (since the epoch), which was taken together with
  /// the mark. Mounts from before do not count, even if their end has not been seen yet. Not sure means unknown.
  Mounted mount_rw_began_since(const std::string& volume, Mark mark, std::int64_t time_ns) const;

 private:
  using Key = std::pair<std::string, std::string>;  // volume, container ID
  using Mounts = std::map<std::string, std::vector<ContainerMount>>;

  void forget(const std::string& volume);
  void add_mount(const Event& event);
  void end_mounts(const std::string& volume, const std::string& container_id);
  void end_mounts_of_container(const std::string& container_id);
  void note_rw_mount(const std::string& volume, std::int64_t time_ns);

  bool connected_ = false;
  mutable Mark now_ = 0;
  Mark known_since_ = 1;  ///< for marks before this one, only a "yes" can be sure
  std::map<std::string, Volume> volumes_;
  std::set<std::string> destroyed_;                       ///< since the volumes were asked for
  Mounts listed_;                                         ///< by volume
  std::map<Key, std::vector<ContainerMount>> announced_;  ///< mount events without their unmount yet
  std::map<std::string, std::int64_t> last_rw_mount_;     ///< by volume: when the last read-write mount began
  std::int64_t rw_mounts_forgotten_until_ = 0;            ///< of mounts that began by then some are forgotten
};

}  // namespace ferry::engine
