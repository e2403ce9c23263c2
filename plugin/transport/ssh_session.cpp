#include "transport/ssh_session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <limits>
#include <mutex>
#include <new>

#include "base/log.h"
#include "transport/socket_stream.h"
#include "transport/ssh_far_end.h"
#include "transport/ssh_known_hosts.h"
#include "transport/tcp.h"

namespace ferry::transport {

namespace {

/// AES-GCM is what libssh2 (from 1.11.1 on, and above all as the image has it) is fastest with, and needs no MAC; the
/// others are for sshds without it, or for an older libssh2.
constexpr const char* ciphers =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

/// How many bytes the network may not have taken yet. Nobody here sends that much without waiting for an answer.
constexpr std::size_t largest_unsent = 16U << 20;

constexpr unsigned largest_packet = 32U << 10;  ///< what every SSH has to be able to take (RFC 4253, 6.1)

/// How many bytes may be under way: what 10 Gbit/s are in a round trip. Near hosts do with what OpenSSH itself takes.
/// For far ones it is less than that, because an sshd reads ahead as much as the window lets it, and once this fills
/// the 16 MiB of its buffer (channels.h, CHAN_INPUT_MAX) it moves all of it for each 16 KiB (sshbuf.c,
/// sshbuf_allocate): seen to take 16 s of processor time per GiB.
unsigned window_for(int socket) {
  constexpr unsigned bytes_per_us = 1250;
  constexpr unsigned smallest = 2U << 20;
  constexpr unsigned largest = 6U << 20;
  tcp_info facts{};
  socklen_t size = sizeof facts;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &facts, &size) != 0) return smallest;
  return std::clamp(std::min(facts.tcpi_rtt, 1'000'000U) * bytes_per_us, smallest, largest);
}

/// A string of SSH (RFC 4251, 5): its length in four bytes, then itself.
void append_string(std::string& message, std::string_view text) {
  for (int shift = 24; shift >= 0; shift -= 8)
    message += static_cast<char>(text.size() >> static_cast<unsigned>(shift));
  message += text;
}

/// Later versions are not known, and what they free by another way must not be tracked.
bool forgets_memory() { return ::libssh2_version(0x010b02) == nullptr; }

bool start_libssh2() {
  static std::once_flag once;
  static int result = 0;
  std::call_once(once, [] { result = ::libssh2_init(0); });
  return result == 0;
}

}  // namespace

SshSession::SshSession(PeerAddress address, Fd socket, Deadline deadline)
    : address_(std::move(address)),
      socket_(std::move(socket)),
      deadline_(deadline),
      budget_(std::numeric_limits<std::size_t>::max()),
      unsent_(largest_unsent),
      memory_(forgets_memory() ? SshMemory::Track::yes : SshMemory::Track::no),
      session_(start_libssh2() ? make(this) : nullptr) {
  if (session_ == nullptr) return;
  ::libssh2_session_set_blocking(session_, 0);
  set_callback(LIBSSH2_CALLBACK_RECV, receive);
  set_callback(LIBSSH2_CALLBACK_SEND, send);
}

template <class Function>
void SshSession::set_callback(int which, Function* function) {
#if LIBSSH2_VERSION_NUM >= 0x010b01
  ::libssh2_session_callback_set2(session_, which, reinterpret_cast<libssh2_cb_generic*>(function));
#else
  ::libssh2_session_callback_set(session_, which, reinterpret_cast<void*>(function));
#endif
}

SshMemory& SshSession::memory_of(void** session) { return static_cast<SshSession*>(*session)->memory_; }

LIBSSH2_SESSION* SshSession::make(SshSession* owner) {
  return ::libssh2_session_init_ex(
      [](std::size_t size, void** session) { return memory_of(session).allocate(size); },
      [](void* memory, void** session) { memory_of(session).release(memory); },
      [](void* memory, std::size_t size, void** session) { return memory_of(session).reallocate(memory, size); },
      owner);
}

SshSession::~SshSession() {
  if (session_ == nullptr) return;
  ::libssh2_session_disconnect(session_, "Ferry is done");
  is_over_ = true;  // from here on, nothing has to be waited for
  if (const int error = ::libssh2_session_free(session_); error != 0)
    spdlog::warn("libssh2 keeps memory of the connection to {}: error {}", address_.endpoint.text(), error);
}

