#pragma once

#include <libssh2.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "transport/peer_address.h"
#include "transport/send_buffer.h"
#include "transport/ssh_keys.h"
#include "transport/ssh_memory.h"

namespace ferry::transport {

/// One connection to an sshd by libssh2, which only the files ssh_* of this folder know. Non-blocking: whatever takes
/// time ends with the deadline. Used by one thread at a time.
///
/// Every error is one sentence for the user. Code::unavailable is worth a retry; Code::denied is not: a host key that
/// is not known, a login that is refused.
class SshSession {
 public:
  /// Connects to `address` and agrees on keys with the sshd there, which has to show a host key that `known`, the
  /// content of a known_hosts file, has. The deadline is that of all that follows, too.
  static Result<std::unique_ptr<SshSession>> connect(const PeerAddress& address, std::string_view known,
                                                     Deadline deadline);
  SshSession(const SshSession&) = delete;
  SshSession& operator=(const SshSession&) = delete;
  /// Ends the connection at once.
  ~SshSession();

  /// Logs in as the address says, with the first of the keys that the sshd takes.
  Result<> log_in(const PrivateKeys& keys);

  /// A channel to the Unix socket `path` of that host, OpenSSH's direct-streamlocal (its file PROTOCOL, 2.4). It
  /// belongs to the session. libssh2 has a function for it since 1.11; this way works with older ones as well.
  Result<LIBSSH2_CHANNEL*> open_unix_socket(const std::string& path);

  /// Repeats a call of libssh2 for as long as it says EAGAIN; LIBSSH2_ERROR_TIMEOUT after the deadline.
  template <class Call>
  int repeat(Call call) {
    int result = 0;
    while ((result = call()) == LIBSSH2_ERROR_EAGAIN)
      if (!wait()) return LIBSSH2_ERROR_TIMEOUT;
    return result;
  }

  /// The same for a call that returns what it makes, and null for EAGAIN as well as for any error. 0: it is made.
  template <class Made, class Call>
  int repeat_until_made(Made*& made, Call call) {
    return repeat([&] {
      made = call();
      return made != nullptr ? 0 : ::libssh2_session_last_errno(session_);
    });
  }

  /// From here on, the deadline comes after that time at the latest.
  void hurry(std::chrono::milliseconds time) { deadline_ = std::min(deadline_, after(time)); }

  /// The deadline of what follows is that time from now on.
  void allow(std::chrono::milliseconds time) { deadline_ = after(time); }

  /// How many bytes libssh2 may still take from the network before it has to say EAGAIN; at first without end.
  void set_budget(std::size_t bytes) { budget_ = bytes; }

  /// Sends what the network has not taken yet, as far as it takes it now. False: the connection is broken. repeat()
  /// does so by itself.
  bool flush() { return unsent_.flush(socket()) == 0; }
  /// Whether there is still something of that, for which to wait until the socket is writable.
  bool has_unsent() const { return !unsent_.empty(); }

  LIBSSH2_SESSION* get() const { return session_; }
  const PeerAddress& address() const { return address_; }
  int socket() const { return socket_.get(); }
  /// "the sshd of HOST:PORT"
  std::string server() const { return "the sshd of " + address_.endpoint.text(); }
  /// libssh2's words for what failed last.
  std::string reason() const;
  /// Whether an error of libssh2 means that there is no connection any more.
  static bool is_lost(int error);
  /// That there was none, or no answer, `meanwhile`: "it was asked for …".
  Error lost(const std::string& meanwhile, int error) const;

 private:
  SshSession(PeerAddress address, Fd socket, Deadline deadline);
  static SshMemory& memory_of(void** session);
  static LIBSSH2_SESSION* make(SshSession* owner);
  static ssize_t receive(libssh2_socket_t socket, void* buffer, std::size_t size, int flags, void** session);
  static ssize_t send(libssh2_socket_t socket, const void* bytes, std::size_t size, int flags, void** session);
  template <class Function>
  void set_callback(int which, Function* function);

  bool wait();
  void prefer(int method, std::string_view names);
  Result<> shake_hands(std::string_view known);
  Result<> check_methods();
  Error explain_handshake(int error) const;

  const PeerAddress address_;
  const Fd socket_;
  Deadline deadline_;
  std::size_t budget_;
  SendBuffer unsent_;
  bool is_over_ = false;  // nothing is sent or received any more
  SshMemory memory_;      // before the session, which is in it
  LIBSSH2_SESSION* session_;
};

}  // namespace ferry::transport
