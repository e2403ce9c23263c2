#include "transport/tls_context.h"

#include <openssl/err.h>
#include <poll.h>

#include <csignal>

#include "base/log.h"
#include "transport/socket_stream.h"
#include "transport/tls_errors.h"

namespace ferry::transport {

namespace {

constexpr unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};

/// Belongs to an SSL object while its handshake runs (SSL_get_app_data).
struct Handshake {
  const Key* key = nullptr;       ///< the client's
  const KeyFile* keys = nullptr;  ///< the server's
  std::string identity;
  HandshakeFacts facts;
};

Handshake& handshake_of(const SSL* ssl) { return *static_cast<Handshake*>(SSL_get_app_data(ssl)); }

std::string identity_of(const Key& key) { return "ferry-psk-1 " + key.fingerprint(); }

/// A session that carries nothing but the key; null when OpenSSL is out of memory.
SSL_SESSION* make_session(SSL* ssl, const Key& key) {
  std::unique_ptr<SSL_SESSION, FreeOpenSsl> session(SSL_SESSION_new());
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
  if (!session || cipher == nullptr) return nullptr;
  if (SSL_SESSION_set1_master_key(session.get(), key.bytes().data(), key.bytes().size()) != 1 ||
      SSL_SESSION_set_cipher(session.get(), cipher) != 1 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1)
    return nullptr;
  return session.release();
}

/// SSL_psk_use_session_cb_func: OpenSSL copies the identity right after the call.
int offer_key(SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
  Handshake& handshake = handshake_of(ssl);
  handshake.identity = identity_of(*handshake.key);
  *id = reinterpret_cast<const unsigned char*>(handshake.identity.data());
  *size = handshake.identity.size();
  *session = make_session(ssl, *handshake.key);
  return *session != nullptr ? 1 : 0;
}

/// SSL_psk_find_session_cb_func: no session means that the identity is unknown, 0 ends the handshake with
/// internal_error.
int find_key(SSL* ssl, const unsigned char* id, std::size_t size, SSL_SESSION** session) {
  Handshake& handshake = handshake_of(ssl);
  *session = nullptr;
  const auto key = handshake.keys->load();
  if (!key) {
    handshake.facts.own_key_error = key.error();
    return 0;
  }
  handshake.identity = identity_of(*key);
  handshake.facts.offered.assign(reinterpret_cast<const char*>(id), size);
  if (handshake.facts.offered != handshake.identity) return 1;
  *session = make_session(ssl, *key);
  return *session != nullptr ? 1 : 0;
}

int refuse_certificate(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  handshake_of(ssl).facts.certificate = true;
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

Result<SslContext> make_context(const SSL_METHOD* method) {
  SslContext context(SSL_CTX_new(method));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1 ||
      SSL_CTX_set_num_tickets(context.get(), 0) != 1 || SSL_CTX_set_max_early_data(context.get(), 0) != 1)
    return fail(Code::io, "OpenSSL cannot be set up: " + openssl_reason());
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  std::signal(SIGPIPE, SIG_IGN);
  return context;
}

/// Whether the shared key and nothing else authenticated the finished handshake.
bool is_proven(const SSL* ssl) {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  return SSL_session_reused(ssl) == 1 && SSL_version(ssl) == TLS1_3_VERSION && cipher != nullptr &&
         SSL_CIPHER_get_protocol_id(cipher) == 0x1301 && SSL_get0_peer_certificate(ssl) == nullptr;
}

/// Runs SSL_connect or SSL_accept to its end, and says how it ended.
void run(SSL* ssl, int (*step)(SSL*), Deadline deadline, HandshakeFacts& facts) {
  while (true) {
    ERR_clear_error();
    errno = 0;
    const int result = step(ssl);
    if (result == 1) return;
    facts.ssl_error = SSL_get_error(ssl, result);
    facts.system_error = errno;
    facts.reason = ERR_GET_REASON(ERR_peek_error());
    const bool wants = facts.ssl_error == SSL_ERROR_WANT_READ || facts.ssl_error == SSL_ERROR_WANT_WRITE;
    const short event = facts.ssl_error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    facts.timed_out = wants && !wait_for(SSL_get_fd(ssl), event, deadline);
    if (!wants || facts.timed_out) return;
  }
}

/// Puts buffers between records (16 KiB each) and the socket, so that many of them come by one read(2) and leave by one
/// write(2). Whoever writes has to flush, see TlsStream. OpenSSL's own read-ahead is no way: for each record it moves
/// all that follows in its buffer (ssl3_read_n), as of 3.0.
bool add_buffers(SSL* ssl) {
  constexpr long size = 128L << 10;
  BIO* socket = SSL_get_rbio(ssl);
  BIO* buffer = BIO_new(BIO_f_buffer());
  if (buffer == nullptr || BIO_set_buffer_size(buffer, size) != 1 || BIO_up_ref(socket) != 1) {
    BIO_free(buffer);
    return false;
  }
  BIO_push(buffer, socket);
  SSL_set_bio(ssl, buffer, buffer);  // frees the references that it had to the socket
  return true;
}

Result<Ssl> shake_hands(SSL_CTX* context, int fd, Handshake& handshake, int (*step)(SSL*), Deadline deadline) {
  Ssl ssl(SSL_new(context));
  if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return fail(Code::io, "OpenSSL: " + openssl_reason());
  SSL_set_app_data(ssl.get(), &handshake);
  run(ssl.get(), step, deadline, handshake.facts);
  const bool proven = SSL_is_init_finished(ssl.get()) == 1 && is_proven(ssl.get());
  if (!proven) handshake.facts.detail = openssl_reason();
  SSL_set_app_data(ssl.get(), nullptr);
  if (!proven) return fail(Code::unsupported, "");  // the callers say it from the facts
  if (!add_buffers(ssl.get())) {
    handshake.facts.detail = openssl_reason();
    return fail(Code::io, "");
  }
  return ssl;
}

}  // namespace

Result<SslContext> make_client_context() {
  auto context = make_context(TLS_client_method());
  if (!context) return context;
  SSL_CTX_set_psk_use_session_callback(context->get(), offer_key);
  SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context->get(), refuse_certificate, nullptr);
  return context;
}

Result<SslContext> make_server_context() {
  auto context = make_context(TLS_server_method());
  if (!context) return context;
  SSL_CTX_set_psk_find_session_callback(context->get(), find_key);
  return context;
}

Result<Ssl> connect_tls(SSL_CTX* context, int fd, const Key& key, const std::string& peer, Deadline deadline) {
  Handshake handshake;
  handshake.key = &key;
  auto ssl = shake_hands(context, fd, handshake, SSL_connect, deadline);
  if (!ssl) return tl::unexpected(explain_connect(handshake.facts, peer));
  return ssl;
}

Result<Ssl> accept_tls(SSL_CTX* context, int fd, const KeyFile& keys, const std::string& peer, Deadline deadline) {
  Handshake handshake;
  handshake.keys = &keys;
  auto ssl = shake_hands(context, fd, handshake, SSL_accept, deadline);
  if (!ssl) return tl::unexpected(explain_accept(handshake.facts, handshake.identity, peer));
  return ssl;
}

std::string refusing_alert() { return std::string("\x15\x03\x03\x00\x02\x02\x50", 7); }

}  // namespace ferry::transport
