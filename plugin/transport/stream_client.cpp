#include "transport/stream_client.h"

#include <utility>

namespace ferry::transport {

namespace {

std::chrono::milliseconds milliseconds(time_t seconds, time_t microseconds) {
  return std::chrono::milliseconds(seconds * 1000 + microseconds / 1000);
}

/// One secured connection as httplib's client. httplib::SSLClient would do the handshake by itself, tell nothing about
/// why one failed and connect again behind the caller's back.
class StreamClient final : public PeerClient {
 public:
  StreamClient(const Endpoint& endpoint, Link link)
      : PeerClient(endpoint.host, endpoint.port), below_(std::move(link.below)), stream_(std::move(link.stream)) {
    socket_.sock = link.socket.release();
    set_keep_alive(true);
    set_follow_location(false);
    set_decompress(false);
    set_default_headers({{"Accept-Encoding", "identity"}});
    set_read_timeout(30);
    set_write_timeout(30);
  }

  Result<Link> release() override {
    if (!stream_) return fail(Code::unavailable, host_ + " has ended the connection at once");
    Link link{Fd(std::exchange(socket_.sock, INVALID_SOCKET)), std::move(below_), std::move(stream_)};
    link.stream->set_deadline(std::nullopt);
    return link;
  }

 protected:
  bool create_and_connect_socket(Socket&, httplib::Error& error) override {
    error = httplib::Error::Connection;
    return false;
  }

  void shutdown_ssl(Socket&, bool) override { stream_.reset(); }

 private:
  bool process_socket(const Socket&, std::function<bool(httplib::Stream&)> callback) override {
    stream_->set_timeouts(milliseconds(read_timeout_sec_, read_timeout_usec_),
                          milliseconds(write_timeout_sec_, write_timeout_usec_));
    stream_->set_deadline(deadline());
    return callback(*stream_);
  }

  std::shared_ptr<void> below_;
  std::unique_ptr<SocketStream> stream_;
};

}  // namespace

std::unique_ptr<PeerClient> make_stream_client(const Endpoint& endpoint, Link link) {
  return std::make_unique<StreamClient>(endpoint, std::move(link));
}

}  // namespace ferry::transport
