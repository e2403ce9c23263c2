#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "sync/directories.h"
#include "sync/entry.h"
#include "sync/stream.h"

namespace ferry::sync {

/// Walks a tree breadth-first and encodes its manifest. Reads metadata only, never content, and leaves atimes alone.
/// Where st_blocks does not tell how much of a file is data, it opens each file that may have holes and asks for them.
/// Starts with syncfs(2): a write through mmap changes a file's ctime only when its page was clean, so only after a
/// writeback does an old ctime mean that nothing was written. Not thread-safe.
class ManifestSource : public ByteSource {
 public:
  /// Walks below `root`, an open directory that must outlive this object. `entries` receives every entry without
  /// target and xattrs, which only the receiver needs; it must outlive this object too.
  ManifestSource(int root, std::vector<Entry>& entries);
  bool next(std::string& out) override;

 private:
  enum class Step { begin, walk, done };
  Result<> begin(std::string& out);
  Result<> directory(std::uint32_t index, std::string& out);
  Result<> entry(int directory, std::uint32_t parent, const std::string& name, std::string& out);
  Result<bool> fill(Entry& entry, const struct stat& info, int directory);
  void keep(Entry entry, const struct stat& info, std::string& out);

  const int root_;
  std::vector<Entry>& entries_;
  Directories directories_;
  std::deque<std::uint32_t> pending_;                                        // directories still to be read
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> linked_;  // (device, inode) with several names
  std::uint64_t sockets_ = 0;
  bool blocks_tell_ = false;  // st_blocks tells how much of a file is data
  ManifestInfo info_;
  Step step_ = Step::begin;
};

/// The stat(2) fields that tell whether a file may have changed, in an Entry's units.
std::uint64_t ctime_ns(const struct stat& info);

}  // namespace ferry::sync