/// libssh2 takes all that there is before it hands anything on: up to a whole window, which would be out of the
/// processor's caches by then. Errors are negative errnos, as libssh2's own function returns them.
ssize_t SshSession::receive(libssh2_socket_t socket, void* buffer, std::size_t size, int flags, void** session) {
  auto* const self = static_cast<SshSession*>(*session);
  if (self->is_over_) return -ENOTCONN;
  std::size_t& budget = self->budget_;
  if (budget == 0) return -EAGAIN;
  const ssize_t n = ::recv(socket, buffer, std::min(size, budget), flags);
  if (n < 0) return errno == EINTR ? -EAGAIN : -errno;
  budget -= static_cast<std::size_t>(n);
  return n;
}

/// A packet of which libssh2 could send a part only would be in the way of every other one until the same call is made
/// again (transport.c, send_existing), even at the end: so it gets rid of whole packets at once.
ssize_t SshSession::send(libssh2_socket_t socket, const void* bytes, std::size_t size, int /*flags*/, void** session) {
  auto* const self = static_cast<SshSession*>(*session);
  if (self->is_over_) return -ENOTCONN;
  try {
    return self->unsent_.send(socket, {static_cast<const char*>(bytes), size});
  } catch (const std::bad_alloc&) {  // which must not pass through libssh2
    return -ENOMEM;
  }
}

bool SshSession::wait() {
  const bool there = wait_for(socket_.get(), has_unsent() ? POLLIN | POLLOUT : POLLIN, deadline_);
  (void)flush();  // libssh2 sees by its next call whether the connection is broken
  return there;
}

std::string SshSession::reason() const {
  char* text = nullptr;
  ::libssh2_session_last_error(session_, &text, nullptr, 0);
  return text == nullptr ? "no reason given" : printable(text, 300);
}

/// Without any that libssh2 knows, it keeps its own. Before 1.11 it leaves out what it does not know with a memcpy(3)
/// of overlapping memory (kex.c, libssh2_session_method_pref), so it gets only what it knows.
void SshSession::prefer(int method, std::string_view names) {
  const char** supported = nullptr;
  const int count = ::libssh2_session_supported_algs(session_, method, &supported);
  if (count <= 0) return;
  std::string known;
  while (!names.empty()) {
    const auto name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    if (std::find(supported, supported + count, name) != supported + count)
      known.append(known.empty() ? "" : ",").append(name);
  }
  ::libssh2_free(session_, supported);
  if (!known.empty()) ::libssh2_session_method_pref(session_, method, known.c_str());
}

Result<std::unique_ptr<SshSession>> SshSession::connect(const PeerAddress& address, std::string_view known,
                                                        Deadline deadline) {
  FERRY_ASSIGN(Fd socket, connect_tcp(address.endpoint, deadline, "is that where its sshd is?"));
  std::unique_ptr<SshSession> session(new SshSession(address, std::move(socket), deadline));
  if (session->session_ == nullptr) return fail(Code::io, "libssh2 cannot be set up");
  FERRY_TRY(session->shake_hands(known));
  return session;
}

Result<> SshSession::shake_hands(std::string_view known) {
  const auto keys = known_keys(known, address_.endpoint);
  prefer(LIBSSH2_METHOD_HOSTKEY, host_key_algorithms(keys));
  prefer(LIBSSH2_METHOD_CRYPT_CS, ciphers);
  prefer(LIBSSH2_METHOD_CRYPT_SC, ciphers);
  const int error = repeat([this] { return ::libssh2_session_handshake(session_, socket_.get()); });
  if (error != 0) return tl::unexpected(explain_handshake(error));
  std::size_t size = 0;
  int type = 0;
  const char* key = ::libssh2_session_hostkey(session_, &size, &type);
  if (key == nullptr) return fail(Code::unsupported, server() + " shows no host key");
  return check_host_key(keys, {key, size}, address_.endpoint);
}

Error SshSession::explain_handshake(int error) const {
  const std::string peer = address_.endpoint.text();
  switch (error) {
    case LIBSSH2_ERROR_TIMEOUT:
      return {Code::unavailable, peer + " accepts connections but does not answer as an sshd; is it one?"};
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_METHOD_NONE:
      return {Code::unsupported, server() + " and this host's libssh2 have no algorithms in common: " + reason()};
    case LIBSSH2_ERROR_HOSTKEY_INIT:
    case LIBSSH2_ERROR_HOSTKEY_SIGN: return {Code::denied, server() + " does not prove its host key: " + reason()};
    case LIBSSH2_ERROR_BANNER_RECV:
    case LIBSSH2_ERROR_PROTO: return {Code::unsupported, "what listens on " + peer + " is no sshd: " + reason()};
    default: break;
  }
  if (is_lost(error))
    return {Code::unavailable, peer + " closed the connection before it was secured; its sshd has too many of them " +
                                   "(MaxStartups) or bans this host, or it is none"};
  return {Code::unavailable, "no secure connection to " + server() + ": " + reason()};
}

