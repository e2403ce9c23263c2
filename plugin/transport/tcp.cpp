#include "transport/tcp.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <system_error>

#include "transport/resolver.h"
#include "transport/socket_stream.h"

namespace ferry::transport {

namespace {

void set(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

tl::unexpected<Error> cannot_connect(const Endpoint& endpoint, std::string_view hint, int error) {
  const std::string name = endpoint.text();
  if (error == ECONNREFUSED) return fail(Code::unavailable, "nothing listens on " + name + "; " + std::string(hint));
  if (error == ETIMEDOUT)
    return fail(Code::unavailable,
                name + " does not answer; is the host up, and does a firewall let the port through?");
  return fail(Code::unavailable, name + " cannot be reached: " + std::generic_category().message(error));
}

/// 0 or the errno of connecting `fd` to `address`.
int connect_to(int fd, const addrinfo& address, Deadline deadline) {
  if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(fd, POLLOUT, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/// An address that swallows packets leaves the later ones their share of the time.
Deadline share_of(Deadline deadline, std::size_t addresses) {
  const auto left = deadline - SteadyClock::now();
  return SteadyClock::now() + left / static_cast<int>(addresses);
}

Result<Fd> listen_on(const addrinfo& address, const std::string& name) {
  Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket for " + name);
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.ai_family == AF_INET6) set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0)
    return fail_errno("listen on " + name);
  return fd;
}

Result<Fd> listen_literal(const std::string& address, std::uint16_t port) {
  FERRY_ASSIGN(const Addresses found, resolve_literal(address, port));
  return listen_on(*found, Endpoint{address, port}.text());
}

}  // namespace

void set_tcp_options(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

Result<Fd> connect_tcp(const Endpoint& endpoint, Deadline deadline, std::string_view hint) {
  FERRY_ASSIGN(const Addresses addresses, resolve(endpoint, deadline));
  std::size_t left = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) ++left;
  int error = EHOSTUNREACH;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next, --left) {
    Fd fd(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    error = fd ? connect_to(fd.get(), *address, share_of(deadline, left)) : errno;
    if (error != 0) continue;
    set_tcp_options(fd.get());
    return fd;
  }
  return cannot_connect(endpoint, hint, error);
}

Result<Fd> listen_tcp(const std::string& address, std::uint16_t port) {
  if (!address.empty()) return listen_literal(address, port);
  auto any = listen_literal("::", port);
  if (any || any.error().code != Code::io) return any;
  auto ipv4 = listen_literal("0.0.0.0", port);
  return ipv4 ? std::move(ipv4) : std::move(any);
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return 0;
}

}  // namespace ferry::transport
