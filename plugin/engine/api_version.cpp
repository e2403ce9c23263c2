#include "engine/api_version.h"

#include <charconv>

namespace ferry::engine {

namespace {

bool parse_number(std::string_view text, unsigned& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::optional<ApiVersion> ApiVersion::parse(std::string_view text) {
  const auto dot = text.find('.');
  ApiVersion version;
  if (dot == std::string_view::npos || !parse_number(text.substr(0, dot), version.major) ||
      !parse_number(text.substr(dot + 1), version.minor))
    return std::nullopt;
  return version;
}

std::string ApiVersion::to_string() const { return std::to_string(major) + "." + std::to_string(minor); }

}  // namespace ferry::engine
