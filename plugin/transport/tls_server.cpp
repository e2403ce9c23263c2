#include "transport/tls_server.h"

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

std::string peer_of(int fd) {
  Endpoint peer;
  int port = 0;
  PlainStream(fd).get_remote_ip_and_port(peer.host, port);
  peer.port = static_cast<std::uint16_t>(port);
  return peer.text();
}

}  // namespace

struct TlsServer::Impl {
  Impl(const KeyFile& key_file, std::uint16_t wanted_port, std::string wanted_address)
      : keys(key_file),
        port(wanted_port),
        address(std::move(wanted_address)),
        http([this](int fd) { return open(fd); }, {connection_limit, refusing_alert(), message_timeout}) {}

  std::unique_ptr<SocketStream> open(int fd) {
    set_tcp_options(fd);
    auto ssl = accept_tls(context.get(), fd, keys, peer_of(fd), after(handshake_timeout));
    if (ssl) return std::make_unique<TlsStream>(std::move(*ssl), fd);
    log.refused(ssl.error());
    return nullptr;
  }

  const KeyFile& keys;
  std::uint16_t port;
  const std::string address;
  HandshakeLog log;
  SslContext context;
  HttpServer http;  // last: its threads use the others
};

TlsServer::TlsServer(const KeyFile& keys, std::uint16_t port, std::string address)
    : impl_(std::make_unique<Impl>(keys, port, std::move(address))) {}

TlsServer::~TlsServer() { stop(); }

httplib::Server& TlsServer::routes() { return impl_->http; }

Result<> TlsServer::start() {
  FERRY_ASSIGN(impl_->context, make_server_context());
  FERRY_ASSIGN(Fd listening, listen_tcp(impl_->address, impl_->port));
  impl_->port = bound_port(listening.get());
  return impl_->http.serve(std::move(listening));
}

std::uint16_t TlsServer::port() const { return impl_->port; }

void TlsServer::stop() { impl_->http.stop_serving(std::chrono::milliseconds(0)); }

}  // namespace ferry::transport
