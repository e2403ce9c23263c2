#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "transport/socket_stream.h"
#include "transport/tcp.h"
#include "transport/tls_context.h"

/// The other side, as it should not be.
namespace ferry::transport {

inline Fd accept_within(int listening, std::chrono::milliseconds timeout) {
  if (!wait_for(listening, POLLIN, after(timeout))) return {};
  return Fd(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
}

/// A TCP connection that sends what it likes.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(*connect_tcp({"127.0.0.1", port}, after(std::chrono::seconds(3)))) {}

  bool send(const std::string& bytes) {
    return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  std::string receive_all(std::chrono::milliseconds timeout) {
    PlainStream stream(socket_.get());
    stream.set_timeouts(timeout, timeout);
    std::string all;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = stream.read(buffer, sizeof buffer)) > 0) all.append(buffer, static_cast<std::size_t>(n));
    return all;
  }

 private:
  Fd socket_;
};

/// Sends a greeting to the first connection, then waits or closes.
class RawServer {
 public:
  enum class Then { wait, close };
  explicit RawServer(std::string greeting, Then then = Then::wait)
      : listening_(*listen_tcp("127.0.0.1", 0)),
        thread_([this, then, text = std::move(greeting)] { serve(text, then); }) {}
  ~RawServer() {
    done_ = true;
    thread_.join();
  }
  std::uint16_t port() const { return bound_port(listening_.get()); }

 private:
  void serve(const std::string& greeting, Then then) {
    Fd socket;
    while (!done_ && !socket) socket = accept_within(listening_.get(), std::chrono::milliseconds(20));
    if (!socket) return;
    [[maybe_unused]] const auto sent = ::send(socket.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
    if (then == Then::close) socket.reset();
    while (!done_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  const Fd listening_;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

struct FreeCredentials {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};

/// A self-signed certificate and its key, put into the context.
inline void use_new_certificate(SSL_CTX* context) {
  const std::unique_ptr<EVP_PKEY, FreeCredentials> key(EVP_EC_gen("P-256"));
  const std::unique_ptr<X509, FreeCredentials> certificate(X509_new());
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  SSL_CTX_use_certificate(context, certificate.get());
  SSL_CTX_use_PrivateKey(context, key.get());
}

/// A session that carries the key, as Ferry's own; for callbacks of both sides.
inline SSL_SESSION* session_of(SSL* ssl, const std::string& key) {
  static constexpr unsigned char cipher[] = {0x13, 0x01};
  SSL_SESSION* session = SSL_SESSION_new();
  SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.data()), key.size());
  SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, cipher));
  SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
  return session;
}

/// A TLS server that has a certificate and does not know the key; notes what a client tells it.
class RogueServer {
 public:
  enum class Psk { none, wrong_key_for_any_identity };
  explicit RogueServer(int version, Psk psk = Psk::none)
      : context_(SSL_CTX_new(TLS_server_method())), listening_(*listen_tcp("127.0.0.1", 0)) {
    SSL_CTX_set_max_proto_version(context_.get(), version);
    use_new_certificate(context_.get());
    if (psk == Psk::wrong_key_for_any_identity)
      SSL_CTX_set_psk_find_session_callback(context_.get(), make_wrong_session);
    thread_ = std::thread([this] { serve(); });
  }
  ~RogueServer() {
    if (thread_.joinable()) thread_.join();
  }
  std::uint16_t port() const { return bound_port(listening_.get()); }

  /// What the client sent through the secured connection. Waits for its end.
  std::string received() {
    thread_.join();
    return received_;
  }

 private:
  static int make_wrong_session(SSL* ssl, const unsigned char*, std::size_t, SSL_SESSION** session) {
    *session = session_of(ssl, std::string(32, 'x'));
    return 1;
  }

  void serve() {
    const Fd socket = accept_within(listening_.get(), std::chrono::seconds(10));
    const Ssl ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), socket.get());
    char buffer[1000];
    const int n = SSL_accept(ssl.get()) == 1 ? SSL_read(ssl.get(), buffer, sizeof buffer) : 0;
    if (n > 0) received_.assign(buffer, static_cast<std::size_t>(n));
  }

  const SslContext context_;
  const Fd listening_;
  std::string received_;
  std::thread thread_;
};

/// What a client offers; without an identity it offers no key.
struct Offer {
  std::string identity;
  std::string key;
};

inline int offer_session(SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
  const auto& offer = *static_cast<const Offer*>(SSL_get_app_data(ssl));
  *id = reinterpret_cast<const unsigned char*>(offer.identity.data());
  *size = offer.identity.size();
  *session = session_of(ssl, offer.key);
  return 1;
}

/// Whether a TLS client with this offer, which accepts every certificate, gets an answer to a request.
inline bool client_is_served(std::uint16_t port, Offer offer) {
  const Fd socket = *connect_tcp({"127.0.0.1", port}, after(std::chrono::seconds(3)));
  const SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!offer.identity.empty()) SSL_CTX_set_psk_use_session_callback(context.get(), offer_session);
  const Ssl ssl(SSL_new(context.get()));
  SSL_set_app_data(ssl.get(), &offer);
  SSL_set_fd(ssl.get(), socket.get());
  int result = 0;
  while ((result = SSL_connect(ssl.get())) != 1 && SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ)
    wait_for(socket.get(), POLLIN, after(std::chrono::seconds(3)));
  if (result != 1) return false;
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  SSL_write(ssl.get(), request.data(), static_cast<int>(request.size()));
  char answer[100];
  while ((result = SSL_read(ssl.get(), answer, sizeof answer)) <= 0 &&
         SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ)
    wait_for(socket.get(), POLLIN, after(std::chrono::seconds(3)));
  return result > 0;
}

/// A listening socket whose queue is full, so that further connection attempts get no answer (Linux drops the SYN).
class FullListener {
 public:
  FullListener() : listening_(*listen_tcp("127.0.0.1", 0)) {
    ::listen(listening_.get(), 0);
    for (int i = 0; i < 4; ++i)
      if (auto socket = connect_tcp({"127.0.0.1", port()}, after(std::chrono::milliseconds(100))))
        waiting_.push_back(std::move(*socket));
  }
  std::uint16_t port() const { return bound_port(listening_.get()); }

 private:
  const Fd listening_;
  std::vector<Fd> waiting_;
};

}  // namespace ferry::transport
