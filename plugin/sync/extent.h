#pragma once

#include <cstdint>

#include "base/result.h"

namespace ferry::sync {

/// Bytes of a file that are not in a hole, from `begin` up to but not including `end`.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const Extent&) const = default;
};

/// The first data of the open file at or behind `from` and before `size`; empty if only a hole is left. Moves the
/// descriptor's offset. The file system decides what is a hole (SEEK_DATA, lseek(2)); one that has none calls all data.
Result<Extent> find_extent(int file, std::uint64_t from, std::uint64_t size);

/// Copies what of the range is no hole from one file to the same place of another one, which shares it with the first
/// if their file system can. Ends early where the first one does.
Result<> share_data(int from, int to, const Extent& range);

/// Makes the range of the open file a hole. Its size stays.
Result<> punch_hole(int file, const Extent& range);

}  // namespace ferry::sync
