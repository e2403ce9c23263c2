#pragma once

#include <memory>

#include "transport/endpoint.h"
#include "transport/link.h"
#include "transport/transport.h"

namespace ferry::transport {

/// A client on a link, see Transport::connect. `endpoint` is what requests have in their Host.
std::unique_ptr<PeerClient> make_stream_client(const Endpoint& endpoint, Link link);

}  // namespace ferry::transport
