#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace ferry::volumes {

/// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)), with its octal escapes decoded.
struct MountPoint {
  std::string root;    ///< path within its file system that forms the root of the mount
  std::string target;  ///< where it is mounted, below this process's root
  std::string fields;  ///< the optional fields, e.g. "shared:5 master:2"
};

/// Parses the content of a mountinfo file; lines that do not parse are left out.
std::vector<MountPoint> parse_mount_table(const std::string& content);

/// This process's mounts, in the order in which they were mounted.
Result<std::vector<MountPoint>> read_mount_table();

/// The 64 hex digits of this plugin's ID, from the root of its propagated mount `…/plugins/<id>/propagated-mount`.
/// Code::not_found if `target` is not such a mount, or its directory has been renamed or deleted, which is what the
/// Engine does with it when the plugin is removed (moby daemon/pkg/plugin/backend_linux.go: rename to `<id>-removing`).
Result<std::string> plugin_id(const std::string& target);

/// In this process's mount namespace only, lazily unmounts everything below `directory` but what leads to one of the
/// directories `keep` below it. A plugin sees a snapshot of the host's mounts from its start and would pin them. Does
/// nothing where `directory` is a shared mount, because there the host would lose the mounts as well.
Result<> unpin_mounts(const std::string& directory, const std::vector<std::string>& keep);

}  // namespace ferry::volumes
