#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/interrupt.h"

/// HTTP/1.1 over a Unix socket: the only place in engine/ that knows cpp-httplib. Uses only what 0.11 and 0.18 share.
namespace ferry::engine {

/// Escapes everything but the unreserved characters of RFC 3986, so that any name is one path segment.
std::string url_escape(std::string_view text);

struct HttpCall {
  std::string method = "GET";
  std::string target{};     ///< path and query, already escaped
  std::string json_body{};  ///< sent as application/json; empty: no body
  std::chrono::milliseconds connect_timeout{2000};
  /// For any pause in the answer and for the whole of it, so at most twice this passes. Zero: none (a stream).
  std::chrono::milliseconds timeout{5000};
  /// Not zero: for any pause, in place of `timeout`, and no limit for the whole.
  std::chrono::milliseconds pause{0};
  std::size_t body_limit = 64U << 20;  ///< bytes of body that are kept; more is Code::corrupt
  Interrupt* interrupt = nullptr;

  /// With on_piece, the body of a 200 goes there in pieces of any size instead of into the answer; an error from it
  /// ends the exchange and is returned. on_open is called once before.
  std::function<void()> on_open{};
  std::function<Result<>(std::string_view)> on_piece{};

  /// In place of json_body: hands the body on to the sink, in pieces of any size; an error from it ends the exchange
  /// and is returned. Code::io: the Engine takes no more. `body_type`: its media type.
  std::function<Result<>(const std::function<Result<>(std::string_view)>& sink)> write_body{};
  std::string body_type{};
};

struct HttpAnswer {
  int status = 0;
  std::string body;
  std::string api_version;  ///< the Api-Version header, empty if absent
};

/// One exchange on its own connection, which is closed afterwards. Any status is an answer. Thread-safe.
/// Code::unavailable: no socket, nobody listens, nobody answers in time, or the connection broke.
/// Code::cancelled: the interrupt tripped. Code::corrupt: the body is longer than the limit.
/// The process must ignore SIGPIPE: httplib writes without MSG_NOSIGNAL.
Result<HttpAnswer> http_exchange(const std::filesystem::path& socket, const HttpCall& call);

}  // namespace ferry::engine
