#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sync/digest.h"
#include "sync/extent.h"

/// How the content of files is cut, and its digests, which do not depend on how it came: docs/protocol.md, "Content".
namespace ferry::sync {

/// No frame goes across a multiple of it. It and its copies stay in a core's own cache on their way through.
constexpr std::uint64_t block_size = 256U << 10;

/// What of an older version of a file is compared: a database's pages, or the pages of a memory map.
constexpr std::uint64_t page_size = 4U << 10;

/// A file of `size` bytes is wanted, verified and journaled in extents of so many bytes: a multiple of block_size, and
/// such that there are 65536 of them at most.
std::uint64_t extent_size(std::uint64_t size);
/// 1 for an empty file.
std::uint32_t extent_count(std::uint64_t size);
/// The bytes of extent `number`, which is below extent_count(size).
Extent extent_of(std::uint64_t size, std::uint32_t number);

/// Takes the content of a file, or of a part of it that begins and ends at multiples of block_size, in ascending order,
/// and makes a digest of it: the sum, modulo 2^128, of a term for each block that has a byte other than zero. So it
/// does not matter what is a hole, nor where the pieces are cut, and the sum of two parts is that of both. Not
/// thread-safe.
class ContentDigest {
 public:
  /// Bytes at `offset`, not before the end of what came last; none in between are zeros.
  void add(std::uint64_t offset, std::string_view bytes);
  /// A block of which the term is known.
  void add_term(const Digest& term);
  /// Of all that came, and begins anew.
  Digest finish();

 private:
  void add_within_block(std::uint64_t block, std::uint64_t at, std::string_view bytes);
  void flush();

  Digest sum_{};
  std::string partial_;      // of the block at block_: up to its last byte that has come
  std::uint64_t block_ = 0;  // multiple of block_size
};

/// What the block that begins at `offset` adds to a ContentDigest; zeros if it has no other byte than zero.
Digest block_term(std::uint64_t offset, std::string_view block);

/// a + b modulo 2^128, big-endian.
Digest add(const Digest& a, const Digest& b);

}  // namespace ferry::sync
