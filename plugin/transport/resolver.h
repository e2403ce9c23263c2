#pragma once

#include <netdb.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "transport/endpoint.h"

namespace ferry::transport {

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { ::freeaddrinfo(addresses); }
};
/// A list as getaddrinfo(3) makes it; never empty.
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

/// The TCP addresses of an endpoint. getaddrinfo(3) knows no timeout, so it runs in a thread of its own, which is left
/// alone when the deadline passes first. Errors are Code::unavailable.
Result<Addresses> resolve(const Endpoint& endpoint, Deadline deadline);

/// The same for an address literal; asks nobody.
Result<Addresses> resolve_literal(const std::string& address, std::uint16_t port);

}  // namespace ferry::transport
