#include "sync/sender.h"

#include <atomic>

#include "sync/inspect.h"
#include "sync/stat_all.h"
#include "sync/walk.h"

namespace ferry::sync {

std::unique_ptr<ByteSource> Sender::manifest() {
  tree_.clear();
  return std::make_unique<ManifestSource>(root_.get(), tree_, identity_, baseline_);
}

Result<std::unique_ptr<ByteSource>> Sender::content(std::string_view wants) const {
  FERRY_ASSIGN(auto parsed, read_wants(wants, tree_.entries));
  const Compression compression = parsed.compression;
  auto source = std::make_unique<ContentSource>(root_.get(), tree_.entries, std::move(parsed));
  return std::make_unique<CompressedSource>(std::move(source), compression, choice_);
}

std::uint64_t Sender::seal() const {
  std::atomic<std::uint64_t> changed{0};
  const auto& entries = tree_.entries;
  stat_all(root_.get(), entries, [&](std::uint32_t index, const Result<struct stat>& info) {
    const bool same = info && info->st_ino == entries[index].inode && ctime_ns(*info) == entries[index].ctime_ns;
    if (!same) ++changed;
    return true;
  });
  return changed;
}

}  // namespace ferry::sync
