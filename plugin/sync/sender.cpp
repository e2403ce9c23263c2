#include "sync/sender.h"

#include <iterator>
#include <mutex>
#include <set>

#include "sync/inspect.h"
#include "sync/stat_all.h"
#include "sync/walk.h"

namespace ferry::sync {

std::unique_ptr<ByteSource> Sender::manifest() {
  tree_.clear();
  return std::make_unique<ManifestSource>(root_.get(), tree_, identity_, baseline_, ManifestSource::Keep::no_extras,
                                          kind_);
}

Result<std::unique_ptr<ByteSource>> Sender::content(std::string_view wants) const {
  FERRY_ASSIGN(auto parsed, read_wants(wants, tree_.entries));
  const Compression compression = parsed.compression;
  auto source = std::make_unique<ContentSource>(root_.get(), tree_.entries, std::move(parsed));
  return std::make_unique<CompressedSource>(std::move(source), compression, choice_);
}

Seal Sender::seal() const {
  Seal seal;
  std::set<std::uint32_t> first;
  std::mutex mutex;  // of both
  const auto& entries = tree_.entries;
  stat_all(root_.get(), entries, [&](std::uint32_t index, const Result<struct stat>& info) {
    const bool same = info && info->st_ino == entries[index].inode && ctime_ns(*info) == entries[index].ctime_ns;
    if (same) return true;
    const std::lock_guard guard(mutex);
    ++seal.changed;
    first.insert(index);
    if (first.size() > Seal::most_examples) first.erase(std::prev(first.end()));
    return true;
  });
  seal.examples.assign(first.begin(), first.end());
  return seal;
}

}  // namespace ferry::sync
