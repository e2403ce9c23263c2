#include "sync/obstacles.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "base/log.h"
#include "base/mount_table.h"

namespace ferry::sync {

namespace {

Result<struct statx> look(int directory, const std::string& name) {
  struct statx info {};
  if (::statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_TYPE, &info) != 0)
    return fail_errno("stat " + printable(name));
  return info;
}

/// None if the file system has no such thing.
Result<std::optional<fsxattr>> attributes_of(int file) {
  fsxattr attributes{};
  if (::ioctl(file, FS_IOC_FSGETXATTR, &attributes) == 0) return attributes;
  if (errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS) return std::nullopt;
  return fail_errno("get its project");
}

}  // namespace

Result<> check_no_mounts(int tree) {
  std::error_code error;
  const std::string root = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(tree), error).string();
  if (error) return fail_errno("find the volume's path", error.value());
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  for (const auto& mount : mounts) {
    if (mount.target != root && !is_below(mount.target, root)) continue;
    return fail(Code::denied, "something is mounted on " + quote(mount.target) +
                                  " here, in the volume that would have to change; `umount` it and try again");
  }
  return {};
}

Result<> check_alterable(int tree, int directory, const std::string& name, const std::string& path, Alteration how) {
  FERRY_ASSIGN(const auto info, look(directory, name));
  if ((info.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0)
    return fail(Code::denied, quote(path) +
                                  " would have to change, and is immutable or append-only here (lsattr); "
                                  "`chattr -i -a` it and try again");
  if (how == Alteration::content && (info.stx_attributes & STATX_ATTR_VERITY) != 0)
    return fail(Code::denied, quote(path) +
                                  " would have to change, and has become read-only for good here (fs-verity); "
                                  "try again, and it is replaced");
  if (!S_ISDIR(info.stx_mode) || (info.stx_attributes & STATX_ATTR_ENCRYPTED) == 0) return {};
  FERRY_ASSIGN(const auto beside, look(tree, ".."));  // new files come from there, encrypted as that is
  if ((beside.stx_attributes & STATX_ATTR_ENCRYPTED) != 0) return {};
  return fail(Code::denied, "the directory " + quote(path) +
                                " would have to change, and is encrypted here (fscrypt), where files cannot be moved "
                                "to; remove the volume, and import it anew");
}

bool is_sealed(int directory, const std::string& name) {
  const auto info = look(directory, name);
  return info && (info->stx_attributes & STATX_ATTR_VERITY) != 0;
}

Result<> adopt_project(int file, int directory) {
  FERRY_ASSIGN(const auto demanded, attributes_of(directory));
  FERRY_ASSIGN(auto own, attributes_of(file));
  if (!demanded || !own || (demanded->fsx_xflags & FS_XFLAG_PROJINHERIT) == 0) return {};
  own->fsx_projid = demanded->fsx_projid;
  if (::ioctl(file, FS_IOC_FSSETXATTR, &*own) != 0) return fail_errno("give it the project of its directory");
  return {};
}

Result<> accept_all_projects(int directory) {
  FERRY_ASSIGN(auto attributes, attributes_of(directory));
  if (!attributes || (attributes->fsx_xflags & FS_XFLAG_PROJINHERIT) == 0) return {};
  attributes->fsx_xflags &= ~static_cast<unsigned>(FS_XFLAG_PROJINHERIT);
  if (::ioctl(directory, FS_IOC_FSSETXATTR, &*attributes) != 0) return fail_errno("let files of all projects in");
  return {};
}

}  // namespace ferry::sync
