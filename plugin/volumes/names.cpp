#include "volumes/names.h"

#include <algorithm>

#include "base/log.h"

namespace ferry::volumes {

namespace {

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

Result<> check_name(std::string_view name) {
  constexpr std::size_t longest = 255;
  const auto rule = " is not a volume name: use 2 to 255 of a-z A-Z 0-9 _ . - and begin with a letter or digit";
  const bool fits = name.size() >= 2 && name.size() <= longest && is_alphanumeric(name.front()) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
  if (!fits) return fail(Code::invalid_argument, quote(name) + rule);
  return {};
}

Result<> check_not_reserved(std::string_view name) {
  for (const auto prefix : {arrival_prefix, departure_prefix, service_prefix})
    if (name.starts_with(prefix))
      return fail(Code::invalid_argument, "names that begin with " + std::string(prefix) +
                                              " are those of Ferry's own tickets; use another one");
  return {};
}

bool is_anonymous(std::string_view name) {
  return name.size() == 64 &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace ferry::volumes
