#include "sync/digest.h"

#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // the same functions, several times as fast: AVX2 or AVX-512 where the processor has them
#endif

#include <cstring>

namespace ferry::sync {

Digest digest_of(std::string_view bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  Digest digest;
  static_assert(sizeof canonical.digest == sizeof digest);
  std::memcpy(digest.data(), canonical.digest, digest.size());
  return digest;
}

Digest chain(const Digest& previous, std::uint64_t offset, std::uint64_t length, const Digest& block) {
  char bytes[16 + 8 + 8 + 16];
  std::memcpy(bytes, previous.data(), previous.size());
  for (int i = 0; i < 8; ++i) {
    bytes[16 + i] = static_cast<char>(offset >> (8 * i));
    bytes[24 + i] = static_cast<char>(length >> (8 * i));
  }
  std::memcpy(bytes + 32, block.data(), block.size());
  return digest_of({bytes, sizeof bytes});
}

std::uint64_t page_digest(std::uint64_t seed, std::string_view page) {
  const std::uint64_t digest = XXH3_64bits_withSeed(page.data(), page.size(), seed);
  return digest == 0 ? 1 : digest;
}

std::string to_hex(const Digest& digest) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

}  // namespace ferry::sync
