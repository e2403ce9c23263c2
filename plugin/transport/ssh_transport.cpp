#include "transport/ssh_transport.h"

#include <semaphore>

#include "transport/peer_socket.h"
#include "transport/ssh_login.h"
#include "transport/ssh_tunnel.h"
#include "transport/tls_stream.h"

namespace ferry::transport {

namespace {

constexpr int setups_at_a_time = 4;

class SshTransport final : public Transport {
 public:
  SshTransport(PeerAddress address, const KeyFile& keys, std::filesystem::path directory)
      : address_(std::move(address)), keys_(keys), directory_(std::move(directory)) {}

  Result<Link> open(std::chrono::milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    FERRY_ASSIGN(const Key key, keys_.load());
    FERRY_ASSIGN(const SslContext context, make_client_context());
    FERRY_ASSIGN(const std::shared_ptr<SshTunnel> tunnel, open_tunnel(deadline));
    Fd socket = tunnel->take_socket();
    FERRY_ASSIGN(Ssl ssl, connect_tls(context.get(), socket.get(), key, peer(), deadline));
    auto stream = std::make_unique<TlsStream>(std::move(ssl), socket.get());
    return Link{std::move(socket), tunnel, std::move(stream)};
  }

  PeerAddress address() const override { return address_; }

 private:
  Result<std::unique_ptr<SshTunnel>> open_tunnel(Deadline deadline) {
    if (!setups_.try_acquire_until(deadline))
      return fail(Code::unavailable, peer() + " was not asked in time: too many connections to it are being set up");
    const std::unique_ptr<Setups, void (*)(Setups*)> place(&setups_, [](Setups* setups) { setups->release(); });
    FERRY_ASSIGN(auto session, log_in_by_ssh(address_, directory_, deadline));
    FERRY_ASSIGN(LIBSSH2_CHANNEL* const channel, session->open_unix_socket(peer_socket_path));
    return SshTunnel::start(std::move(session), channel);
  }

  using Setups = std::counting_semaphore<setups_at_a_time>;

  const PeerAddress address_;
  const KeyFile& keys_;
  const std::filesystem::path directory_;
  Setups setups_{setups_at_a_time};
};

}  // namespace

std::unique_ptr<Transport> make_ssh_transport(PeerAddress address, const KeyFile& keys,
                                              std::filesystem::path directory) {
  return std::make_unique<SshTransport>(std::move(address), keys, std::move(directory));
}

}  // namespace ferry::transport
