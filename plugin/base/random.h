#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ferry {

/// `bytes` bytes of getrandom(2) as lower-case hex. Thread-safe.
std::string random_hex(std::size_t bytes);

/// Of getrandom(2). Thread-safe.
std::uint64_t random_number();

/// A random (version 4) UUID in its textual form (RFC 9562).
std::string random_uuid();

}  // namespace ferry
