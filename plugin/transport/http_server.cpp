#include "transport/http_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <system_error>

#include "base/log.h"

namespace ferry::transport {

namespace {

/// What the thread's running request tells its connection.
struct Current {
  SocketStream* stream = nullptr;
  bool close = false;
  std::function<void(Link)> taker;
};
thread_local Current current;

void normalise(httplib::Request& request) {
  request.headers.erase("Accept-Encoding");
  request.headers.erase("Content-Encoding");
  if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding"))
    request.headers.emplace("Content-Length", "0");
}

bool has_body(const httplib::Request& request) {
  return request.has_header("Transfer-Encoding") || request.get_header_value("Content-Length") != "0";
}

void close_after_error(const httplib::Request& request, httplib::Response& response) {
  // A handler's, of a body that httplib has replaced by its own error (416 to a Range that does not fit).
  if (response.status >= 400) response.headers.erase("Transfer-Encoding");
  const bool unparsed = request.method.empty() || response.status == 400;
  if (response.status < 400 || (!unparsed && !has_body(request))) return;
  current.close = true;
  if (!response.has_header("Connection")) response.set_header("Connection", "close");
}

void answer_exception(const httplib::Request& request, httplib::Response& response, std::exception_ptr exception) {
  response.status = 500;
  try {
    std::rethrow_exception(std::move(exception));
  } catch (const std::exception& error) {
    spdlog::error("handler of {} threw {}", quote(request.path), quote(error.what()));
  } catch (...) {
    spdlog::error("handler of {} threw something", quote(request.path));
  }
}

}  // namespace

HttpServer::HttpServer(Open open, Limits limits) : open_(std::move(open)), limits_(std::move(limits)) {
  set_keep_alive_max_count(1'000'000'000);
  set_keep_alive_timeout(365 * 24 * 3600);
  set_post_routing_handler(close_after_error);
  set_exception_handler(answer_exception);
}

HttpServer::~HttpServer() { stop_serving(std::chrono::milliseconds(0)); }

Result<> HttpServer::serve_nothing() {
  if (stop_event_) return {};
  stop_event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_event_) return fail_errno("eventfd");
  svr_sock_ = stop_event_.get();  // httplib takes INVALID_SOCKET for "shutting down"
  return {};
}

Result<> HttpServer::serve(Fd listening) {
  FERRY_TRY(serve_nothing());
  Fd accept_event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!accept_event) return fail_errno("eventfd");
  if (::fcntl(listening.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno("fcntl of the listening socket");
  stop_accepting();
  accept_event_ = std::move(accept_event);
  listening_ = std::move(listening);
  acceptor_ = std::thread([this] { accept_loop(); });
  return {};
}

void HttpServer::stop_accepting() {
  if (!acceptor_.joinable()) return;
  ::eventfd_write(accept_event_.get(), 1);
  acceptor_.join();
  listening_.reset();
}

void HttpServer::stop_serving(std::chrono::milliseconds grace) {
  if (!stop_event_) return;
  stop_accepting();
  ::eventfd_write(stop_event_.get(), 1);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, grace, [this] { return connections_.empty(); });
  svr_sock_ = INVALID_SOCKET;
  for (const auto& connection : connections_) ::shutdown(connection.socket.get(), SHUT_RDWR);
  changed_.wait(lock, [this] { return connections_.empty(); });
  for (auto& thread : ended_) thread.join();
  ended_.clear();
}

std::size_t HttpServer::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

void HttpServer::drop_current_connection() {
  if (current.stream != nullptr) current.stream->break_off();
}

void HttpServer::hand_over_current_connection(std::function<void(Link)> taker) { current.taker = std::move(taker); }

void HttpServer::accept_loop() {
  while (true) {
    pollfd entries[] = {{listening_.get(), POLLIN, 0}, {accept_event_.get(), POLLIN, 0}};
    ::poll(entries, 2, -1);
    if (entries[1].revents != 0) return;
    if (entries[0].revents != 0) accept_one();
  }
}

void HttpServer::accept_one() {
  Fd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket) return add(std::move(socket));
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
  // Out of descriptors or memory: the connection stays in the queue, and some time must pass before it can be accepted.
  warn("cannot accept a connection: " + std::generic_category().message(errno));
  wait_for(accept_event_.get(), POLLIN, after(std::chrono::milliseconds(100)));
}

// Whoever can reach the socket must not be able to flood the log.
void HttpServer::warn(const std::string& message) {
  const auto now = SteadyClock::now();
  spdlog::log(now < quiet_until_ ? spdlog::level::debug : spdlog::level::warn, message);
  if (now >= quiet_until_) quiet_until_ = now + std::chrono::seconds(10);
}

