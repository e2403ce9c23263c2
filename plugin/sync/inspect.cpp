#include "sync/inspect.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/files.h"
#include "base/log.h"
#include "sync/extent.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

/// A manifest's record is little longer than that.
constexpr std::size_t most_xattr_bytes = longest_manifest_record - (256U << 10);

/// A path by which the path-based xattr calls reach a name below a descriptor; they have no *at variant before
/// Linux 6.13. One through /proc takes three times as long to resolve as a name.
std::string xattr_path(int directory, const std::string& name, bool is_working_directory) {
  const std::string last = name.empty() ? "." : name;
  return is_working_directory ? last : "/proc/self/fd/" + std::to_string(directory) + "/" + last;
}

Result<std::string> read_xattr(const std::string& path, const std::string& name) {
  std::string value(256, '\0');
  while (true) {
    const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<std::size_t>(size));
      return value;
    }
    if (errno != ERANGE) return fail_errno("read xattr " + printable(name));
    value.resize(value.size() * 4);
  }
}

Result<std::string> list_xattrs(const std::string& path) {
  std::array<char, 512> few;
  const ssize_t count = ::llistxattr(path.c_str(), few.data(), few.size());
  if (count >= 0) return std::string(few.data(), static_cast<std::size_t>(count));
  if (errno == ENOTSUP) return std::string();
  if (errno != ERANGE) return fail_errno("list xattrs");
  std::string list(4 * few.size(), '\0');
  while (true) {
    const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
    if (size >= 0) {
      list.resize(static_cast<std::size_t>(size));
      return list;
    }
    if (errno != ERANGE) return fail_errno("list xattrs");
    list.resize(list.size() * 4);
  }
}

/// Whether an xattr of that name goes along.
Result<bool> goes_along(const std::string& name, TreeKind kind) {
  constexpr std::string_view overlays = "trusted.overlay.";
  if (kind == TreeKind::plain || !name.starts_with(overlays)) return is_copied(name);
  const std::string_view what = std::string_view(name).substr(overlays.size());
  if (what == "redirect" || what == "metacopy")
    return fail(Code::unsupported,
                "it has " + name + ": a part of it is in the image's layers, which Ferry cannot move");
  return what != "origin" && what != "impure" && what != "nlink" && what != "upper" && what != "uuid";
}

Result<Xattrs> read_xattrs(const std::string& path, TreeKind kind) {
  FERRY_ASSIGN(const std::string list, list_xattrs(path));
  std::vector<Xattr> xattrs;
  for (std::size_t at = 0; at < list.size();) {
    const std::string attribute = list.c_str() + at;
    at += attribute.size() + 1;
    FERRY_ASSIGN(const bool wanted, goes_along(attribute, kind));
    if (!wanted) continue;
    auto value = read_xattr(path, attribute);
    if (!value && value.error().code == Code::not_found) continue;  // removed meanwhile
    if (!value) return pass(value);
    xattrs.push_back({attribute, std::move(*value)});
  }
  std::size_t bytes = 0;
  for (const auto& xattr : xattrs) bytes += xattr.name.size() + xattr.value.size();
  if (bytes > most_xattr_bytes)
    return fail(Code::unsupported, "its xattrs take " + std::to_string(bytes) + " bytes together, and Ferry carries " +
                                       std::to_string(most_xattr_bytes) + " for a file at most");
  std::sort(xattrs.begin(), xattrs.end(), [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  return Xattrs(std::move(xattrs));
}

Result<std::string> read_link(int directory, const std::string& name) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  if (size < 0 && errno == EINVAL) return fail(Code::not_found, "it is no symlink any more");
  if (size < 0) return fail_errno("read symlink");
  target.resize(static_cast<std::size_t>(size));
  return target;
}

/// The bytes of a file outside of its holes, as ContentSource finds them.
Result<std::uint64_t> count_data(int directory, const std::string& name, std::uint64_t size) {
  FERRY_ASSIGN(const Fd file, open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK));
  std::uint64_t bytes = 0;
  Extent extent;
  while (true) {
    FERRY_ASSIGN(extent, find_extent(file.get(), extent.end, size));
    if (extent.begin == extent.end) return bytes;
    bytes += extent.end - extent.begin;
  }
}

