#include "volumes/mount_table.h"

#include <sys/mount.h>

#include <algorithm>

#include "base/log.h"

namespace ferry::volumes {

Result<std::string> plugin_id(const std::string& target) {
  constexpr std::string_view suffix = "/propagated-mount";
  constexpr std::size_t id_length = 64;
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  for (const auto& mount : mounts) {
    if (mount.target != target || !mount.root.ends_with(suffix)) continue;
    const std::string directory = mount.root.substr(0, mount.root.size() - suffix.size());
    const std::string id = directory.substr(directory.rfind('/') + 1);
    if (id.size() == id_length && id.find_first_not_of("0123456789abcdef") == std::string::npos) return id;
  }
  return fail(Code::not_found, target + " is not the propagated mount of an installed plugin");
}

Result<> unpin_mounts(const std::string& directory, const std::vector<std::string>& keep) {
  FERRY_ASSIGN(auto mounts, read_mount_table());
  const bool shared = std::any_of(mounts.begin(), mounts.end(), [&](const MountPoint& mount) {
    return (mount.target == directory || is_below(mount.target, directory)) &&
           mount.fields.find("shared:") != std::string::npos;
  });
  if (shared) {
    spdlog::warn("{} is a shared mount; the mounts below it stay pinned by Ferry", directory);
    return {};
  }
  std::reverse(mounts.begin(), mounts.end());
  for (const auto& mount : mounts) {
    const bool wanted = std::any_of(keep.begin(), keep.end(), [&](const std::string& path) {
      return mount.target == path || is_below(mount.target, path) || is_below(path, mount.target);
    });
    if (!is_below(mount.target, directory) || wanted) continue;
    if (::umount2(mount.target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
      spdlog::warn("cannot let go of the mount {}: errno {}", mount.target, errno);
  }
  return {};
}

}  // namespace ferry::volumes
