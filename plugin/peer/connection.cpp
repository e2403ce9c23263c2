#include "peer/connection.h"

#include <algorithm>

#include "peer/messages.h"

namespace ferry::peer {

namespace {

constexpr std::size_t longest_answer = 64U << 20;
constexpr int ok_status = 200;

std::chrono::milliseconds time_to_connect(const Connection::Call& call) {
  if (!call.deadline) return call.connect_timeout;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*call.deadline - SteadyClock::now());
  return std::clamp(left, std::chrono::milliseconds(0), call.connect_timeout);
}

}  // namespace

Result<Connection::Client> Connection::take(std::chrono::milliseconds timeout, bool& reused) {
  {
    const std::lock_guard guard(mutex_);
    if (aborted_) return fail(Code::cancelled, "cancelled");
    reused = !idle_.empty();
    if (reused) {
      Client client = std::move(idle_.back());
      idle_.pop_back();
      in_use_.push_back(client.get());
      return client;
    }
  }
  FERRY_ASSIGN(Client client, transport_->connect(timeout));
  const std::lock_guard guard(mutex_);
  if (aborted_) return fail(Code::cancelled, "cancelled");
  in_use_.push_back(client.get());
  return client;
}

void Connection::give_back(Client client) {
  const std::lock_guard guard(mutex_);
  if (!aborted_) idle_.push_back(std::move(client));
}

Result<> Connection::send(const Call& call, const sync::ByteSink& sink) {
  bool reused = false;
  FERRY_ASSIGN(Client client, take(time_to_connect(call), reused));
  bool healthy = false;
  Result<> result = send_on(*client, call, sink, healthy);
  {
    const std::lock_guard guard(mutex_);
    std::erase(in_use_, client.get());
    if (aborted_) return fail(Code::cancelled, "cancelled");
  }
  if (healthy) give_back(std::move(client));
  return result;
}

Error Connection::explain(httplib::Error error, const Call& call) const {
  if (call.deadline && SteadyClock::now() >= *call.deadline)
    return {Code::unavailable, "peer " + transport_->peer() + " did not answer in time; is it overloaded?"};
  return transport_->explain(error);
}

Result<> Connection::send_on(transport::PeerClient& client, const Call& call, const sync::ByteSink& sink,
                             bool& healthy) {
  client.set_read_timeout(call.read_timeout);
  client.set_deadline(call.deadline);
  httplib::Request request;
  request.method = call.method;
  request.path = std::string(path_prefix) + call.path;
  request.body = call.body;
  if (call.method == "POST") request.headers.emplace("Content-Type", bytes_type);
  int status = 0;
  std::string error_body;
  Result<> sunk;
  request.response_handler = [&](const httplib::Response& response) {
    status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    if (status != ok_status) {
      error_body.append(data, std::min(size, longest_answer - std::min(longest_answer, error_body.size())));
      return true;
    }
    sunk = sink({data, size});
    return sunk.has_value();
  };
  httplib::Response response;
  httplib::Error error = httplib::Error::Success;
  const bool sent = client.send(request, response, error);
  if (!sunk) return pass(sunk);
  if (!sent) return tl::unexpected(explain(error, call));
  healthy = status == ok_status;  // the server may end the connection after an error, see transport/http_server.h
  if (status != ok_status) return tl::unexpected(decode_error(status, error_body, transport_->peer()));
  return {};
}

Result<std::string> Connection::ask(const Call& call) {
  std::string answer;
  FERRY_TRY(send(call, [&](std::string_view bytes) -> Result<> {
    if (bytes.size() > longest_answer - answer.size())
      return fail(Code::corrupt, "the answer of peer " + transport_->peer() + " is too long");
    answer.append(bytes);
    return {};
  }));
  return answer;
}

Result<> Connection::stream(const Call& call, const sync::ByteSink& sink) { return send(call, sink); }

void Connection::abort() {
  const std::lock_guard guard(mutex_);
  aborted_ = true;
  for (auto* client : in_use_) client->stop();
}

}  // namespace ferry::peer
