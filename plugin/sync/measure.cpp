#include "sync/measure.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <vector>

#include "base/directory.h"

namespace ferry::sync {

namespace {

constexpr std::size_t deepest = 128;  // so many descriptors are open at a time

/// What a name's file has allocated; of several names of a file each has its share, so that all together count it once.
std::uint64_t share(const struct stat& info) {
  constexpr std::uint64_t block = 512;  // unit of st_blocks, stat(2)
  const auto allocated = static_cast<std::uint64_t>(info.st_blocks) * block;
  return std::min(allocated, static_cast<std::uint64_t>(info.st_size)) / std::max<std::uint64_t>(info.st_nlink, 1);
}

}  // namespace

std::uint64_t measure(int root, Deadline deadline) {
  std::uint64_t bytes = 0;
  std::vector<DirectoryReader> open;
  const auto enter = [&open](int parent, const char* name) {
    if (open.size() == deepest) return;
    if (auto reader = DirectoryReader::open(parent, name, O_NOATIME)) open.push_back(std::move(*reader));
  };
  enter(root, ".");
  while (!open.empty() && SteadyClock::now() < deadline) {
    const auto name = open.back().next();
    if (!name || *name == nullptr) {
      open.pop_back();
      continue;
    }
    struct stat info {};
    if (::fstatat(open.back().fd(), *name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(info.st_mode)) enter(open.back().fd(), *name);
    if (S_ISREG(info.st_mode)) bytes += share(info);
  }
  return bytes;
}

Result<std::uint64_t> used_bytes(int directory) {
  struct statvfs room {};
  if (::fstatvfs(directory, &room) != 0) return fail_errno("statvfs");
  return static_cast<std::uint64_t>(room.f_blocks - room.f_bfree) * room.f_frsize;
}

}  // namespace ferry::sync
