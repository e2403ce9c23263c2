#pragma once

#include <httplib.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"

namespace ferry::transport {

/// Waits until `fd` has one of `events` (poll(2)); also true when it is broken. False: the deadline passed first.
bool wait_for(int fd, short events, Deadline deadline);

/// A connected non-blocking socket as cpp-httplib sees it. Unlike httplib's own streams, one object lives as long as
/// its connection, so that what was read ahead belongs to the next request (pipelining). Used by one thread at a time.
class SocketStream : public httplib::Stream {
 public:
  /// `fd` must be non-blocking and outlive the stream.
  explicit SocketStream(int fd) : fd_(fd) {}
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  /// How long one read or write may wait for the other side.
  void set_timeouts(std::chrono::milliseconds read, std::chrono::milliseconds write);

  /// When all reading and writing ends, however fast the other side is; none is never. What is read or written later
  /// fails.
  void set_deadline(std::optional<Deadline> deadline) { deadline_ = deadline; }

  /// Bytes that were taken from the socket and not read yet.
  virtual bool has_input() const = 0;

  /// Ends the connection: nothing more is read or written.
  void break_off();
  bool is_broken() const { return broken_; }

  bool is_readable() const override;
  bool is_writable() const override { return !broken_; }
  /// An IP address and port; empty and 0 for a Unix socket.
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return fd_; }

 protected:
  bool wait_to_read() const { return wait_for(fd_, POLLIN, end_of(read_timeout_)); }
  bool wait_to_write() const { return wait_for(fd_, POLLOUT, end_of(write_timeout_)); }
  /// Whether there is anything left to be tried: to be asked before each call that reads or writes.
  bool may_go_on() const { return !broken_ && (!deadline_ || SteadyClock::now() < *deadline_); }
  int fd() const { return fd_; }

 private:
  Deadline end_of(std::chrono::milliseconds timeout) const;

  const int fd_;
  bool broken_ = false;
  std::chrono::milliseconds read_timeout_ = std::chrono::seconds(30);
  std::chrono::milliseconds write_timeout_ = std::chrono::seconds(30);
  std::optional<Deadline> deadline_;
};

/// Without encryption, for Unix sockets.
class PlainStream final : public SocketStream {
 public:
  using httplib::Stream::write;
  using SocketStream::SocketStream;

  bool has_input() const override { return begin_ < end_; }
  ssize_t read(char* data, std::size_t size) override;
  ssize_t write(const char* data, std::size_t size) override;

 private:
  ssize_t fill();

  std::array<char, 16384> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace ferry::transport
