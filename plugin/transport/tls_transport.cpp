#include "transport/tls_transport.h"

#include "transport/tcp.h"
#include "transport/tls_client.h"

namespace ferry::transport {

namespace {

class TlsTransport final : public Transport {
 public:
  TlsTransport(Endpoint endpoint, const KeyFile& keys) : endpoint_(std::move(endpoint)), keys_(keys) {}

  Result<std::unique_ptr<PeerClient>> connect(std::chrono::milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    FERRY_ASSIGN(const Key key, keys_.load());
    FERRY_ASSIGN(const SslContext context, make_client_context());
    FERRY_ASSIGN(Fd socket, connect_tcp(endpoint_, deadline));
    FERRY_ASSIGN(Ssl ssl, connect_tls(context.get(), socket.get(), key, peer(), deadline));
    return make_tls_client(endpoint_, std::move(socket), std::move(ssl), nullptr);
  }

  Error explain(httplib::Error error) const override { return explain_request(error, peer()); }

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
