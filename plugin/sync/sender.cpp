#include "sync/sender.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <future>

#include "sync/walk.h"

namespace ferry::sync {

std::unique_ptr<ByteSource> Sender::manifest() {
  entries_.clear();
  return std::make_unique<ManifestSource>(root_.get(), entries_, identity_, baseline_);
}

Result<std::unique_ptr<ByteSource>> Sender::content(std::string_view wants) const {
  FERRY_ASSIGN(auto parsed, read_wants(wants, entries_));
  return std::unique_ptr<ByteSource>(std::make_unique<ContentSource>(root_.get(), entries_, std::move(parsed)));
}

std::uint64_t Sender::seal() const {
  const auto count = static_cast<std::uint32_t>(entries_.size());
  const std::uint32_t middle = count / 2;
  // Deferred if the system has no thread.
  auto rest = std::async(std::launch::async | std::launch::deferred, [&] { return count_changed(middle, count); });
  const std::uint64_t changed = count_changed(0, middle);
  return changed + rest.get();
}

std::uint64_t Sender::count_changed(std::uint32_t begin, std::uint32_t end) const {
  Directories directories(root_.get(), entries_);
  std::uint64_t changed = 0;
  for (std::uint32_t index = begin; index < end; ++index) {
    const Entry& entry = entries_[index];
    if (entry.type == Type::hard_link) continue;  // a change of its inode shows at the entry that it links to
    struct stat info {};
    const auto parent = directories.open(entry.parent);
    const int flags = AT_SYMLINK_NOFOLLOW | (index == 0 ? AT_EMPTY_PATH : 0);
    const bool same = parent && ::fstatat(*parent, entry.name.c_str(), &info, flags) == 0 &&
                      info.st_ino == entry.inode && ctime_ns(info) == entry.ctime_ns;
    if (!same) ++changed;
  }
  return changed;
}

}  // namespace ferry::sync
