#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::engine {

/// An Engine API version such as 1.41.
struct ApiVersion {
  unsigned major = 0;
  unsigned minor = 0;

  auto operator<=>(const ApiVersion&) const = default;

  static std::optional<ApiVersion> parse(std::string_view text);
  std::string to_string() const;
};

/// The newest version that this client was written against (Engine 25). Engine 29 accepts nothing older.
inline constexpr ApiVersion newest_known{1, 44};

}  // namespace ferry::engine
