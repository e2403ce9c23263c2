#include "transport/send_buffer.h"

#include <sys/socket.h>

#include <cerrno>

namespace ferry::transport {

namespace {

/// How many of `bytes` the socket took, 0 if none at the moment; or a negative errno.
ssize_t send_now(int socket, std::span<const char> bytes) {
  const ssize_t n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

}  // namespace

ssize_t SendBuffer::send(int socket, std::span<const char> bytes) {
  if (const int error = flush(socket); error != 0) return error;
  const ssize_t n = empty() ? send_now(socket, bytes) : 0;
  if (n < 0) return n;
  const auto rest = bytes.subspan(static_cast<std::size_t>(n));
  if (waiting_.size() - sent_ + rest.size() > limit_) return -ENOBUFS;
  if (sent_ > waiting_.size() / 2) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  waiting_.insert(waiting_.end(), rest.begin(), rest.end());
  return static_cast<ssize_t>(bytes.size());
}

int SendBuffer::flush(int socket) {
  if (empty()) return 0;
  const ssize_t n = send_now(socket, std::span(waiting_).subspan(sent_));
  if (n < 0) return static_cast<int>(n);
  sent_ += static_cast<std::size_t>(n);
  if (empty()) {
    waiting_.clear();
    sent_ = 0;
  }
  return 0;
}

}  // namespace ferry::transport
