#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "transport/endpoint.h"

namespace ferry::transport {

/// A non-blocking socket connected to the first address of `endpoint` that answers until `deadline`, name resolution
/// included. TCP_NODELAY is on, and so are keepalive probes: a peer that vanished is noticed within two minutes. Every
/// error is Code::unavailable and one sentence for the user; `hint` is what it asks where nothing listens.
Result<Fd> connect_tcp(const Endpoint& endpoint, Deadline deadline,
                       std::string_view hint = "is Ferry installed and enabled there?");

/// A listening socket. An empty `address` is every address of the host: [::] for IPv6 and IPv4, or 0.0.0.0 where IPv6
/// is off. Port 0 takes any free one.
Result<Fd> listen_tcp(const std::string& address, std::uint16_t port);

/// The port that a socket is bound to; 0 if it has none.
std::uint16_t bound_port(int fd);

/// Sets the options of connect_tcp on an accepted socket.
void set_tcp_options(int fd);

}  // namespace ferry::transport
