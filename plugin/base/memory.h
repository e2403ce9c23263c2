#pragma once

#include <cstddef>

namespace ferry {

/// Bytes, from which on a block is large.
constexpr std::size_t large_block = 4U << 20;

/// What is large goes back to the system when it is freed. By itself malloc(3) would keep blocks of up to 32 MiB when
/// one of that size has once been freed, as a manifest's vector is while it grows. For the whole process.
void return_large_blocks(std::size_t least = large_block);

}  // namespace ferry
