#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace ferry::sync {

/// XXH3-128 in its canonical (big-endian) form. It finds damage and mistakes, not forgery: authenticity is TLS's part.
using Digest = std::array<unsigned char, 16>;

Digest digest_of(std::string_view bytes);

/// Links the digest of a block to what came before it: digest_of(chain ‖ offset ‖ length ‖ block), numbers as 8 bytes
/// little-endian.
Digest chain(const Digest& previous, std::uint64_t offset, std::uint64_t length, const Digest& block);

/// By which two hosts compare their pages: XXH3-64 with a seed that the receiver draws for each request. Never 0, which
/// stands for a page that is not there.
std::uint64_t page_digest(std::uint64_t seed, std::string_view page);

std::string to_hex(const Digest& digest);

}  // namespace ferry::sync
