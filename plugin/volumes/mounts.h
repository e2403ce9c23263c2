#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "base/keyed_mutex.h"
#include "base/result.h"
#include "volumes/record.h"

namespace ferry::volumes {

/// Binds volumes into the plugin's propagated mount, where the Engine finds them. Thread-safe; serialised per volume.
///
/// Mount IDs are hints: a plugin that was restarted never saw those of running containers, and `docker cp` uses the ID
/// of a running container once more. So IDs are counted per call, an unknown ID is no error, and a volume is unbound
/// when no known holder is left. Unbinding never takes a volume away from a container: its own bind is independent.
///
/// Mountpoints are on no disk but in a tmpfs: an Engine that does not see what is mounted here (is_seen_by_engine)
/// finds none of them, and refuses to start a container, which would otherwise get an empty directory as its volume.
///
/// Binds only while answering a Mount, never at start and never to repair: on a host with a shared root mount, a bind
/// by a plugin that `docker plugin rm -f` is removing would put the data inside the directory that is being deleted.
class Mounts {
 public:
  /// `propagated` is the plugin's propagated mount (config.json), `scratch` a directory of its own for private binds.
  Mounts(std::filesystem::path propagated, std::filesystem::path scratch);

  /// Counts what is bound already (the binds of a crashed predecessor outlive it) and makes `scratch` a private mount.
  Result<> start();

  /// Binds `data` at the volume's mountpoint, read-only if `mode` says so, and returns the mountpoint. A bind has the
  /// restrictions (nosuid, nodev, noexec) of the mount that `data` is in. A failure leaves no mountpoint.
  Result<std::string> mount(const std::string& name, const std::string& id, const std::filesystem::path& data,
                            Mode mode);
  Result<> unmount(const std::string& name, const std::string& id);

  /// Unbinds whatever is bound for `name`, for its removal, and removes its mountpoint whoever has made it.
  Result<> release(const std::string& name);

  /// The mountpoint, empty if it is not bound.
  std::string mountpoint(const std::string& name) const;

 private:
  std::filesystem::path target(const std::string& name) const { return mountpoints_ / name; }
  Result<> make_mountpoints();
  Result<> bind(const std::string& name, const std::filesystem::path& data, Mode mode);
  Result<> check_alive() const;

  const std::filesystem::path propagated_;
  const std::filesystem::path mountpoints_;
  const std::filesystem::path scratch_;
  KeyedMutex names_;
  std::mutex making_;  // of mountpoints_
  mutable std::mutex mutex_;
  std::set<std::string> bound_;                            // protected by mutex_
  std::map<std::string, std::multiset<std::string>> ids_;  // protected by mutex_: holders by volume
};

}  // namespace ferry::volumes
