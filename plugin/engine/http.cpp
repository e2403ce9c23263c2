#include "engine/http.h"

#include <httplib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <utility>

#include "base/time.h"

namespace ferry::engine {

namespace {

using std::chrono::milliseconds;

/// httplib has no "wait forever"; a stream that is silent for this long is opened again.
constexpr milliseconds stream_timeout = std::chrono::hours(24);

/// Collects an answer and judges it while it arrives.
class Exchange {
 public:
  explicit Exchange(const HttpCall& call)
      : call_(call),
        is_limited_(call.pause.count() == 0 && call.timeout.count() != 0),
        timeout_(call.pause.count()     ? call.pause
                 : call.timeout.count() ? call.timeout
                                        : stream_timeout),
        deadline_(after(is_limited_ ? timeout_ : stream_timeout)) {}

  httplib::Request request() {
    httplib::Request request;
    request.method = call_.method;
    request.path = call_.target;
    // Go's server refuses a Host with slashes in it, and the path of the socket is httplib's default.
    request.headers = {{"Host", "docker"}, {"Accept-Encoding", "identity"}, {"User-Agent", "ferry"}};
    request.body = call_.json_body;
    if (!call_.json_body.empty()) request.headers.emplace("Content-Type", "application/json");
    if (call_.write_body) {
      request.headers.emplace("Content-Type", call_.body_type);
      request.headers.emplace("Transfer-Encoding", "chunked");
      request.is_chunked_content_provider_ = true;
      request.content_provider_ = [this](std::size_t, std::size_t, httplib::DataSink& sink) { return write(sink); };
    }
    request.response_handler = [this](const httplib::Response& response) { return open(response.status); };
    request.content_receiver = [this](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
      return receive({data, size});
    };
    return request;
  }

  milliseconds timeout() const { return timeout_; }
  bool timed_out() const { return SteadyClock::now() >= (is_limited_ ? deadline_ : heard_ + timeout_); }
  std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }
  std::string take_body() { return std::move(body_); }

 private:
  bool open(int status) {
    streaming_ = call_.on_piece && status == 200;
    if (streaming_ && call_.on_open) call_.on_open();
    return true;
  }

  bool write(httplib::DataSink& sink) {
    auto written = call_.write_body([&](std::string_view piece) -> Result<> {
      heard_ = SteadyClock::now();
      if (!sink.write(piece.data(), piece.size()))
        return fail(Code::io, "the Docker Engine takes no more of it; its log says why");
      return {};
    });
    if (!written) error_ = std::move(written.error());
    if (written) sink.done();
    return written.has_value();
  }

  bool receive(std::string_view piece) {
    if (SteadyClock::now() > deadline_ && is_limited_) return false;
    heard_ = SteadyClock::now();
    auto taken = streaming_ ? call_.on_piece(piece) : append(piece);
    if (!taken) error_ = std::move(taken.error());
    return taken.has_value();
  }

  Result<> append(std::string_view piece) {
    if (piece.size() > call_.body_limit - body_.size())
      return fail(Code::corrupt, "the answer is longer than " + std::to_string(call_.body_limit) + " bytes");
    body_ += piece;
    return {};
  }

  const HttpCall& call_;
  const bool is_limited_;  // in all
  const milliseconds timeout_;
  const Deadline deadline_;
  SteadyClock::time_point heard_ = SteadyClock::now();
  bool streaming_ = false;
  std::string body_;
  std::optional<Error> error_;
};

void set_up(httplib::Client& client, milliseconds connect_timeout, milliseconds timeout) {
  client.set_address_family(AF_UNIX);
  client.set_keep_alive(false);
  client.set_url_encode(false);
  client.set_decompress(false);
  client.set_connection_timeout(connect_timeout);
  client.set_read_timeout(timeout);
  client.set_write_timeout(timeout);
}

/// Why httplib gave up, in the words of a user.
tl::unexpected<Error> failure(httplib::Error error, const std::string& socket, Exchange& exchange,
                              const Interrupt* interrupt) {
  if (auto own = exchange.take_error()) return tl::unexpected<Error>(std::move(*own));
  if (interrupt && interrupt->tripped()) return fail(Code::cancelled, "stopped");
  if (error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout)
    return fail(Code::unavailable, "nothing listens on the Engine's socket " + socket);
  if (exchange.timed_out())
    return fail(Code::unavailable, "the Engine at " + socket + " did not answer within " +
                                       std::to_string(exchange.timeout().count()) + " ms");
  return fail(Code::unavailable, "the Engine at " + socket + " closed the connection");
}

}  // namespace

std::string url_escape(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  constexpr std::string_view unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string escaped;
  for (const char c : text) {
    if (unreserved.find(c) != std::string_view::npos) {
      escaped += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      escaped += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return escaped;
}

Result<HttpAnswer> http_exchange(const std::filesystem::path& socket, const HttpCall& call) {
  if (socket.native().size() >= sizeof(sockaddr_un::sun_path))
    return fail(Code::invalid_argument, "the path of the Engine's socket is too long: " + socket.string());
  Exchange exchange(call);
  httplib::Client client(socket.string(), 80);
  set_up(client, call.connect_timeout, exchange.timeout());
  auto request = exchange.request();
  httplib::Response response;
  auto error = httplib::Error::Success;
  const Interrupt::Guard guard(call.interrupt, [&client] { client.stop(); });
  if (!guard.admitted()) return fail(Code::cancelled, "stopped");
  if (!client.send(request, response, error)) return failure(error, socket.string(), exchange, call.interrupt);
  return HttpAnswer{response.status, exchange.take_body(), response.get_header_value("Api-Version")};
}

}  // namespace ferry::engine
