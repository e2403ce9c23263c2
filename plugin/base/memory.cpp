#include "base/memory.h"

#include <malloc.h>

namespace ferry {

void return_large_blocks(std::size_t least) { ::mallopt(M_MMAP_THRESHOLD, static_cast<int>(least)); }

}  // namespace ferry
