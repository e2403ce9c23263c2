#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::volumes {

/// Accepts what the Engine accepts for its own volumes (moby daemon/names: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at least two
/// characters), 255 bytes at most, because a name is also a directory's name. The Engine does not check names for
/// plugins.
Result<> check_name(std::string_view name);

/// True for a name that the Engine makes up for an anonymous volume: 64 lower-case hex digits (moby stringid).
bool is_anonymous(std::string_view name);

}  // namespace ferry::volumes
