#include "transport/tls_client.h"

#include "transport/tls_stream.h"

namespace ferry::transport {

namespace {

std::chrono::milliseconds milliseconds(time_t seconds, time_t microseconds) {
  return std::chrono::milliseconds(seconds * 1000 + microseconds / 1000);
}

/// One secured connection as httplib's client. httplib::SSLClient would do the handshake by itself, tell nothing about
/// why one failed and connect again behind the caller's back.
class TlsClient final : public PeerClient {
 public:
  TlsClient(const Endpoint& endpoint, Fd socket, Ssl ssl, std::shared_ptr<void> below)
      : PeerClient(endpoint.host, endpoint.port), below_(std::move(below)), ssl_(std::move(ssl)) {
    socket_.sock = socket.release();
    set_keep_alive(true);
    set_follow_location(false);
    set_decompress(false);
    set_default_headers({{"Accept-Encoding", "identity"}});
    set_read_timeout(30);
    set_write_timeout(30);
  }

 protected:
  bool create_and_connect_socket(Socket&, httplib::Error& error) override {
    error = httplib::Error::Connection;
    return false;
  }

  void shutdown_ssl(Socket&, bool) override { ssl_.reset(); }

 private:
  bool process_socket(const Socket& socket, std::function<bool(httplib::Stream&)> callback) override {
    TlsStream stream(ssl_.get(), socket.sock);
    stream.set_timeouts(milliseconds(read_timeout_sec_, read_timeout_usec_),
                        milliseconds(write_timeout_sec_, write_timeout_usec_));
    stream.set_deadline(deadline());
    return callback(stream);
  }

  const std::shared_ptr<void> below_;
  Ssl ssl_;
};

}  // namespace

std::unique_ptr<PeerClient> make_tls_client(const Endpoint& endpoint, Fd socket, Ssl ssl, std::shared_ptr<void> below) {
  return std::make_unique<TlsClient>(endpoint, std::move(socket), std::move(ssl), std::move(below));
}

}  // namespace ferry::transport
