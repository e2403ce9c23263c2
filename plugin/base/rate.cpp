#include "base/rate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string>

#include "base/log.h"

namespace ferry {

namespace {

constexpr std::uint64_t least = 100'000;
constexpr std::uint64_t most = 1'000'000'000'000;

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<Unit, 10> units = {{{"", 1},
                                         {"k", 1'000},
                                         {"m", 1'000'000},
                                         {"g", 1'000'000'000},
                                         {"kb", 1'000},
                                         {"mb", 1'000'000},
                                         {"gb", 1'000'000'000},
                                         {"kib", 1U << 10},
                                         {"mib", 1U << 20},
                                         {"gib", 1U << 30}}};

}  // namespace

Result<std::uint64_t> parse_rate(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string name(rest, end);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto* const unit = std::ranges::find(units, name, &Unit::name);
  const bool fits =
      error == std::errc() && unit != units.end() && number <= most / unit->bytes && number * unit->bytes >= least;
  if (fits) return number * unit->bytes;
  return fail(Code::invalid_argument,
              quote(text) + " is not a rate: use bytes per second from 100K to 1000G, such as 50M");
}

}  // namespace ferry