bool SshSession::is_lost(int error) {
  return error == LIBSSH2_ERROR_SOCKET_DISCONNECT || error == LIBSSH2_ERROR_SOCKET_RECV ||
         error == LIBSSH2_ERROR_SOCKET_SEND || error == LIBSSH2_ERROR_SOCKET_NONE;
}

Error SshSession::lost(const std::string& meanwhile, int error) const {
  if (error == LIBSSH2_ERROR_TIMEOUT)
    return {Code::unavailable, server() + " did not answer in time while " + meanwhile};
  return {Code::unavailable, server() + " ended the connection while " + meanwhile + ": " + reason()};
}

/// Asking for the methods is also how one that needs no key at all would let one in (RFC 4252, 5.2).
Result<> SshSession::check_methods() {
  const char* methods = nullptr;
  const int error = repeat([&] {
    methods = ::libssh2_userauth_list(session_, address_.user.c_str(), static_cast<unsigned>(address_.user.size()));
    if (methods != nullptr || ::libssh2_userauth_authenticated(session_) == 1) return 0;
    return ::libssh2_session_last_errno(session_);
  });
  if (error != 0) return tl::unexpected(lost("it was asked how user " + address_.user + " may log in", error));
  if (methods == nullptr || std::string_view(methods).find("publickey") != std::string_view::npos) return {};
  return fail(Code::denied, server() + " lets user " + address_.user + " in by " + quote(methods) +
                                " only, and Ferry has keys (PubkeyAuthentication)");
}

Result<> SshSession::log_in(const PrivateKeys& keys) {
  FERRY_TRY(check_methods());
  if (::libssh2_userauth_authenticated(session_) == 1) return {};
  const SshMemory::Pause pause(memory_);  // 1.11.1 gives a buffer to OPENSSL_clear_free (_libssh2_ecdsa_sign)
  std::string tried;
  std::string not_tried = keys.unusable.empty() ? "" : "; not tried: " + keys.unusable.front();
  for (const PrivateKey& key : keys.usable) {
    const int error = repeat([&] {  // an empty passphrase, because without one OpenSSL asks the terminal
      return ::libssh2_userauth_publickey_frommemory(session_, address_.user.c_str(), address_.user.size(), nullptr, 0,
                                                     key.content().data(), key.content().size(), "");
    });
    if (error == 0) return {};
    // One that breaks while the answer is awaited has the code of a refusal (libssh2's userauth.c).
    const bool is_broken = reason().find("Waiting for USERAUTH response") != std::string::npos;
    if (is_broken || is_lost(error) || error == LIBSSH2_ERROR_TIMEOUT)
      return tl::unexpected(lost("user " + address_.user + " logged in", error));
    const bool is_refused = error == LIBSSH2_ERROR_AUTHENTICATION_FAILED || error == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED;
    if (is_refused)
      tried += (tried.empty() ? "" : ", ") + key.name();
    else
      not_tried = "; not tried: the private key " + key.name() + ", which this libssh2 cannot use: " + reason();
  }
  if (tried.empty()) return fail(Code::denied, "no key to log in with" + not_tried);
  return fail(Code::denied, server() + " does not let user " + address_.user + " in with " + tried +
                                "; is the public key in that user's authorized_keys, and may that user log in "
                                "(PermitRootLogin, AllowUsers)?" +
                                not_tried);
}

Result<LIBSSH2_CHANNEL*> SshSession::open_unix_socket(const std::string& path) {
  constexpr std::string_view type = "direct-streamlocal@openssh.com";
  std::string message;
  append_string(message, path);
  append_string(message, "");       // reserved
  message += std::string(4, '\0');  // reserved
  LIBSSH2_CHANNEL* channel = nullptr;
  const unsigned window = window_for(socket_.get());
  const int error = repeat_until_made(channel, [&] {
    return ::libssh2_channel_open_ex(session_, type.data(), type.size(), window, largest_packet, message.data(),
                                     static_cast<unsigned>(message.size()));
  });
  if (error == 0) return channel;
  if (error == LIBSSH2_ERROR_CHANNEL_FAILURE) return tl::unexpected(explain_far_end(*this, path, reason()));
  return tl::unexpected(lost("it was asked for " + path, error));
}

}  // namespace ferry::transport
