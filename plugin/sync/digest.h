#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace ferry::sync {

/// XXH3-128 in its canonical (big-endian) form. It finds damage and mistakes, not forgery: authenticity is TLS's part.
using Digest = std::array<unsigned char, 16>;

Digest digest_of(std::string_view bytes);

/// Links the digest of a block of a file to what came before it: digest_of(chain ‖ offset ‖ length ‖ block), numbers as
/// 8 bytes little-endian. The chain over all blocks of a file, in order and starting with zeros, is the file's digest.
Digest chain(const Digest& previous, std::uint64_t offset, std::uint64_t length, const Digest& block);

std::string to_hex(const Digest& digest);

}  // namespace ferry::sync
