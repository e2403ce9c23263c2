#pragma once

#include <memory>

#include "base/fd.h"
#include "transport/endpoint.h"
#include "transport/tls_context.h"
#include "transport/transport.h"

namespace ferry::transport {

/// A client on a connection whose handshake is done, see Transport::connect. `endpoint` is what requests have in their
/// Host. `below` is what carries the connection, if anything but the socket does; it goes when the client does, before
/// the socket.
std::unique_ptr<PeerClient> make_tls_client(const Endpoint& endpoint, Fd socket, Ssl ssl, std::shared_ptr<void> below);

}  // namespace ferry::transport
