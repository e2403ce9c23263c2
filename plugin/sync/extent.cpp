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

}  // namespace ferry::sync
