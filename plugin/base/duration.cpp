#include "base/duration.h"

#include <charconv>

#include "base/log.h"

namespace ferry {

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t longest = 10ULL * 365 * 24 * 3600 * 1000;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const std::uint64_t factor = unit == "ms"  ? 1
                               : unit == "s" ? 1000
                               : unit == "m" ? 60'000
                               : unit == "h" ? 3'600'000
                                             : 0;
  if (error != std::errc() || factor == 0 || number > longest / factor)
    return fail(Code::invalid_argument, quote(text) + " is not a duration: use a number with ms, s, m or h, e.g. 30s");
  return std::chrono::milliseconds(number * factor);
}

}  // namespace ferry
