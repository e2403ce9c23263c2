#include "transport/ssh_tunnel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace ferry::transport {

namespace {

/// What is received at a time: enough for few system calls, and little enough to stay in a processor's cache.
constexpr std::size_t chunk = 256U << 10;
/// Requests are small, and libssh2 sends 32 KiB at a time.
constexpr std::size_t outward_chunk = 32U << 10;

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

Result<std::unique_ptr<SshTunnel>> SshTunnel::start(std::unique_ptr<SshSession> session, LIBSSH2_CHANNEL* channel) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return fail_errno("socketpair");
  Fd inner(ends[0]);
  Fd socket(ends[1]);
  std::unique_ptr<SshTunnel> tunnel(new SshTunnel(std::move(session), channel, std::move(inner), std::move(socket)));
  try {
    tunnel->thread_ = std::thread([raw = tunnel.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return fail(Code::unavailable, std::string("no thread for an ssh connection: ") + error.what());
  }
  return tunnel;
}

SshTunnel::SshTunnel(std::unique_ptr<SshSession> session, LIBSSH2_CHANNEL* channel, Fd inner, Fd socket)
    : session_(std::move(session)),
      channel_(channel),
      inner_(std::move(inner)),
      socket_(std::move(socket)),
      out_(outward_chunk),
      in_(chunk) {}

SshTunnel::~SshTunnel() {
  ::shutdown(inner_.get(), SHUT_RDWR);  // wakes the thread
  if (thread_.joinable()) thread_.join();
}

void SshTunnel::run() {
  bool going = true;
  while (going) {
    if (!session_->flush()) break;
    const Flow sent = send();
    const Flow received = sent == Flow::ended ? Flow::ended : receive();
    if (received == Flow::ended) break;
    if (sent == Flow::idle && received == Flow::idle) going = wait();
  }
  ::shutdown(inner_.get(), SHUT_RDWR);
}

SshTunnel::Flow SshTunnel::send() {
  if (session_->has_unsent()) return Flow::idle;  // one piece at a time
  if (out_.empty()) {
    const ssize_t n = ::recv(inner_.get(), out_.room(), out_.size(), 0);
    if (n < 0) return would_block() ? Flow::idle : Flow::ended;
    if (n == 0) return Flow::ended;
    out_.fill(n);
  }
  session_->set_budget(chunk);  // it also looks for more room in the window
  const ssize_t n = ::libssh2_channel_write(channel_, out_.data(), out_.left());
  if (n == LIBSSH2_ERROR_EAGAIN || n == 0) return Flow::idle;
  if (n < 0) return Flow::ended;
  out_.take(n);
  return Flow::moved;
}

SshTunnel::Flow SshTunnel::receive() {
  if (in_.empty()) {
    session_->set_budget(chunk);
    const ssize_t n = ::libssh2_channel_read(channel_, in_.room(), in_.size());
    if (n == LIBSSH2_ERROR_EAGAIN) return Flow::idle;
    if (n < 0 || (n == 0 && ::libssh2_channel_eof(channel_) != 0)) return Flow::ended;
    if (n == 0) return Flow::moved;  // something else than content came
    in_.fill(n);
  }
  const ssize_t n = ::send(inner_.get(), in_.data(), in_.left(), MSG_NOSIGNAL);
  if (n < 0) return would_block() ? Flow::idle : Flow::ended;
  in_.take(n);
  return Flow::moved;
}

/// Until there is something to do. False: the other end of the pair is closed.
bool SshTunnel::wait() {
  pollfd entries[] = {{session_->socket(), 0, 0}, {inner_.get(), 0, 0}};
  if (in_.empty() || (!out_.empty() && !session_->has_unsent())) entries[0].events = POLLIN;
  if (session_->has_unsent()) entries[0].events = static_cast<short>(entries[0].events | POLLOUT);
  if (entries[0].events == 0) entries[0].fd = -1;  // or the end of the connection would be told again and again
  if (out_.empty() && !session_->has_unsent()) entries[1].events = POLLIN;
  if (!in_.empty()) entries[1].events = static_cast<short>(entries[1].events | POLLOUT);
  ::poll(entries, 2, -1);
  return (entries[1].revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

}  // namespace ferry::transport
