#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ferry::test {

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The first byte is the size of the pieces in which the rest arrives. False if a piece is refused.
template <class Decoder>
bool feed_in_pieces(Decoder& decoder, const std::uint8_t* data, std::size_t size) {
  if (size == 0) return false;
  const std::size_t piece = data[0] == 0 ? size : data[0];
  for (auto rest = text(data + 1, size - 1); !rest.empty(); rest.remove_prefix(std::min(piece, rest.size())))
    if (!decoder.feed(rest.substr(0, piece))) return false;
  return true;
}

}  // namespace ferry::test
