#include "sync/tree_index.h"

#include <algorithm>

namespace ferry::sync {

TreeIndex::TreeIndex(const std::vector<Entry>& entries) : entries_(entries), children_(entries.size()) {
  for (std::uint32_t index = 1; index < entries.size(); ++index) {
    Range& range = children_[entries[index].parent];
    if (range.begin == range.end) range.begin = index;
    range.end = index + 1;
  }
}

std::uint32_t TreeIndex::find(std::uint32_t directory, std::string_view name) const {
  if (directory >= children_.size()) return none;
  const auto first = entries_.begin() + children_[directory].begin;
  const auto last = entries_.begin() + children_[directory].end;
  const auto found =
      std::lower_bound(first, last, name, [](const Entry& entry, std::string_view n) { return entry.name < n; });
  return found == last || found->name != name ? none : static_cast<std::uint32_t>(found - entries_.begin());
}

std::vector<std::uint32_t> match_paths(const std::vector<Entry>& entries, const std::vector<Entry>& others) {
  const TreeIndex index(others);
  std::vector<std::uint32_t> matches(entries.size(), TreeIndex::none);
  if (!entries.empty() && !others.empty()) matches[0] = 0;
  // Both are in the same order within each directory.
  TreeIndex::Range left;
  for (std::uint32_t i = 1; i < entries.size(); ++i) {
    if (i == 1 || entries[i].parent != entries[i - 1].parent) left = index.children(matches[entries[i].parent]);
    while (left.begin != left.end && others[left.begin].name < entries[i].name) ++left.begin;
    if (left.begin != left.end && others[left.begin].name == entries[i].name) matches[i] = left.begin++;
  }
  return matches;
}

}  // namespace ferry::sync