/// Whether the name of a regular file is something else's now, which nobody need be able to open.
bool is_another(int directory, const std::string& name, ino_t inode) {
  struct stat info {};
  return ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         (!S_ISREG(info.st_mode) || info.st_ino != inode);
}

bool is_device(Type type) { return type == Type::character_device || type == Type::block_device; }

/// None of what has no type in a manifest.
std::optional<Type> type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return Type::directory;
    case S_IFREG: return Type::regular;
    case S_IFLNK: return Type::symlink;
    case S_IFIFO: return Type::fifo;
    case S_IFCHR: return Type::character_device;
    case S_IFBLK: return Type::block_device;
    default: return std::nullopt;
  }
}

/// Those of which it was seen how they count blocks and that each page that is written to through mmap(2) shows in the
/// ctime once it was clean.
bool is_of_a_disk(std::int64_t type) {
  return type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC || type == BTRFS_SUPER_MAGIC;
}

}  // namespace

bool counts_data_in_blocks(std::int64_t type) { return is_of_a_disk(type) || type == TMPFS_MAGIC; }

std::uint64_t stable_before(std::int64_t synced_ns, std::int64_t type) {
  // The kernel stamps inodes with a coarse clock (ktime_get_coarse_real_ts64): up to a tick, 10 ms at HZ=100, behind.
  constexpr std::int64_t granularity = 20'000'000;
  return is_of_a_disk(type) ? static_cast<std::uint64_t>(synced_ns - granularity) : 0;
}

std::uint64_t ctime_ns(const struct stat& info) {
  constexpr std::uint64_t second = 1'000'000'000;
  return static_cast<std::uint64_t>(info.st_ctim.tv_sec) * second + static_cast<std::uint64_t>(info.st_ctim.tv_nsec);
}

bool work_in(int directory) {
  thread_local bool has_its_own = false;
  has_its_own = has_its_own || ::unshare(CLONE_FS) == 0;
  return has_its_own && ::fchdir(directory) == 0;
}

Result<Inspected> Inspector::inspect(int directory, const std::string& name, bool is_working_directory) const {
  struct stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0) return fail_errno("stat");
  Inspected found;
  found.device = info.st_dev;
  found.shared = !S_ISDIR(info.st_mode) && info.st_nlink > 1;
  Entry& entry = found.entry;
  const auto type = type_of(info.st_mode);
  found.left_out = !type;
  if (!type) return found;
  entry.type = *type;
  entry.mode = info.st_mode & 07777;
  entry.uid = info.st_uid;
  entry.gid = info.st_gid;
  entry.set_mtime({info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)});
  entry.inode = info.st_ino;
  entry.ctime_ns = ctime_ns(info);
  Extra extra;
  if (is_device(entry.type)) extra.device = info.st_rdev;
  if (entry.type == Type::regular) FERRY_TRY(add_size(entry, info, directory, name));
  if (entry.type == Type::symlink) {
    FERRY_ASSIGN(extra.target, read_link(directory, name));
  }
  FERRY_ASSIGN(extra.xattrs, read_xattrs(xattr_path(directory, name, is_working_directory), kind_));
  entry.set_extra(std::move(extra));
  return found;
}

Result<> Inspector::add_size(Entry& entry, const struct stat& info, int directory, const std::string& name) const {
  constexpr std::uint64_t block = 512;  // unit of st_blocks, stat(2)
  entry.size = static_cast<std::uint64_t>(info.st_size);
  std::uint64_t data = std::min(entry.size, static_cast<std::uint64_t>(info.st_blocks) * block);
  if (data < entry.size && !(blocks_tell_ && info.st_dev == device_)) {
    auto counted = count_data(directory, name, entry.size);
    if (!counted && is_another(directory, name, info.st_ino)) return fail(Code::not_found, "it is another file now");
    if (!counted) return pass(counted);
    data = *counted;
  }
  entry.set_data(data);
  return {};
}

}  // namespace ferry::sync
