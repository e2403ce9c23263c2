#include "sync/walk.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"
#include "sync/extent.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

constexpr std::uint64_t second = 1'000'000'000;
/// The kernel stamps inodes with a coarse clock (ktime_get_coarse_real_ts64): up to one tick, 10 ms at HZ=100, behind.
constexpr std::uint64_t timestamp_granularity = 20'000'000;

/// A path by which the path-based xattr calls reach a name below a descriptor; they have no *at variant before
/// Linux 6.13.
std::string proc_path(int directory, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(directory) + "/" + (name.empty() ? "." : name);
}

Result<std::string> read_xattr(const std::string& path, const std::string& name) {
  std::string value(256, '\0');
  while (true) {
    const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<std::size_t>(size));
      return value;
    }
    if (errno != ERANGE) return fail_errno("read xattr " + name);
    value.resize(value.size() * 4);
  }
}

Result<std::string> list_xattrs(const std::string& path) {
  std::string list(1024, '\0');
  while (true) {
    const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
    if (size >= 0) {
      list.resize(static_cast<std::size_t>(size));
      return list;
    }
    if (errno == ENOTSUP) return std::string();
    if (errno != ERANGE) return fail_errno("list xattrs");
    list.resize(list.size() * 4);
  }
}

Result<std::vector<Xattr>> read_xattrs(int directory, const std::string& name) {
  const std::string path = proc_path(directory, name);
  FERRY_ASSIGN(const std::string list, list_xattrs(path));
  std::vector<Xattr> xattrs;
  for (std::size_t at = 0; at < list.size();) {
    const std::string attribute = list.c_str() + at;
    at += attribute.size() + 1;
    auto value = read_xattr(path, attribute);
    if (!value && value.error().code == Code::not_found) continue;  // removed meanwhile
    if (!value) return pass(value);
    xattrs.push_back({attribute, std::move(*value)});
  }
  std::sort(xattrs.begin(), xattrs.end(), [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  return xattrs;
}

Result<std::string> read_link(int directory, const std::string& name) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  if (size < 0 && errno == EINVAL) return fail(Code::not_found, "it is no symlink any more");
  if (size < 0) return fail_errno("read symlink");
  target.resize(static_cast<std::size_t>(size));
  return target;
}

/// Whether st_blocks of a file's system tells how much of the file is data. Elsewhere it may be less, where the file
/// system compresses (ZFS), or tell of another one beneath (overlayfs, FUSE).
bool counts_data_in_blocks(const struct statfs& file_system) {
  switch (file_system.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC: return true;
    default: return false;
  }
}

/// The bytes of a file outside of its holes, as ContentSource finds them.
Result<std::uint64_t> count_data(int directory, const Entry& entry) {
  FERRY_ASSIGN(const Fd file, open_at(directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK));
  std::uint64_t bytes = 0;
  Extent extent;
  while (true) {
    FERRY_ASSIGN(extent, find_extent(file.get(), extent.end, entry.size));
    if (extent.begin == extent.end) return bytes;
    bytes += extent.end - extent.begin;
  }
}

bool has_gone(const Error& error) { return error.code == Code::not_found; }

}  // namespace

std::uint64_t ctime_ns(const struct stat& info) {
  return static_cast<std::uint64_t>(info.st_ctim.tv_sec) * second + static_cast<std::uint64_t>(info.st_ctim.tv_nsec);
}

ManifestSource::ManifestSource(int root, std::vector<Entry>& entries)
    : root_(root), entries_(entries), directories_(root, entries) {}

bool ManifestSource::next(std::string& out) {
  if (step_ == Step::done) return false;
  Result<> result;
  if (step_ == Step::begin) {
    result = begin(out);
    step_ = Step::walk;
  } else if (!pending_.empty()) {
    result = directory(pending_.front(), out);
    pending_.pop_front();
  } else {
    if (sockets_ != 0)
      info_.warnings.push_back(std::to_string(sockets_) + " sockets were left out: they mean nothing on another host");
    append_trailer(out, info_, entries_.size());
    step_ = Step::done;
  }
  if (!result) {
    append_failure(out, result.error());
    step_ = Step::done;
  }
  return true;
}

