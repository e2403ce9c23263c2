#include "transport/tls_transport.h"

#include "transport/tcp.h"
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
  TlsClient(const Endpoint& endpoint, Fd socket, Ssl ssl)
      : PeerClient(endpoint.host, endpoint.port), ssl_(std::move(ssl)) {
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

  Ssl ssl_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(Endpoint endpoint, const KeyFile& keys) : endpoint_(std::move(endpoint)), keys_(keys) {}

  Result<std::unique_ptr<PeerClient>> connect(std::chrono::milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    FERRY_ASSIGN(const Key key, keys_.load());
    FERRY_ASSIGN(const SslContext context, make_client_context());
    FERRY_ASSIGN(Fd socket, connect_tcp(endpoint_, deadline));
    FERRY_ASSIGN(Ssl ssl, connect_tls(context.get(), socket.get(), key, peer(), deadline));
    return std::make_unique<TlsClient>(endpoint_, std::move(socket), std::move(ssl));
  }

  Error explain(httplib::Error error) const override {
    switch (error) {
      case httplib::Error::Connection: return {Code::unavailable, "the connection to " + peer() + " is closed"};
      case httplib::Error::Read: return {Code::unavailable, peer() + " stopped answering, or the connection broke"};
      case httplib::Error::Write: return {Code::unavailable, "the connection to " + peer() + " broke while sending"};
      case httplib::Error::Canceled: return {Code::cancelled, "the request to " + peer() + " was cancelled"};
      default: return {Code::unavailable, "the request to " + peer() + " failed: " + httplib::to_string(error)};
    }
  }

  std::string peer() const override { return endpoint_.text(); }

 private:
  const Endpoint endpoint_;
  const KeyFile& keys_;
};

}  // namespace

std::unique_ptr<Transport> make_tls_transport(Endpoint endpoint, const KeyFile& keys) {
  return std::make_unique<TlsTransport>(std::move(endpoint), keys);
}

}  // namespace ferry::transport
