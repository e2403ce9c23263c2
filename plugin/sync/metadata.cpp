#include "sync/metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/fd.h"
#include "base/files.h"

namespace ferry::sync {

namespace {

void times_of(const Entry& entry, std::timespec (&times)[2]) {
  times[0] = {0, UTIME_OMIT};
  times[1] = {entry.mtime_s, static_cast<long>(entry.mtime_ns)};
}

/// Removes the xattrs that the entry does not have: the file's own of an earlier round, or inherited ones (default
/// ACL).
template <class List, class Remove>
Result<> remove_other_xattrs(const Entry& entry, List list_xattrs, Remove remove_xattr) {
  std::string list(65536, '\0');  // XATTR_LIST_MAX, xattr(7)
  const ssize_t size = list_xattrs(list.data(), list.size());
  if (size < 0 && errno == ENOTSUP) return {};
  if (size < 0) return fail_errno("list xattrs");
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    const std::string name = list.c_str() + at;
    at += name.size() + 1;
    const bool wanted =
        std::any_of(entry.xattrs.begin(), entry.xattrs.end(), [&](const Xattr& x) { return x.name == name; });
    // security.selinux cannot be removed, only replaced; without one of the source the host's policy stands.
    if (wanted || name == "security.selinux") continue;
    if (remove_xattr(name.c_str()) != 0 && errno != ENODATA) return fail_errno("remove xattr " + name);
  }
  return {};
}

Result<> set_xattrs(int fd, const Entry& entry) {
  for (const auto& xattr : entry.xattrs)
    if (::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) != 0)
      return fail_errno("set xattr " + xattr.name);
  return {};
}

/// The kinds of xattr that a file system may support separately: the namespaces, and each name of security and system.
std::string kind_of(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("trusted.") ? name.substr(0, name.find('.')) : name;
}

Result<> check_xattrs(int fd, const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  std::set<std::string> tried;
  for (const auto& entry : entries) {
    for (const auto& xattr : entry.xattrs) {
      if (xattr.name == "system.posix_acl_default" || !tried.insert(kind_of(xattr.name)).second) continue;
      if (::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) != 0)
        return fail(Code::unsupported, "the file system of " + directory.string() +
                                           " cannot hold the extended attribute " + xattr.name + " of " + entry.name +
                                           ": " + fail_errno("setxattr").value().message);
    }
  }
  return {};
}

Result<> check_times(int fd, const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  const auto [oldest, newest] = std::minmax_element(
      entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.mtime_s < b.mtime_s; });
  for (const auto& extreme : {oldest, newest}) {
    if (extreme == entries.end() || extreme->type == Type::hard_link) continue;
    std::timespec times[2];
    times_of(*extreme, times);
    struct stat info {};
    const bool held = ::futimens(fd, times) == 0 && ::fstat(fd, &info) == 0 && info.st_mtim.tv_sec == extreme->mtime_s;
    if (!held)
      return fail(Code::unsupported, "the file system of " + directory.string() +
                                         " cannot hold the modification time of " + extreme->name + " (" +
                                         std::to_string(extreme->mtime_s) + " s since 1970)");
  }
  return {};
}

}  // namespace

mode_t format_of(Type type) {
  switch (type) {
    case Type::directory: return S_IFDIR;
    case Type::regular: return S_IFREG;
    case Type::symlink: return S_IFLNK;
    case Type::fifo: return S_IFIFO;
    case Type::character_device: return S_IFCHR;
    case Type::block_device: return S_IFBLK;
    case Type::hard_link: return 0;
  }
  return 0;
}

Result<> apply_metadata(int fd, const Entry& entry) {
  if (::fchown(fd, entry.uid, entry.gid) != 0) return fail_errno("chown");
  FERRY_TRY(remove_other_xattrs(
      entry, [fd](char* list, std::size_t size) { return ::flistxattr(fd, list, size); },
      [fd](const char* name) { return ::fremovexattr(fd, name); }));
  if (::fchmod(fd, entry.mode) != 0) return fail_errno("chmod");
  FERRY_TRY(set_xattrs(fd, entry));
  std::timespec times[2];
  times_of(entry, times);
  if (::futimens(fd, times) != 0) return fail_errno("set the modification time");
  return {};
}

Result<> apply_metadata_at(int directory, const Entry& entry) {
  const char* name = entry.name.c_str();
  if (::fchownat(directory, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("chown");
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + entry.name;
  FERRY_TRY(remove_other_xattrs(
      entry, [&](char* list, std::size_t size) { return ::llistxattr(path.c_str(), list, size); },
      [&](const char* attribute) { return ::lremovexattr(path.c_str(), attribute); }));
  if (entry.type != Type::symlink && ::fchmodat(directory, name, entry.mode, 0) != 0) return fail_errno("chmod");
  for (const auto& xattr : entry.xattrs)
    if (::lsetxattr(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) != 0)
      return fail_errno("set xattr " + xattr.name);
  std::timespec times[2];
  times_of(entry, times);
  if (::utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("set the modification time");
  return {};
}

Result<> create_special(int directory, const Entry& entry) {
  const char* name = entry.name.c_str();
  if (entry.type == Type::symlink) {
    if (::symlinkat(entry.target.c_str(), directory, name) != 0) return fail_errno("create symlink");
  } else if (::mknodat(directory, name, format_of(entry.type) | 0600, entry.device) != 0) {
    return fail_errno("create special file");
  }
  return apply_metadata_at(directory, entry);
}

Result<> check_features(const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  const auto path = directory / "probe";
  ::unlink(path.c_str());
  FERRY_ASSIGN(const Fd probe, open_at(AT_FDCWD, path.string(), O_WRONLY | O_CREAT | O_EXCL, 0600));
  ::unlink(path.c_str());
  FERRY_TRY(check_xattrs(probe.get(), directory, entries));
  return check_times(probe.get(), directory, entries);
}

}  // namespace ferry::sync
