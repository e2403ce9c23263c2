#include "transport/resolver.h"

#include <future>
#include <system_error>
#include <thread>

#include "base/log.h"

namespace ferry::transport {

namespace {

struct Answer {
  int error = 0;
  Addresses addresses;
};

Answer look_up(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  return {error, Addresses(error == 0 ? found : nullptr)};
}

tl::unexpected<Error> cannot_resolve(const std::string& host, int error) {
  if (error == EAI_NONAME || error == EAI_NODATA)
    return fail(Code::unavailable, "the host name " + quote(host) + " is unknown here");
  return fail(Code::unavailable, "the host name " + quote(host) + " cannot be resolved now: " + ::gai_strerror(error));
}

}  // namespace

Result<Addresses> resolve_literal(const std::string& address, std::uint16_t port) {
  Answer answer = look_up(address, port, AI_NUMERICHOST);
  if (answer.error != 0) return fail(Code::invalid_argument, quote(address) + " is not an IP address");
  return std::move(answer.addresses);
}

Result<Addresses> resolve(const Endpoint& endpoint, Deadline deadline) {
  if (auto literal = resolve_literal(endpoint.host, endpoint.port)) return literal;
  std::promise<Answer> promise;
  auto future = promise.get_future();
  try {
    std::thread([promise = std::move(promise), endpoint]() mutable {
      promise.set_value(look_up(endpoint.host, endpoint.port, AI_ADDRCONFIG));
    }).detach();
  } catch (const std::system_error& error) {
    return fail(Code::unavailable, std::string("no thread for resolving a host name: ") + error.what());
  }
  if (future.wait_until(deadline) != std::future_status::ready) return cannot_resolve(endpoint.host, EAI_AGAIN);
  Answer answer = future.get();
  if (answer.error != 0) return cannot_resolve(endpoint.host, answer.error);
  return std::move(answer.addresses);
}

}  // namespace ferry::transport
