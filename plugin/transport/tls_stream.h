#pragma once

#include "transport/socket_stream.h"
#include "transport/tls_context.h"

namespace ferry::transport {

/// A secured connection as cpp-httplib sees it. The end of a connection is the end of its socket: close_notify is not
/// sent, so that a client sees at once that an idle connection is gone (every message carries its length, so a cut one
/// shows).
class TlsStream final : public SocketStream {
 public:
  /// `ssl` is borrowed; its handshake is done and `fd` is its socket.
  TlsStream(SSL* ssl, int fd) : SocketStream(fd), ssl_(ssl) {}
  /// Owns `ssl`.
  TlsStream(Ssl ssl, int fd) : SocketStream(fd), owned_(std::move(ssl)), ssl_(owned_.get()) {}
  using httplib::Stream::write;

  bool has_input() const override { return SSL_has_pending(ssl_) == 1 || BIO_ctrl_pending(SSL_get_rbio(ssl_)) > 0; }
  ssize_t read(char* data, std::size_t size) override;
  ssize_t write(const char* data, std::size_t size) override;

 private:
  bool flush();
  /// After a call that did not succeed: waits if that may help.
  bool may_repeat(int result);

  const Ssl owned_;
  SSL* const ssl_;
};

}  // namespace ferry::transport
