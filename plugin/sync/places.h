#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "sync/directories.h"

namespace ferry::sync {

/// Where the content of a file is put while it is received.
struct Place {
  int directory = -1;  ///< valid until the next place is asked for
  std::string name;
  std::uint32_t group = 0;  ///< equal ones are in the same directory
};

/// Tells where. Not thread-safe: one object per thread.
class Places {
 public:
  enum class Shape {
    tree,  ///< where the manifest has it
    flat,  ///< all in one directory, each named after the digest of its path
  };

  /// `root` and `entries` must outlive this object.
  Places(Shape shape, int root, const std::vector<Entry>& entries)
      : shape_(shape), root_(root), entries_(entries), directories_(root, entries) {}

  Result<Place> of(std::uint32_t entry);

  /// Of an entry in a flat directory.
  static std::string flat_name(const std::vector<Entry>& entries, std::uint32_t entry);

 private:
  const Shape shape_;
  const int root_;
  const std::vector<Entry>& entries_;
  Directories directories_;
};

/// An older version of a tree, of which files are compared with the sender's.
struct OldTree {
  int root = -1;
  const std::vector<Entry>& entries;
  const std::vector<std::uint32_t>& of;  ///< by entry of the new manifest: that of `entries` which has its path, if any
  std::vector<bool> patched;             ///< by entry of the new manifest: whether it is compared with that one
};

}  // namespace ferry::sync
