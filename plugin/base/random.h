#pragma once

#include <cstddef>
#include <string>

namespace ferry {

/// `bytes` bytes of getrandom(2) as lower-case hex. Thread-safe.
std::string random_hex(std::size_t bytes);

/// A random (version 4) UUID in its textual form (RFC 9562).
std::string random_uuid();

}  // namespace ferry