void HttpServer::add(Fd socket) {
  const std::lock_guard lock(mutex_);
  if (connections_.size() >= limits_.connections) {
    warn("refused a connection: " + std::to_string(connections_.size()) + " are open, which is the limit");
    [[maybe_unused]] const auto sent =
        ::send(socket.get(), limits_.refusal.data(), limits_.refusal.size(), MSG_NOSIGNAL);
    return;
  }
  connections_.push_back({std::move(socket), {}});
  const auto connection = std::prev(connections_.end());
  try {
    connection->thread = std::thread([this, connection] { run(connection); });
  } catch (const std::system_error& error) {
    spdlog::error("no thread for a connection: {}", error.what());
    connections_.erase(connection);
  }
}

void HttpServer::run(Connections::iterator connection) {
  use(connection, [&] {
    auto stream = open_(connection->socket.get());
    if (!stream) return;
    stream->set_timeouts(limits_.timeout, limits_.timeout);
    if (const auto taker = converse(*stream).taker) taker(Link{take_socket(connection), nullptr, std::move(stream)});
  });
}

/// What is made of the connection's socket has gone when this returns, whatever is thrown.
void HttpServer::use(Connections::iterator connection, const std::function<void()>& conversation) {
  try {
    conversation();
  } catch (const std::exception& error) {
    current = {};
    spdlog::error("connection ended by {}", quote(error.what()));
  }
  finish(connection);
}

bool HttpServer::attend(Link link) {
  bool asked = false;
  const auto connection = [&] {
    const std::lock_guard lock(mutex_);
    connections_.push_back({std::move(link.socket), {}});
    return std::prev(connections_.end());
  }();
  use(connection, [&] {
    const auto below = std::move(link.below);
    const auto stream = std::move(link.stream);
    stream->set_timeouts(limits_.timeout, limits_.timeout);
    asked = converse(*stream).asked;
  });
  return asked;
}

HttpServer::Conversation HttpServer::converse(SocketStream& stream) {
  Conversation conversation;
  bool closed = false;
  while (!closed && wait_for_request(stream)) {
    conversation.asked = true;
    current = {&stream, false, {}};
    const bool answered = process(&HttpServer::process_request, stream, closed);
    closed = closed || !answered || current.close || stream.is_broken();
    conversation.taker = std::exchange(current, {}).taker;
    if (!closed && conversation.taker) return conversation;
  }
  conversation.taker = nullptr;
  return conversation;
}

/// stop_serving() does not break it any more.
Fd HttpServer::take_socket(Connections::iterator connection) {
  const std::lock_guard lock(mutex_);
  return std::move(connection->socket);
}

bool HttpServer::wait_for_request(const SocketStream& stream) const {
  pollfd entries[] = {{stream.socket(), POLLIN, 0}, {stop_event_.get(), POLLIN, 0}};
  int n = 0;
  do {
    n = ::poll(entries, 2, stream.has_input() ? 0 : -1);
  } while (n < 0 && errno == EINTR);
  return entries[1].revents == 0 && (stream.has_input() || entries[0].revents != 0);
}

// A thread cannot join itself, so each joins those that ended before it; the last ones are joined by stop_serving().
void HttpServer::finish(Connections::iterator connection) {
  std::vector<std::thread> ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
    if (connection->thread.joinable()) ended_.push_back(std::move(connection->thread));
    connections_.erase(connection);
    changed_.notify_all();
  }
  for (auto& thread : ended) thread.join();
}

// httplib 0.11
bool HttpServer::process(bool (httplib::Server::*function)(httplib::Stream&, bool, bool&,
                                                           const std::function<void(httplib::Request&)>&),
                         SocketStream& stream, bool& closed) {
  return (this->*function)(stream, false, closed, normalise);
}

// httplib 0.18
bool HttpServer::process(bool (httplib::Server::*function)(httplib::Stream&, const std::string&, int,
                                                           const std::string&, int, bool, bool&,
                                                           const std::function<void(httplib::Request&)>&),
                         SocketStream& stream, bool& closed) {
  std::string remote;
  std::string local;
  int remote_port = 0;
  int local_port = 0;
  stream.get_remote_ip_and_port(remote, remote_port);
  stream.get_local_ip_and_port(local, local_port);
  return (this->*function)(stream, remote, remote_port, local, local_port, false, closed, normalise);
}

}  // namespace ferry::transport
