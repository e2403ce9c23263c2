#include "sync/metadata.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>

#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "sync/directories.h"
#include "sync/wire.h"

namespace ferry::sync {

namespace {

void times_of(const Entry& entry, std::timespec (&times)[2]) {
  times[0] = {0, UTIME_OMIT};
  const Timestamp mtime = entry.mtime();
  times[1] = {mtime.s, static_cast<long>(mtime.ns)};
}

/// Removes the xattrs that the entry does not have: the file's own of an earlier round, or inherited ones (default
/// ACL).
template <class List, class Remove>
Result<> remove_other_xattrs(const Entry& entry, List list_xattrs, Remove remove_xattr) {
  constexpr std::size_t longest_list = 65536;  // XATTR_LIST_MAX, xattr(7)
  const auto list = std::make_unique_for_overwrite<char[]>(longest_list);
  const ssize_t size = list_xattrs(list.get(), longest_list);
  if (size < 0 && errno == ENOTSUP) return {};
  if (size < 0) return fail_errno("list xattrs");
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    const std::string name = list.get() + at;
    at += name.size() + 1;
    const bool wanted = std::any_of(entry.extra().xattrs.begin(), entry.extra().xattrs.end(),
                                    [&](const Xattr& x) { return x.name == name; });
    if (wanted || name == host_label || !is_copied(name)) continue;
    if (remove_xattr(name.c_str()) != 0 && errno != ENODATA) return fail_errno("remove xattr " + printable(name));
  }
  return {};
}

/// Sets those of the entry. Where the old value of one and the new one of another do not fit beside each other (ext4
/// holds few bytes for each file), the old ones go first.
template <class Set, class Remove>
Result<> set_xattrs(const Entry& entry, Set set, Remove remove) {
  const auto& xattrs = entry.extra().xattrs;
  int error = 0;
  const auto set_all = [&]() -> Result<> {
    for (const auto& xattr : xattrs) {
      if (set(xattr) == 0) continue;
      error = errno;
      return fail_errno("set xattr " + printable(xattr.name), error);
    }
    return {};
  };
  auto done = set_all();
  if (done || error != ENOSPC) return done;
  for (const auto& xattr : xattrs)
    if (xattr.name != host_label) (void)remove(xattr.name.c_str());
  return set_all();
}

/// Those whose values are not just stored: security modules, and what knows ACLs, may refuse some.
bool has_checked_values(std::string_view xattr) {
  return !xattr.starts_with("user.") && !xattr.starts_with("trusted.");
}

/// The kinds of xattr that a file system may support separately: the namespaces, and each name of security and system.
std::string_view kind_of(std::string_view xattr) {
  return has_checked_values(xattr) ? xattr : xattr.substr(0, xattr.find('.'));
}

std::uint64_t xattr_bytes(const Entry& entry) {
  constexpr std::uint64_t header = 16;  // ext4_xattr_entry; names and values are padded to 4 bytes, at most
  const auto padded = [](std::uint64_t bytes) { return (bytes + 3) / 4 * 4; };
  std::uint64_t bytes = 0;
  for (const auto& xattr : entry.extra().xattrs)
    bytes += header + padded(xattr.name.size()) + padded(xattr.value.size());
  return bytes;
}

/// What of an entry's xattrs tells whether a file system can hold them. Each has limits of its own (ext4: what of a
/// file's xattrs does not fit beside each other into its inode has one block; XFS and Btrfs: for a value), so that
/// nothing but names and sizes does; but so few bytes are held by each that can hold that kind. Directories apart,
/// because only they have default ACLs.
void append_shape(std::string& shape, const Entry& entry) {
  constexpr std::uint64_t few = 512;  // ext4 with blocks of 1 KiB holds 988
  const bool any = xattr_bytes(entry) <= few;
  Writer writer(shape);
  writer.byte(entry.type == Type::directory ? 1 : 0);
  for (const auto& xattr : entry.extra().xattrs) {
    writer.string(any ? kind_of(xattr.name) : xattr.name);
    writer.number(any ? 0 : xattr.value.size());
    if (has_checked_values(xattr.name)) writer.string(xattr.value);
  }
}

/// Names it for people, by its path.
std::string name_of(const std::vector<Entry>& entries, const Entry& entry) {
  const auto index = static_cast<std::uint32_t>(&entry - entries.data());
  return index == 0 ? "the volume's root" : quote(Directories::path(entries, index));
}

/// An empty file or directory in `directory` that is gone when this object is.
class Probe {
 public:
  static Result<Probe> make(const std::filesystem::path& directory, bool is_directory) {
    const auto path = directory / "probe";
    FERRY_TRY(remove_tree(path));
    if (is_directory && ::mkdir(path.c_str(), 0700) != 0) return fail_errno("create " + path.string());
    const int flags = is_directory ? O_RDONLY | O_DIRECTORY : O_WRONLY | O_CREAT | O_EXCL;
    auto fd = open_at(AT_FDCWD, path.string(), flags, 0600);
    is_directory ? ::rmdir(path.c_str()) : ::unlink(path.c_str());
    if (!fd) return pass(fd);
    return Probe(std::move(*fd));
  }
  int fd() const { return fd_.get(); }

