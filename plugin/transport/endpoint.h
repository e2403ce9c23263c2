#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::transport {

/// The TCP port of Ferry's peer protocol unless the user says otherwise.
inline constexpr std::uint16_t default_port = 7766;

/// A host name or address literal and a TCP port.
struct Endpoint {
  std::string host;  ///< without brackets
  std::uint16_t port = default_port;

  /// "HOST:PORT", an IPv6 literal in brackets; parse_endpoint reads it back.
  std::string text() const;
  bool operator==(const Endpoint&) const = default;
};

/// Parses "HOST[:PORT]", where HOST is a DNS name, an IPv4 literal or an IPv6 literal in brackets (RFC 3986, 3.2.2; a
/// zone as in [fe80::1%eth0] is allowed). Without PORT it is `port`. Nothing is resolved. The error says what is wrong
/// with which part.
Result<Endpoint> parse_endpoint(std::string_view text, std::uint16_t port = default_port);

}  // namespace ferry::transport
