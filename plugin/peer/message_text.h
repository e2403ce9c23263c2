#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/result.h"

/// For what encodes and decodes the protocol's JSON.
namespace ferry::peer {

struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline std::string dump(const nlohmann::json& message) {
  return message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Refuses what is nested deeper than any message is, which costs time and memory without meaning. Throws.
inline nlohmann::json parse(const std::string& text, int deepest = 8) {
  return nlohmann::json::parse(text, [deepest](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    if (depth > deepest) throw Mismatch("it is nested too deep");
    return true;
  });
}

/// Runs a decoder on a parsed message; whatever does not fit is Code::corrupt.
template <class T, class Decode>
Result<T> decode_with(const std::string& text, const char* what, Decode decode, std::size_t longest = 64U << 20) {
  if (text.size() > longest) return fail(Code::corrupt, std::string("the peer's ") + what + " is too long");
  try {
    return decode(parse(text));
  } catch (const nlohmann::json::parse_error& error) {  // its text quotes the message, which may hold a secret
    return fail(Code::corrupt,
                std::string("the peer's ") + what + " is no JSON from byte " + std::to_string(error.byte) + " on");
  } catch (const std::exception& error) {
    return fail(Code::corrupt, std::string("the peer's ") + what + " cannot be read: " + error.what());
  }
}

inline std::uint64_t count(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) throw Mismatch("a count is not a whole number");
  return value.get<std::uint64_t>();
}

inline std::string short_string(const nlohmann::json& value, std::size_t longest) {
  return value.get<std::string>().substr(0, longest);
}

}  // namespace ferry::peer
