#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/random.h"
#include "sync/entry.h"

namespace ferry::sync {

/// Lets entries share their xattrs: nearly all files of a volume have one of a handful of sets (labels, ACLs). It knows
/// some thousand at a time, so that a million different ones take no more memory than without it. Not thread-safe.
class XattrSets {
 public:
  /// Returns how many bytes of memory the entry takes beside those of the object, its name and what it shares with
  /// earlier ones.
  std::uint64_t share(Entry& entry);

 private:
  std::uint64_t number_of(const Xattrs& xattrs) const;

  const std::uint64_t seed_ = random_number();         // nobody can choose sets of the same number
  std::unordered_map<std::uint64_t, Entry> examples_;  // by number of their xattrs, which are all that they have
};

}  // namespace ferry::sync
