#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

namespace ferry::transport {

/// What a non-blocking socket did not take yet, in order. Used by one thread at a time.
class SendBuffer {
 public:
  /// `limit`: bytes that may wait; more is an error, because the other side does not read what it asks for.
  explicit SendBuffer(std::size_t limit) : limit_(limit) {}

  /// Sends `bytes` behind what waits already, and keeps what `socket` does not take. Their size, or a negative errno
  /// (send(2); ENOBUFS: the limit), after which nothing more is to be sent.
  ssize_t send(int socket, std::span<const char> bytes);

  /// Sends what waits, as far as `socket` takes it now. 0, or a negative errno as above.
  int flush(int socket);

  bool empty() const { return sent_ == waiting_.size(); }

 private:
  const std::size_t limit_;
  std::vector<char> waiting_;
  std::size_t sent_ = 0;  // of waiting_
};

}  // namespace ferry::transport
