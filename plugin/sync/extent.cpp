#include "sync/extent.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace ferry::sync {

Result<Extent> find_extent(int file, std::uint64_t from, std::uint64_t size) {
  if (from >= size) return Extent{size, size};
  const off_t data = ::lseek(file, static_cast<off_t>(from), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return Extent{size, size};
  if (data < 0) return fail_errno("find data");
  const off_t hole = ::lseek(file, data, SEEK_HOLE);
  if (hole < 0 && errno == ENXIO) return Extent{size, size};  // it has become shorter since
  if (hole < 0) return fail_errno("find hole");
  return Extent{std::min(static_cast<std::uint64_t>(data), size), std::min(static_cast<std::uint64_t>(hole), size)};
}

Result<> punch_hole(int file, const Extent& range) {
  if (::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(range.begin),
                  static_cast<off_t>(range.end - range.begin)) != 0)
    return fail_errno("punch a hole");
  return {};
}

Result<> share_data(int from, int to, const Extent& range) {
  for (std::uint64_t at = range.begin; at < range.end;) {
    FERRY_ASSIGN(const Extent data, find_extent(from, at, range.end));
    if (data.begin == data.end) return {};
    auto in = static_cast<off64_t>(data.begin);
    auto out = in;
    while (static_cast<std::uint64_t>(in) < data.end) {
      const ssize_t count = ::copy_file_range(from, &in, to, &out,
                                              static_cast<std::size_t>(data.end - static_cast<std::uint64_t>(in)), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("copy within the host");
      if (count == 0) return {};  // it has become shorter
    }
    at = data.end;
  }
  return {};
}

}  // namespace ferry::sync
