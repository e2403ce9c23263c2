#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "transport/ssh_session.h"

namespace ferry::transport {

/// What comes out of a channel of SSH, as an ordinary socket: a socketpair(2) and a thread that carries bytes between
/// it and the channel, whichever end is slower holding the other one up. So TLS, timeouts and shutdown(2) work on it as
/// on any connection; what an sshd asks for while nothing is sent (keepalive, new keys) is answered; and SSH is
/// decrypted beside what the bytes are used for.
class SshTunnel {
 public:
  /// Takes a session with an open channel.
  static Result<std::unique_ptr<SshTunnel>> start(std::unique_ptr<SshSession> session, LIBSSH2_CHANNEL* channel);
  SshTunnel(const SshTunnel&) = delete;
  SshTunnel& operator=(const SshTunnel&) = delete;
  /// Ends the connection at once.
  ~SshTunnel();

  /// The other end of the pair, non-blocking; once. It ends when the channel does, and the other way round.
  Fd take_socket() { return std::move(socket_); }

 private:
  enum class Flow { moved, idle, ended };

  /// Bytes that are on their way in one direction.
  class Load {
   public:
    explicit Load(std::size_t size) : bytes_(size) {}
    bool empty() const { return begin_ == end_; }
    char* room() { return bytes_.data(); }
    std::size_t size() const { return bytes_.size(); }
    void fill(ssize_t n) {
      begin_ = 0;
      end_ = static_cast<std::size_t>(n);
    }
    const char* data() const { return bytes_.data() + begin_; }
    std::size_t left() const { return end_ - begin_; }
    void take(ssize_t n) { begin_ += static_cast<std::size_t>(n); }

   private:
    std::vector<char> bytes_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
  };

  SshTunnel(std::unique_ptr<SshSession> session, LIBSSH2_CHANNEL* channel, Fd inner, Fd socket);
  void run();
  Flow send();
  Flow receive();
  bool wait();

  const std::unique_ptr<SshSession> session_;
  LIBSSH2_CHANNEL* const channel_;
  const Fd inner_;  ///< the end of the pair that the thread has
  Fd socket_;
  Load out_;
  Load in_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace ferry::transport
