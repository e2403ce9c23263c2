#pragma once

#include <memory>

#include "transport/endpoint.h"
#include "transport/key_file.h"
#include "transport/transport.h"

namespace ferry::transport {

/// TLS 1.3 to `endpoint`, both sides authenticated by the pre-shared key of `keys` (which must outlive the transport);
/// see tls_context.h. The key file is read for each connection.
std::unique_ptr<Transport> make_tls_transport(Endpoint endpoint, const KeyFile& keys);

}  // namespace ferry::transport
