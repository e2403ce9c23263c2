#include "transport/tls_transport.h"

#include "transport/tcp.h"
#include "transport/tls_stream.h"

namespace ferry::transport {

namespace {

class TlsTransport final : public Transport {
 public:
  TlsTransport(Endpoint endpoint, const KeyFile& keys) : endpoint_(std::move(endpoint)), keys_(keys) {}

  Result<Link> open(std::chrono::milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    FERRY_ASSIGN(const Key key, keys_.load());
    FERRY_ASSIGN(const SslContext context, make_client_context());
    FERRY_ASSIGN(Fd socket, connect_tcp(endpoint_, deadline));
    FERRY_ASSIGN(Ssl ssl, connect_tls(context.get(), socket.get(), key, peer(), deadline));
    auto stream = std::make_unique<TlsStream>(std::move(ssl), socket.get());
    return Link{std::move(socket), nullptr, std::move(stream)};
  }

  PeerAddress address() const override { return {endpoint_.host, endpoint_.port}; }

 private:
  const Endpoint endpoint_;
  const KeyFile& keys_;
};

}  // namespace

std::unique_ptr<Transport> make_tls_transport(Endpoint endpoint, const KeyFile& keys) {
  return std::make_unique<TlsTransport>(std::move(endpoint), keys);
}

}  // namespace ferry::transport
