#include "driver/rpc_server.h"

#include <limits>

#include "base/log.h"
#include "driver/rpc_messages.h"
#include "driver/rpc_routes.h"
#include "driver/rpc_socket.h"
#include "transport/body.h"
#include "transport/http_server.h"

namespace ferry::driver {

namespace {

constexpr std::size_t largest_body = 1U << 20;
constexpr const char* content_type = "application/vnd.docker.plugins.v1.2+json";
constexpr std::chrono::seconds message_timeout(60);
constexpr std::chrono::seconds stop_grace(8);  // the Engine kills a plugin 10 s after SIGTERM

std::unique_ptr<transport::SocketStream> open_plain(int fd) { return std::make_unique<transport::PlainStream>(fd); }

void refuse(httplib::Response& response, int status, std::string_view message) {
  response.status = status;
  response.set_content(error_text(message), content_type);
}

/// False: the response says what was wrong.
bool read_body(const httplib::ContentReader& read, httplib::Response& response, std::string& body) {
  const transport::Body outcome = transport::read_body(read, largest_body, body);
  if (outcome == transport::Body::too_large) refuse(response, 413, "the request is larger than 1 MiB");
  if (outcome == transport::Body::broken) refuse(response, 400, "the request's body cannot be read");
  return outcome == transport::Body::complete;
}

/// Errors that httplib finds get a body too.
httplib::Server::HandlerResponse add_error_text(const httplib::Request&, httplib::Response& response) {
  if (!response.body.empty()) return httplib::Server::HandlerResponse::Unhandled;
  const bool absent = response.status == 404;
  refuse(response, response.status,
         absent ? "there is nothing here but POST /VolumeDriver.*" : "the request cannot be read");
  return httplib::Server::HandlerResponse::Handled;
}

}  // namespace

struct RpcServer::Impl {
  Impl(VolumeDriver& volume_driver, std::filesystem::path path)
      : driver(volume_driver),
        socket(std::move(path)),
        http(open_plain, {std::numeric_limits<std::size_t>::max(), "", message_timeout}) {
    http.Post("/.*", [this](const httplib::Request& request, httplib::Response& response,
                            const httplib::ContentReader& read) { serve(request, response, read); });
    http.set_error_handler(httplib::Server::HandlerWithResponse(add_error_text));
  }

  void serve(const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& read) {
    std::string body;
    if (!read_body(read, response, body)) return;
    const Answer answer = answer_rpc(driver, request.path, body);
    if (answer.hang_up) transport::HttpServer::drop_current_connection();
    response.status = answer.status;
    response.set_content(answer.body, content_type);
  }

  VolumeDriver& driver;
  RpcSocket socket;
  transport::HttpServer http;
};

RpcServer::RpcServer(VolumeDriver& driver, std::filesystem::path socket)
    : impl_(std::make_unique<Impl>(driver, std::move(socket))) {}

RpcServer::~RpcServer() { stop(); }

Result<> RpcServer::start() {
  FERRY_ASSIGN(Fd listening, impl_->socket.listen());
  return impl_->http.serve(std::move(listening));
}

void RpcServer::stop() {
  impl_->socket.unlink();
  impl_->http.stop_serving(stop_grace);
}

}  // namespace ferry::driver
