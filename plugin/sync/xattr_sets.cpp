#include "sync/xattr_sets.h"

#include <utility>

#include "sync/digest.h"

namespace ferry::sync {

namespace {

constexpr std::size_t most_sets = 4096;

}  // namespace

std::uint64_t XattrSets::share(Entry& entry) {
  const std::uint64_t alone = entry.memory_elsewhere();
  if (alone == 0 || entry.extra().xattrs.empty()) return alone;
  const std::uint64_t number = number_of(entry.extra().xattrs);
  const auto found = examples_.find(number);
  if (found == examples_.end()) {
    if (examples_.size() == most_sets) examples_.clear();  // those that many have are soon known again
    Entry& example = examples_[number];
    example.set_extra({.xattrs = entry.extra().xattrs});
    (void)entry.share_elsewhere(example);
    return alone;
  }
  const Entry& example = found->second;
  if (entry.share_elsewhere(example)) return 0;
  if (entry.extra().xattrs != example.extra().xattrs) return alone;
  const std::uint64_t shared = entry.extra().xattrs.memory();
  Extra extra = entry.extra();
  extra.xattrs = example.extra().xattrs;
  entry.set_extra(std::move(extra));
  return alone - shared;
}

std::uint64_t XattrSets::number_of(const Xattrs& xattrs) const {
  std::uint64_t number = seed_;
  for (const auto& xattr : xattrs) number = page_digest(page_digest(number, xattr.name), xattr.value);
  return number;
}

}  // namespace ferry::sync
