#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "transport/key_file.h"

/// TLS as Ferry uses it, between two hosts that share a key and nothing else (RFC 8446, 2.2 and 4.2.11):
/// TLS 1.3 only, TLS_AES_128_GCM_SHA256 only, the shared key as external PSK with (EC)DHE (psk_dhe_ke), so recorded
/// traffic stays secret when the key is lost later. No certificates, no tickets, no resumption, no early data, no
/// renegotiation.
///
/// Each side proves the key to the other in the handshake (the PSK binder and the Finished messages). A server has no
/// certificate, so a client without the key gets no further than the alert handshake_failure. A client refuses every
/// certificate by a callback, and both sides check after the handshake that the PSK was what authenticated it.
///
/// The PSK identity, which everybody on the path can read, is "ferry-psk-1 " and the key's fingerprint (see Key). A key
/// is looked up by the whole identity, so another key is told apart from a broken message without any further probing.
namespace ferry::transport {

struct FreeOpenSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using Ssl = std::unique_ptr<SSL, FreeOpenSsl>;
using SslContext = std::unique_ptr<SSL_CTX, FreeOpenSsl>;

/// Contexts may be used by many threads at once. They ignore SIGPIPE for the whole process, as OpenSSL writes with
/// write(2).
Result<SslContext> make_client_context();
Result<SslContext> make_server_context();

/// The handshake on a connected non-blocking socket, until `deadline`; `peer` is named in errors. The socket must
/// outlive the result, which does not close it.
///
/// Errors: Code::denied: the keys differ; unavailable: no answer, or the other side hung up or cannot serve now;
/// unsupported: that is not Ferry.
Result<Ssl> connect_tls(SSL_CTX* context, int fd, const Key& key, const std::string& peer, Deadline deadline);

/// As connect_tls, for the accepting side. The key is read from its file when the client has sent its identity.
Result<Ssl> accept_tls(SSL_CTX* context, int fd, const KeyFile& keys, const std::string& peer, Deadline deadline);

/// The alert internal_error (RFC 8446, 6) as an unencrypted record: refuses a connection before its handshake.
std::string refusing_alert();

}  // namespace ferry::transport
