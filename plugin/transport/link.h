#pragma once

#include <memory>

#include "base/fd.h"
#include "transport/socket_stream.h"

namespace ferry::transport {

/// An established and authenticated connection to a peer, of which either side may become the client.
struct Link {
  Fd socket;
  std::shared_ptr<void> below;           ///< what carries it, if anything but the socket does
  std::unique_ptr<SocketStream> stream;  ///< on the socket
};

}  // namespace ferry::transport