Result<> ManifestSource::begin(std::string& out) {
  std::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (::syncfs(root_) != 0) return fail_errno("sync the source's file system");
  struct statfs file_system {};
  if (::fstatfs(root_, &file_system) != 0) return fail_errno("statfs");
  blocks_tell_ = counts_data_in_blocks(file_system);
  if (file_system.f_type != TMPFS_MAGIC)
    info_.stable_before_ns = static_cast<std::uint64_t>(now.tv_sec) * second + static_cast<std::uint64_t>(now.tv_nsec) -
                             timestamp_granularity;
  struct stat info {};
  if (::fstat(root_, &info) != 0) return fail_errno("stat the volume's root");
  Entry root;
  FERRY_ASSIGN(const bool included, fill(root, info, root_));
  (void)included;
  keep(std::move(root), info, out);
  return {};
}

Result<> ManifestSource::directory(std::uint32_t index, std::string& out) {
  auto opened = directories_.open(index);
  if (!opened && has_gone(opened.error())) return {};  // the seal finds it changed
  if (!opened) return pass(opened);
  auto names = names_in(*opened);
  if (!names) return fail(names.error().code, Directories::path(entries_, index) + ": " + names.error().message);
  for (const auto& name : *names)
    if (auto added = entry(*opened, index, name, out); !added && !has_gone(added.error()))
      return fail(added.error().code, Directories::path(entries_, index) + "/" + name + ": " + added.error().message);
  return {};
}

Result<> ManifestSource::entry(int directory, std::uint32_t parent, const std::string& name, std::string& out) {
  struct stat info {};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("stat");
  Entry entry;
  entry.name = name;
  entry.parent = parent;
  if (!S_ISDIR(info.st_mode) && info.st_nlink > 1) {
    const auto first = linked_.find({info.st_dev, info.st_ino});
    if (first != linked_.end()) {
      entry.type = Type::hard_link;
      entry.link = first->second;
      keep(std::move(entry), info, out);
      return {};
    }
  }
  FERRY_ASSIGN(const bool included, fill(entry, info, directory));
  if (included) keep(std::move(entry), info, out);
  return {};
}

/// Fills in what `info` and the file's xattrs and target say; false for what is left out.
Result<bool> ManifestSource::fill(Entry& entry, const struct stat& info, int directory) {
  switch (info.st_mode & S_IFMT) {
    case S_IFDIR: entry.type = Type::directory; break;
    case S_IFREG: entry.type = Type::regular; break;
    case S_IFLNK: entry.type = Type::symlink; break;
    case S_IFIFO: entry.type = Type::fifo; break;
    case S_IFCHR: entry.type = Type::character_device; break;
    case S_IFBLK: entry.type = Type::block_device; break;
    default: ++sockets_; return false;
  }
  entry.mode = info.st_mode & 07777;
  entry.uid = info.st_uid;
  entry.gid = info.st_gid;
  entry.mtime_s = info.st_mtim.tv_sec;
  entry.mtime_ns = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  entry.inode = info.st_ino;
  entry.ctime_ns = ctime_ns(info);
  if (entry.type == Type::regular) {
    constexpr std::uint64_t block = 512;  // unit of st_blocks, stat(2)
    entry.size = static_cast<std::uint64_t>(info.st_size);
    entry.data = std::min(entry.size, static_cast<std::uint64_t>(info.st_blocks) * block);
    if (entry.data < entry.size && !blocks_tell_) {
      FERRY_ASSIGN(entry.data, count_data(directory, entry));
    }
  }
  if (entry.type == Type::character_device || entry.type == Type::block_device) entry.device = info.st_rdev;
  if (entry.type == Type::symlink) {
    FERRY_ASSIGN(entry.target, read_link(directory, entry.name));
  }
  FERRY_ASSIGN(entry.xattrs, read_xattrs(directory, entry.name));
  return true;
}

void ManifestSource::keep(Entry entry, const struct stat& info, std::string& out) {
  const auto index = static_cast<std::uint32_t>(entries_.size());
  append_entry(out, entry);
  if (entry.type == Type::directory) pending_.push_back(index);
  if (entry.type != Type::directory && entry.type != Type::hard_link && info.st_nlink > 1)
    linked_.emplace(std::pair{info.st_dev, info.st_ino}, index);
  entry.target = std::string();
  entry.xattrs = {};
  entries_.push_back(std::move(entry));
}

}  // namespace ferry::sync
