#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sync/entry.h"

namespace ferry::sync {

/// Finds names in the directories of a manifest. Thread-safe.
class TreeIndex {
 public:
  static constexpr std::uint32_t none = UINT32_MAX;

  /// `entries` must outlive this object.
  explicit TreeIndex(const std::vector<Entry>& entries);

  /// Entries of one directory: from `begin` on, before `end`.
  struct Range {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  /// Those in `directory`, which may be none.
  Range children(std::uint32_t directory) const {
    return directory < children_.size() ? children_[directory] : Range{};
  }
  /// The entry of that name in `directory`, which may be none; none if there is no such name.
  std::uint32_t find(std::uint32_t directory, std::string_view name) const;

 private:
  const std::vector<Entry>& entries_;
  std::vector<Range> children_;  // by directory
};

/// For each of `entries` the one of the same path in `others`, or none.
std::vector<std::uint32_t> match_paths(const std::vector<Entry>& entries, const std::vector<Entry>& others);

}  // namespace ferry::sync
