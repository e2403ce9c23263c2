#pragma once

#include <httplib.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "transport/key_file.h"

namespace ferry::transport {

/// Serves HTTP/1.1 over TLS 1.3 to whoever has the key, see tls_context.h. A request reaches a route only after the
/// client proved the key.
///
/// A thread per connection; idle connections are kept for good; at most 256 connections, further ones are refused with
/// a TLS alert; a client that has not finished the handshake after 5 s is dropped. A connection whose client stops
/// reading or writing in the middle of a message is dropped after 60 s.
///
/// start(), listen_again() and stop() are for one owner; they are not thread-safe against each other.
class TlsServer {
 public:
  /// Makes a listening stream socket of any family; called by start() and listen_again().
  using Listen = std::function<Result<Fd>()>;

  /// `keys` must outlive this object.
  TlsServer(const KeyFile& keys, Listen listen);
  /// The same for TCP. Port 0 takes any free one. An empty `address` is every address of the host: [::]
  /// for IPv6 and IPv4, or 0.0.0.0 where IPv6 is off.
  TlsServer(const KeyFile& keys, std::uint16_t port, std::string address = "");
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  /// Stops.
  ~TlsServer();

  /// For adding routes before start(). Its own listen, bind, stop and set_logger must not be used.
  httplib::Server& routes();

  /// Binds, listens and returns; connections are served in threads of their own.
  Result<> start();

  /// After start(): takes a new socket in place of that one. Connections stay, and if it fails, so does the old socket.
  Result<> listen_again();

  /// The TCP port that start() bound; 0: it is no TCP socket.
  std::uint16_t port() const;

  /// Stops accepting, closes idle connections at once and breaks those in the middle of a message; returns when no
  /// handler is running any more.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry::transport
