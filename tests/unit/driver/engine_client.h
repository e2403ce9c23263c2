#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/fd.h"

namespace ferry::driver {

/// A connection to a plugin's socket that sends raw bytes.
class EngineClient {
 public:
  explicit EngineClient(const std::filesystem::path& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }

  bool send(std::string_view bytes) {
    return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  /// The next response, as status line, headers and body; empty when the connection ended without one.
  std::string receive() {
    std::size_t head = 0;
    while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return "";
    const auto field = buffer_.find("Content-Length: ");
    const auto length = field < head ? std::strtoul(buffer_.c_str() + field + 16, nullptr, 10) : 0;
    while (buffer_.size() < head + 4 + length)
      if (!fill()) return "";
    std::string response = buffer_.substr(0, head + 4 + length);
    buffer_.erase(0, response.size());
    return response;
  }

  std::string call(std::string_view request) { return send(request) ? receive() : ""; }

  bool is_at_end() { return buffer_.empty() && !fill(); }

 private:
  bool fill() {
    char chunk[65536];
    pollfd entry{socket_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 20000) != 1) return false;
    const ssize_t n = ::recv(socket_.get(), chunk, sizeof chunk, 0);
    if (n > 0) buffer_.append(chunk, static_cast<std::size_t>(n));
    return n > 0;
  }

  Fd socket_;
  bool connected_ = false;
  std::string buffer_;
};

/// A request as the Engine sends it.
inline std::string post(const std::string& method, const std::string& body) {
  return "POST /" + method + " HTTP/1.1\r\nHost: ferry.sock\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: " +
         std::to_string(body.size()) +
         "\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\nAccept-Encoding: gzip\r\n\r\n" + body;
}

inline std::string body_of(const std::string& response) {
  const auto head = response.find("\r\n\r\n");
  return head == std::string::npos ? "" : response.substr(head + 4);
}

inline std::string status_of(const std::string& response) { return response.substr(0, response.find("\r\n")); }

}  // namespace ferry::driver
