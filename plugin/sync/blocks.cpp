#include "sync/blocks.h"

#include <algorithm>
#include <cstring>

namespace ferry::sync {

namespace {

constexpr std::uint64_t smallest_extent = 16U << 20;
constexpr std::uint64_t most_extents = 65536;

/// Up to the last byte that is not zero.
std::string_view without_trailing_zeros(std::string_view bytes) {
  constexpr std::size_t step = 4096;
  static constexpr char zeros[step] = {};
  std::size_t size = bytes.size();
  while (size >= step && std::memcmp(bytes.data() + size - step, zeros, step) == 0) size -= step;
  while (size > 0 && bytes[size - 1] == '\0') --size;
  return bytes.substr(0, size);
}

}  // namespace

std::uint64_t extent_size(std::uint64_t size) {
  std::uint64_t extent = smallest_extent;
  while ((size - 1) / extent >= most_extents && size != 0) extent *= 2;
  return extent;
}

std::uint32_t extent_count(std::uint64_t size) {
  return size == 0 ? 1 : static_cast<std::uint32_t>((size - 1) / extent_size(size) + 1);
}

Extent extent_of(std::uint64_t size, std::uint32_t number) {
  const std::uint64_t length = extent_size(size);
  const std::uint64_t begin = number * length;
  return {begin, std::min(size - begin, length) + begin};
}

Digest block_term(std::uint64_t offset, std::string_view block) {
  const auto bytes = without_trailing_zeros(block);
  return bytes.empty() ? Digest{} : chain({}, offset, bytes.size(), digest_of(bytes));
}

Digest add(const Digest& a, const Digest& b) {
  Digest sum{};
  unsigned carry = 0;
  for (std::size_t i = sum.size(); i-- > 0;) {
    carry += static_cast<unsigned>(a[i]) + b[i];
    sum[i] = static_cast<unsigned char>(carry);
    carry >>= 8;
  }
  return sum;
}

void ContentDigest::add(std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::uint64_t at = offset % block_size;
    const auto piece = bytes.substr(0, static_cast<std::size_t>(block_size - at));
    add_within_block(offset - at, at, piece);
    offset += piece.size();
    bytes.remove_prefix(piece.size());
  }
}

void ContentDigest::add_within_block(std::uint64_t block, std::uint64_t at, std::string_view bytes) {
  if (block != block_) {
    flush();
    block_ = block;
  }
  if (bytes.size() == block_size) return add_term(block_term(block, bytes));
  partial_.resize(static_cast<std::size_t>(at));  // zeros in between
  partial_.append(bytes);
}

void ContentDigest::add_term(const Digest& term) { sum_ = sync::add(sum_, term); }

void ContentDigest::flush() {
  if (!partial_.empty()) add_term(block_term(block_, partial_));
  partial_.clear();
}

Digest ContentDigest::finish() {
  flush();
  const Digest digest = sum_;
  sum_ = {};
  return digest;
}

}  // namespace ferry::sync
