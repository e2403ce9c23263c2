#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::volumes {

/// Accepts what the Engine accepts for its own volumes (moby daemon/names: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at least two
/// characters), 255 bytes at most, because a name is also a directory's name. The Engine does not check names for
/// plugins.
Result<> check_name(std::string_view name);

/// What the tickets begin with that Ferry makes by itself, of other hosts' exports and of hand-offs to them; nothing
/// else has such a name.
inline constexpr std::string_view arrival_prefix = "from-elsewhere-";
inline constexpr std::string_view departure_prefix = "to-elsewhere-";
inline constexpr std::string_view service_prefix = "service-elsewhere-";

/// Refuses what users may not give to a volume or ticket, though it is a name.
Result<> check_not_reserved(std::string_view name);

/// True for a name that the Engine makes up for an anonymous volume: 64 lower-case hex digits (moby stringid).
bool is_anonymous(std::string_view name);

}  // namespace ferry::volumes
