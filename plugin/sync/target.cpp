#include "sync/target.h"

#include <algorithm>

#include "sync/blocks.h"

namespace ferry::sync {

namespace {

constexpr std::uint64_t least_compared = 64U << 10;

}  // namespace

bool is_worth_comparing(const Entry& entry, std::uint64_t size) {
  return std::min(size, entry.size) >= least_compared && entry.data >= entry.size / 2 &&
         extent_size(entry.size) <= largest_held_extent;
}

Result<> for_missing_extents(int file, std::uint64_t size, const FileProgress& known, Unverified unverified,
                             const std::function<void(std::uint32_t extent)>& want) {
  for (std::uint32_t number = 0; number < extent_count(size); ++number) {
    if (known.extents.contains(number)) continue;
    if (unverified == Unverified::drop) FERRY_TRY(punch_hole(file, extent_of(size, number)));
    want(number);
  }
  return {};
}

}  // namespace ferry::sync
