#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace ferry {

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

/// Whether an absolute path is below another one, and not the same.
bool is_below(const std::string& path, const std::string& directory);

}  // namespace ferry
