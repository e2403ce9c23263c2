#include "sync/target.h"

#include <fcntl.h>

#include "sync/blocks.h"

namespace ferry::sync {

Result<> for_missing_extents(int file, std::uint64_t size, const FileProgress& known,
                             const std::function<void(std::uint32_t extent)>& want) {
  for (std::uint32_t number = 0; number < extent_count(size); ++number) {
    if (known.extents.contains(number)) continue;
    FERRY_TRY(punch_hole(file, extent_of(size, number)));
    want(number);
  }
  return {};
}

}  // namespace ferry::sync
