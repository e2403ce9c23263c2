#include "transport/tls_server.h"

#include <sys/socket.h>

#include "base/log.h"
#include "transport/http_server.h"
#include "transport/tcp.h"
#include "transport/tls_stream.h"

namespace ferry::transport {

namespace {

constexpr std::size_t connection_limit = 256;
constexpr std::chrono::seconds handshake_timeout(5);
constexpr std::chrono::seconds message_timeout(60);
constexpr std::chrono::seconds time_between_warnings(10);

/// Refused handshakes are worth a warning, but whoever can reach the port must not be able to flood the log.
class HandshakeLog {
 public:
  void refused(const Error& error) {
    const auto now = SteadyClock::now();
    const std::lock_guard lock(mutex_);
    const bool loud = error.code != Code::unavailable && now >= next_warning_;
    if (loud) next_warning_ = now + time_between_warnings;
    spdlog::log(loud ? spdlog::level::warn : spdlog::level::debug, "refused a connection: {}", error.message);
  }

 private:
  std::mutex mutex_;
  Deadline next_warning_{};
};

/// Whose process it is that connects, as far as a name goes.
std::string local_peer_of(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
  return "a process of this host" + (known ? ", of user " + std::to_string(who.uid) + "," : std::string());
}

std::string peer_of(int fd) {
  Endpoint peer;
  int port = 0;
  PlainStream(fd).get_remote_ip_and_port(peer.host, port);
  if (peer.host.empty()) return local_peer_of(fd);
  peer.port = static_cast<std::uint16_t>(port);
  return peer.text();
}

}  // namespace

struct TlsServer::Impl {
  Impl(const KeyFile& key_file, Listen how)
      : keys(key_file),
        listen(std::move(how)),
        http([this](int fd) { return open(fd); }, {connection_limit, refusing_alert(), message_timeout}) {}

  std::unique_ptr<SocketStream> open(int fd) {
    set_tcp_options(fd);
    auto ssl = accept_tls(context.get(), fd, keys, peer_of(fd), after(handshake_timeout));
    if (ssl) return std::make_unique<TlsStream>(std::move(*ssl), fd);
    log.refused(ssl.error());
    return nullptr;
  }

  const KeyFile& keys;
  const Listen listen;
  std::uint16_t port = 0;
  HandshakeLog log;
  SslContext context;
  HttpServer http;  // last: its threads use the others
};

TlsServer::TlsServer(const KeyFile& keys, Listen listen) : impl_(std::make_unique<Impl>(keys, std::move(listen))) {}

TlsServer::TlsServer(const KeyFile& keys, std::uint16_t port, std::string address)
    : TlsServer(keys, [port, address = std::move(address)] { return listen_tcp(address, port); }) {}

TlsServer::~TlsServer() { stop(); }

httplib::Server& TlsServer::routes() { return impl_->http; }

Result<> TlsServer::start() {
  FERRY_ASSIGN(impl_->context, make_server_context());
  return listen_again();
}

Result<> TlsServer::listen_again() {
  FERRY_ASSIGN(Fd listening, impl_->listen());
  impl_->port = bound_port(listening.get());
  return impl_->http.serve(std::move(listening));
}

std::uint16_t TlsServer::port() const { return impl_->port; }

void TlsServer::stop() { impl_->http.stop_serving(std::chrono::milliseconds(0)); }

}  // namespace ferry::transport
