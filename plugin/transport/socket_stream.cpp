#include "transport/socket_stream.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace ferry::transport {

namespace {

using NameFunction = int (*)(int, sockaddr*, socklen_t*);

void describe(int fd, NameFunction name, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  ip.clear();
  port = 0;
  if (name(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return;
  if (::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

bool wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    pollfd entry{fd, events, 0};
    const int n = ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return true;
    if (left <= 0) return false;
  }
}

void SocketStream::set_timeouts(std::chrono::milliseconds read, std::chrono::milliseconds write) {
  read_timeout_ = read;
  write_timeout_ = write;
}

Deadline SocketStream::end_of(std::chrono::milliseconds timeout) const {
  const Deadline end = after(timeout);
  return deadline_ ? std::min(end, *deadline_) : end;
}

void SocketStream::break_off() {
  broken_ = true;
  ::shutdown(fd_, SHUT_RDWR);
}

bool SocketStream::is_readable() const { return has_input() || wait_to_read(); }

void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const { describe(fd_, ::getpeername, ip, port); }

void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const { describe(fd_, ::getsockname, ip, port); }

ssize_t PlainStream::fill() {
  while (may_go_on()) {
    const ssize_t n = ::recv(fd(), buffer_.data(), buffer_.size(), 0);
    if (n >= 0) {
      begin_ = 0;
      end_ = static_cast<std::size_t>(n);
      return n;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait_to_read()) return -1;
  }
  return -1;
}

ssize_t PlainStream::read(char* data, std::size_t size) {
  if (!has_input()) {
    const ssize_t n = fill();
    if (n <= 0) return n;
  }
  const std::size_t n = std::min(size, end_ - begin_);
  std::memcpy(data, buffer_.data() + begin_, n);
  begin_ += n;
  return static_cast<ssize_t>(n);
}

ssize_t PlainStream::write(const char* data, std::size_t size) {
  while (may_go_on()) {
    const ssize_t n = ::send(fd(), data, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait_to_write()) return -1;
  }
  return -1;
}

}  // namespace ferry::transport
