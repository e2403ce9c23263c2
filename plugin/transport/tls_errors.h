#pragma once

#include <optional>
#include <string>

#include "base/result.h"

/// Says in one sentence why a TLS handshake failed. What tells the cases apart: the alert that the other side sent
/// (OpenSSL reports it as reason SSL_AD_REASON_OFFSET + alert), what the own callbacks saw, and how the socket ended.
namespace ferry::transport {

/// What is known of a failed handshake.
struct HandshakeFacts {
  int ssl_error = 0;     ///< SSL_get_error(3)
  int system_error = 0;  ///< errno
  int reason = 0;        ///< ERR_GET_REASON of the first queued error
  bool timed_out = false;
  bool certificate = false;  ///< the other side sent a certificate
  std::string detail;        ///< OpenSSL's words
  std::string offered;       ///< the PSK identity that a client offered
  std::optional<Error> own_key_error;
};

/// For the connecting side; see connect_tls for the codes.
Error explain_connect(const HandshakeFacts& facts, const std::string& peer);

/// For the accepting side, for its log. `identity` is the own one.
Error explain_accept(const HandshakeFacts& facts, const std::string& identity, const std::string& peer);

/// The thread's OpenSSL errors as text; empties the queue.
std::string openssl_reason();

}  // namespace ferry::transport
