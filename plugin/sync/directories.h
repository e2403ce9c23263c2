#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/entry.h"

namespace ferry::sync {

/// Opens the directories of a tree by their index in its manifest. It goes down component by component below a
/// directory descriptor and follows no symlink, so a tree may be deeper than PATH_MAX and nothing can lead out of it.
/// A small cache keeps recent ones open. Not thread-safe: one object per thread.
class Directories {
 public:
  /// `root` and `entries` must outlive this object; `entries` may grow.
  Directories(int root, const std::vector<Entry>& entries) : root_(root), entries_(entries) {}

  /// Of those on the way, too, which makes going up a deep tree fast. Not where directories are replaced by others.
  enum class Keep { itself, all_above };
  /// A descriptor of the directory `index`, valid until the next call.
  Result<int> open(std::uint32_t index, Keep keep = Keep::itself);

  /// The path of an entry relative to the root, with '/' between names; for keys, not for opening.
  static std::string path(const std::vector<Entry>& entries, std::uint32_t index);

  /// An entry's path for people, on one line and not too long: what an error's message begins with.
  static std::string shown(const std::vector<Entry>& entries, std::uint32_t index);

 private:
  struct Slot {
    std::uint32_t index = 0;
    Fd fd;
  };
  Slot& slot(std::uint32_t index) { return slots_[index % slots_.size()]; }
  bool cached(std::uint32_t index) { return slot(index).fd && slot(index).index == index; }

  const int root_;
  const std::vector<Entry>& entries_;
  std::array<Slot, 64> slots_;
};

}  // namespace ferry::sync
