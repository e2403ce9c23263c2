#pragma once

#include <httplib.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "transport/link.h"

namespace ferry::transport {

/// HTTP/1.1 with a thread per connection. cpp-httplib parses requests, finds routes and writes responses; this class
/// owns the sockets, because httplib's own loop (seen in 0.11.4 and 0.18.7) stops listening for good on ECONNABORTED,
/// closes idle connections, wakes up 90 times a second for each, forgets pipelined bytes, and cannot stop while a
/// connection is idle.
///
/// Requests are normalised: no Content-Length and no Transfer-Encoding means no body (RFC 9112, 6.3; httplib would wait
/// for the connection's end), and content codings are off in both directions. A request that cannot be parsed, or one
/// with a body that is answered by an error, ends its connection after the response, because unread bytes may follow.
///
/// Routes are added before serve(), through httplib::Server's functions; listen*, bind*, stop and
/// set_post_routing_handler of the base class must not be used. Handlers are called from many threads at once; what
/// they throw is logged and becomes status 500.
class HttpServer : public httplib::Server {
 public:
  /// Makes a stream of an accepted non-blocking socket, in the connection's own thread; null ends the connection.
  using Open = std::function<std::unique_ptr<SocketStream>(int fd)>;

  struct Limits {
    std::size_t connections;            ///< at once; a further one is sent `refusal` and closed
    std::string refusal;                ///< raw bytes
    std::chrono::milliseconds timeout;  ///< for the next byte within a message; between messages there is none
  };

  HttpServer(Open open, Limits limits);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Stops without grace.
  ~HttpServer() override;

  /// Takes a listening socket and serves it until stop_serving(), after which it must not be called. Called again
  /// before, it takes the other socket in place of the first, whose connections stay. Not to be called from two threads
  /// at once.
  Result<> serve(Fd listening);

  /// Instead of serve(), or beside it after that: serves what the peer at the other end of a link asks for, in the
  /// calling thread, until the link ends or stop_serving() is called. Whether it has asked for anything.
  bool attend(Link link);
  /// Instead of serve(): makes attend() possible. Called once.
  Result<> serve_nothing();

  /// Stops accepting and closes idle connections. Running requests have `grace` to end, then their connections are
  /// broken. Returns when no handler is running. Not to be called from a handler, nor from two threads at once.
  void stop_serving(std::chrono::milliseconds grace);

  std::size_t connections() const;

  /// Within a handler: ends the connection without an answer.
  static void drop_current_connection();

  /// Within a handler: once its answer is sent the connection is no longer this server's, but belongs to `taker`, which
  /// must not take long and is called from the connection's thread.
  static void hand_over_current_connection(std::function<void(Link)> taker);

 private:
  struct Connection {
    Fd socket;
    std::thread thread;
  };
  using Connections = std::list<Connection>;

  void stop_accepting();
  void accept_loop();
  void accept_one();
  void add(Fd socket);
  void warn(const std::string& message);
  void run(Connections::iterator connection);
  void use(Connections::iterator connection, const std::function<void()>& conversation);
  struct Conversation {
    bool asked = false;
    std::function<void(Link)> taker;  ///< of the connection, if it does not end with it
  };
  Conversation converse(SocketStream& stream);
  Fd take_socket(Connections::iterator connection);
  bool wait_for_request(const SocketStream& stream) const;
  void finish(Connections::iterator connection);
  bool process(bool (httplib::Server::*function)(httplib::Stream&, bool, bool&,
                                                 const std::function<void(httplib::Request&)>&),
               SocketStream& stream, bool& closed);
  bool process(bool (httplib::Server::*function)(httplib::Stream&, const std::string&, int, const std::string&, int,
                                                 bool, bool&, const std::function<void(httplib::Request&)>&),
               SocketStream& stream, bool& closed);

  const Open open_;
  const Limits limits_;
  Fd listening_;
  Fd stop_event_;    ///< an eventfd(2), readable once the server is to stop
  Fd accept_event_;  ///< the same for the acceptor, which may be to stop alone
  std::thread acceptor_;
  Deadline quiet_until_{};  ///< used by the acceptor only: until then, warnings are told at debug level

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Connections connections_;         ///< protected by mutex_
  std::vector<std::thread> ended_;  ///< protected by mutex_; threads that have nothing left to do but to be joined
};

}  // namespace ferry::transport
