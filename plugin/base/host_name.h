#pragma once

#include <string>
#include <string_view>

namespace ferry {

/// What this host calls itself, for people: nodename of uname(2), of which a plugin has the host's (its UTS namespace
/// begins as a copy). Empty: nothing that could be shown.
std::string host_name();

/// Letters, digits, '.', '_' and '-', 64 at most (HOST_NAME_MAX): harmless wherever it is shown.
bool is_host_name(std::string_view name);

}  // namespace ferry
