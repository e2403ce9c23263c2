#include "sync/target.h"

#include <fcntl.h>

#include "sync/blocks.h"

namespace ferry::sync {

Result<> for_missing_extents(int file, std::uint64_t size, const FileProgress& known,
                             const std::function<void(std::uint32_t extent)>& want) {
  for (std::uint32_t number = 0; number < extent_count(size); ++number) {
    if (known.extents.contains(number)) continue;
    const Extent extent = extent_of(size, number);
    if (::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(extent.begin),
                    static_cast<off_t>(extent.end - extent.begin)) != 0)
      return fail_errno("punch a hole");
    want(number);
  }
  return {};
}

}  // namespace ferry::sync
