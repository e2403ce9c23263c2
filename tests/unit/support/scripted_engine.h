#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/random.h"

namespace ferry::engine::testing {

/// A recorded answer of a real Engine, from golden/<release>/.
inline std::string golden(const std::string& release, const std::string& file) {
  const auto path = std::filesystem::path(FERRY_UNIT_TESTS) / "engine/golden" / release / file;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline std::string answer(int status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + headers + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

inline std::string chunk(const std::string& data) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

inline const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// One accepted connection, for a script to write bytes to.
class Connection {
 public:
  explicit Connection(Fd fd) : fd_(std::move(fd)) {}
  void send(const std::string& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      const auto n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
  }
  void send_bytewise(const std::string& bytes) {
    for (const char c : bytes) send(std::string(1, c));
  }
  /// "METHOD TARGET\nBODY", empty at the end of the connection.
  std::string receive() {
    std::string text;
    while (text.find("\r\n\r\n") == std::string::npos || text.size() < end_of(text))
      if (!more(text)) return {};
    const auto line_end = text.find(" HTTP/1.1");
    return text.substr(0, line_end) + "\n" + text.substr(text.find("\r\n\r\n") + 4);
  }
  /// Blocks until the client closes or the engine is stopped.
  void wait_for_end() {
    std::string rest;
    while (more(rest)) rest.clear();
  }
  /// Whether the client has closed or the engine is stopped.
  bool ended() const {
    char byte;
    return ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }
  void shut_down() { ::shutdown(fd_.get(), SHUT_RDWR); }

 private:
  static std::size_t end_of(const std::string& text) {
    const auto length = text.find("Content-Length: ");
    const auto body = text.find("\r\n\r\n") + 4;
    return length < body ? body + std::stoul(text.substr(length + 16)) : body;
  }
  bool more(std::string& text) {
    char buffer[4096];
    const auto n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  Fd fd_;
};

/// A Unix socket that answers with scripted bytes. It fakes HTTP framing, errors and timing; what the bytes mean comes
/// from recordings. Scripts run in a thread per connection.
class ScriptedEngine {
 public:
  using Script = std::function<void(Connection&, const std::string& request)>;

  explicit ScriptedEngine(Script script)
      : script_(std::move(script)), path_(std::filesystem::temp_directory_path() / ("engine-" + random_hex(8))) {
    std::signal(SIGPIPE, SIG_IGN);
    start();
  }
  ~ScriptedEngine() { stop(); }

  void start() {
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) || ::listen(listener_.get(), 64))
      throw std::runtime_error("cannot listen at " + path_.string());
    acceptor_ = std::thread([this] { accept_all(); });
  }

  /// Ends every connection, as the death of an engine does, and removes the socket.
  void stop() {
    if (!acceptor_.joinable()) return;
    std::filesystem::remove(path_);
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    listener_.reset();
    {
      const std::lock_guard lock(mutex_);
      for (auto& connection : connections_) connection->shut_down();
    }
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    connections_.clear();
  }

  const std::filesystem::path& path() const { return path_; }
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void accept_all() {
    for (;;) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      const std::lock_guard lock(mutex_);
      auto& connection = *connections_.emplace_back(std::make_unique<Connection>(std::move(fd)));
      threads_.emplace_back([this, &connection] { serve(connection); });
    }
  }

  void serve(Connection& connection) {
    const auto request = connection.receive();
    if (!request.empty()) {
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      script_(connection, request);
    }
    connection.shut_down();
  }

  const Script script_;
  const std::filesystem::path path_;
  Fd listener_;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::thread> threads_;
  std::vector<std::string> requests_;
};

inline std::string ping(const std::string& version) {
  return answer(200, "OK", "Api-Version: " + version + "\r\nContent-Type: text/plain\r\n");
}

/// Answers pings, and each other target (without query) with its bytes, else 404.
inline ScriptedEngine::Script routes(const std::string& version, std::map<std::string, std::string> answers) {
  return [=](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping(version));
    const auto found = answers.find(request.substr(0, request.find_first_of("?\n")));
    connection.send(found == answers.end() ? answer(404, R"({"message":"page not found"})") : found->second);
  };
}

}  // namespace ferry::engine::testing