 private:
  explicit Probe(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// Whether a probe failed for a reason that says nothing about what the file system can hold.
bool is_trouble(int error) {
  return error == EIO || error == EDQUOT || error == ENOMEM || error == EROFS || error == ENOSPC;
}

/// If not, ENOSPC may mean just that; ext4 and Btrfs also say it of xattrs that are too large for them.
bool has_room_for_xattrs(int fd, const Entry& entry) {
  constexpr std::uint64_t margin = 1U << 20;  // for the blocks of metadata around them
  struct statvfs room {};
  return ::fstatvfs(fd, &room) == 0 &&
         static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize > xattr_bytes(entry) + margin;
}

Result<> check_xattr(const std::filesystem::path& directory, int probe, const std::vector<Entry>& entries,
                     const Entry& entry, const Xattr& xattr) {
  if (::fsetxattr(probe, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) == 0) return {};
  const int error = errno;
  if (is_trouble(error) && (error != ENOSPC || !has_room_for_xattrs(probe, entry)))
    return fail_errno("set xattr " + printable(xattr.name) + " on a probe in " + directory.string(), error);
  return fail(Code::unsupported, "the file system of " + directory.string() +
                                     " cannot hold the extended attributes of " + name_of(entries, entry) + " (" +
                                     std::to_string(xattr_bytes(entry)) + " bytes), " + printable(xattr.name) +
                                     " among them: " + fail_errno("setxattr", error).value().message);
}

/// Tries the xattrs of every entry, those of one shape once.
Result<> check_xattrs(const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  std::set<Digest> tried;
  std::string shape;
  std::string last;  // mostly the next one, too
  for (const auto& entry : entries) {
    if (entry.extra().xattrs.empty()) continue;
    shape.clear();
    append_shape(shape, entry);
    if (shape == last || !tried.insert(digest_of(shape)).second) continue;
    last = shape;
    FERRY_ASSIGN(const Probe probe, Probe::make(directory, entry.type == Type::directory));
    for (const auto& xattr : entry.extra().xattrs) FERRY_TRY(check_xattr(directory, probe.fd(), entries, entry, xattr));
  }
  return {};
}

/// How many of the nine digits of the nanoseconds are needed to tell them.
unsigned digits(std::uint32_t nanoseconds) {
  unsigned count = 9;
  while (count > 0 && nanoseconds % 10 == 0) {
    nanoseconds /= 10;
    --count;
  }
  return count;
}

/// The entries with the oldest, the newest and the most precise modification time; hard links have none of their own.
std::set<const Entry*> extreme_times(const std::vector<Entry>& entries) {
  const Entry* oldest = nullptr;
  const Entry* newest = nullptr;
  const Entry* finest = nullptr;
  for (const auto& entry : entries) {
    if (entry.type == Type::hard_link) continue;
    if (oldest == nullptr || entry.mtime().s < oldest->mtime().s) oldest = &entry;
    if (newest == nullptr || entry.mtime().s > newest->mtime().s) newest = &entry;
    if (finest == nullptr || digits(entry.mtime().ns) > digits(finest->mtime().ns)) finest = &entry;
  }
  std::set<const Entry*> all = {oldest, newest, finest};
  all.erase(nullptr);
  return all;
}

Result<> check_time(const std::filesystem::path& directory, const std::vector<Entry>& entries, const Entry& entry) {
  FERRY_ASSIGN(const Probe probe, Probe::make(directory, false));
  std::timespec times[2];
  times_of(entry, times);
  struct stat info {};
  const bool set = ::futimens(probe.fd(), times) == 0 && ::fstat(probe.fd(), &info) == 0;
  if (!set && is_trouble(errno)) return fail_errno("set the time of a probe in " + directory.string());
  if (set && info.st_mtim.tv_sec == entry.mtime().s && info.st_mtim.tv_nsec == times[1].tv_nsec) return {};
  return fail(Code::unsupported, "the file system of " + directory.string() + " cannot hold the modification time of " +
                                     name_of(entries, entry) + " (" + std::to_string(entry.mtime().s) + " s and " +
                                     std::to_string(entry.mtime().ns) + " ns since 1970)");
}

/// The entry of that type with the most of something that is not 0; null if none has any.
template <class Amount>
const Entry* most(const std::vector<Entry>& entries, Type type, Amount amount) {
  const Entry* found = nullptr;
  for (const auto& entry : entries)
    if (entry.type == type && amount(entry) > (found == nullptr ? 0 : amount(*found))) found = &entry;
  return found;
}

Result<> check_symlink(const std::filesystem::path& directory, const std::vector<Entry>& entries, const Entry& entry) {
  const auto path = directory / "probe";
  FERRY_TRY(remove_tree(path));
  if (::symlink(entry.extra().target.c_str(), path.c_str()) == 0) {
    ::unlink(path.c_str());
    return {};
  }
  if (errno != ENAMETOOLONG) return fail_errno("create the symlink " + path.string());
  return fail(Code::unsupported, "the file system of " + directory.string() + " cannot hold the symlink " +
                                     name_of(entries, entry) + ", whose target has " +
                                     std::to_string(entry.extra().target.size()) + " bytes");
}

Result<> check_size(const std::filesystem::path& directory, const std::vector<Entry>& entries, const Entry& entry) {
  FERRY_ASSIGN(const Probe probe, Probe::make(directory, false));
  if (::ftruncate(probe.fd(), static_cast<off_t>(entry.size)) == 0) return {};
  if (errno != EFBIG) return fail_errno("set the size of a probe in " + directory.string());
  return fail(Code::unsupported, "the file system of " + directory.string() + " cannot hold a file as long as " +
                                     name_of(entries, entry) + " (" + std::to_string(entry.size) + " bytes)");
}

/// How many names one inode can have. From the kernel's sources: pathconf(3) knows few file systems, and to make that
/// many names takes seconds.
std::uint64_t most_links(std::int64_t file_system) {
  switch (file_system) {
    case EXT4_SUPER_MAGIC: return 65'000;   // EXT4_LINK_MAX
    case BTRFS_SUPER_MAGIC: return 65'535;  // BTRFS_LINK_MAX
    default: return UINT64_MAX;
  }
}

Result<> check_links(const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  struct statfs file_system {};
  if (::statfs(directory.c_str(), &file_system) != 0)
    return fail_errno("look at the file system of " + directory.string());
  const std::uint64_t limit = most_links(file_system.f_type);
  std::unordered_map<std::uint32_t, std::uint64_t> names;
  for (const auto& entry : entries) {
    if (entry.type != Type::hard_link || ++names[entry.link] < limit) continue;
    return fail(Code::unsupported, "the file system of " + directory.string() + " allows " + std::to_string(limit) +
                                       " hard links to one file; " + name_of(entries, entries[entry.link]) +
                                       " has more");
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

Result<Inherited> inherited_by(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return fail_errno("stat");
  const ssize_t xattrs = ::flistxattr(fd, nullptr, 0);
  if (xattrs < 0 && errno != ENOTSUP) return fail_errno("list xattrs");
  return Inherited{info.st_uid, info.st_gid, xattrs > 0};
}

Result<> apply_metadata(int fd, const Entry& entry, const Inherited* inherited) {
  const bool owned = inherited != nullptr && inherited->uid == entry.uid && inherited->gid == entry.gid;
  if (!owned && ::fchown(fd, entry.uid, entry.gid) != 0) return fail_errno("chown");
  if (inherited == nullptr || inherited->xattrs)
    FERRY_TRY(remove_other_xattrs(
        entry, [fd](char* list, std::size_t size) { return ::flistxattr(fd, list, size); },
        [fd](const char* name) { return ::fremovexattr(fd, name); }));
  if (::fchmod(fd, entry.mode) != 0) return fail_errno("chmod");
  FERRY_TRY(set_xattrs(
      entry,
      [fd](const Xattr& xattr) {
        return ::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0);
      },
      [fd](const char* name) { return ::fremovexattr(fd, name); }));
  std::timespec times[2];
  times_of(entry, times);
  if (::futimens(fd, times) != 0) return fail_errno("set the modification time");
  return {};
}

Result<> apply_metadata_at(int directory, const Entry& entry) {
  const char* name = entry.name.c_str();
  if (::fchownat(directory, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("chown");
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + entry.name.str();
  FERRY_TRY(remove_other_xattrs(
      entry, [&](char* list, std::size_t size) { return ::llistxattr(path.c_str(), list, size); },
      [&](const char* attribute) { return ::lremovexattr(path.c_str(), attribute); }));
  if (entry.type != Type::symlink && ::fchmodat(directory, name, entry.mode, 0) != 0) return fail_errno("chmod");
  FERRY_TRY(set_xattrs(
      entry,
      [&](const Xattr& xattr) {
        return ::lsetxattr(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0);
      },
      [&](const char* attribute) { return ::lremovexattr(path.c_str(), attribute); }));
  std::timespec times[2];
  times_of(entry, times);
  if (::utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("set the modification time");
  return {};
}

Result<> create_special(int directory, const Entry& entry) {
  const char* name = entry.name.c_str();
  if (entry.type == Type::symlink) {
    if (::symlinkat(entry.extra().target.c_str(), directory, name) != 0) return fail_errno("create symlink");
  } else if (::mknodat(directory, name, format_of(entry.type) | 0600, entry.extra().device) != 0) {
    return fail_errno("create special file");
  }
  return apply_metadata_at(directory, entry);
}

Result<> check_features(const std::filesystem::path& directory, const std::vector<Entry>& entries) {
  FERRY_TRY(check_xattrs(directory, entries));
  for (const Entry* entry : extreme_times(entries)) FERRY_TRY(check_time(directory, entries, *entry));
  const Entry* longest = most(entries, Type::symlink, [](const Entry& entry) { return entry.extra().target.size(); });
  if (longest != nullptr) FERRY_TRY(check_symlink(directory, entries, *longest));
  const Entry* largest = most(entries, Type::regular, [](const Entry& entry) { return entry.size; });
  if (largest != nullptr) FERRY_TRY(check_size(directory, entries, *largest));
  return check_links(directory, entries);
}

}  // namespace ferry::sync
