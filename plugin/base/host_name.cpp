#include "base/host_name.h"

#include <sys/utsname.h>

namespace ferry {

std::string host_name() {
  struct utsname system {};
  if (::uname(&system) != 0 || !is_host_name(system.nodename)) return {};
  return system.nodename;
}

bool is_host_name(std::string_view name) {
  constexpr std::size_t longest = 64;
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= longest && name.find_first_not_of(allowed) == std::string_view::npos;
}

}  // namespace ferry
