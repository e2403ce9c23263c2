#include "engine/client.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "engine/lines.h"

namespace ferry::engine {

namespace {

using nlohmann::json;

constexpr std::time_t replay_s = 30;

/// moby's server/middleware/version.go; the texts are "client version X is too old. …" and "… too new. …".
bool refuses_version(const HttpAnswer& answer) {
  return answer.status == 400 && decode_error(answer.body).starts_with("client version ");
}

Code code_of(int status) {
  switch (status) {
    case 400: return Code::invalid_argument;
    case 403: return Code::denied;
    case 404: return Code::not_found;
    case 409: return Code::busy;
    case 503: return Code::unavailable;
    default: return Code::io;
  }
}

Result<std::string> volume_target(const std::string& name) {
  if (name.empty() || name == "." || name == "..")
    return fail(Code::invalid_argument, quote(name) + " is no name of a volume");
  return "/volumes/" + url_escape(name);
}

/// Health checks alone would make several exec events a second per container, so the actions are named.
std::string events_target() {
  const json filters = {
      {"type", {"volume", "container", "plugin"}},
      {"event", {"create", "mount", "unmount", "destroy", "start", "die", "rename", "pause", "unpause", "enable"}}};
  return "/events?since=" + std::to_string(std::time(nullptr) - replay_s) + "&filters=" + url_escape(filters.dump());
}

}  // namespace

Client::Client(std::filesystem::path socket, ClientLimits limits) : socket_(std::move(socket)), limits_(limits) {}

Result<Volume> Client::volume(const std::string& name) {
  FERRY_ASSIGN(const auto target, volume_target(name));
  FERRY_ASSIGN(const auto body, get(target));
  return decode_volume(body);
}

Result<std::vector<Volume>> Client::volumes(Interrupt* interrupt) {
  FERRY_ASSIGN(const auto body, request({.target = "/volumes", .timeout = limits_.change, .interrupt = interrupt}));
  return decode_volumes(body);
}

Result<> Client::remove_volume(const std::string& name) {
  FERRY_ASSIGN(const auto target, volume_target(name));
  FERRY_TRY(request({.method = "DELETE", .target = target, .timeout = limits_.change}));
  return {};
}

Result<Volume> Client::create_volume(const std::string& name, const std::string& driver, const StringMap& options,
                                     const StringMap& labels) {
  json body = {{"Name", name}, {"Driver", driver}, {"DriverOpts", options}, {"Labels", labels}};
  try {
    (void)body.dump();
  } catch (const json::exception&) {
    return fail(Code::invalid_argument, "an option or a label of " + quote(name) + " is not UTF-8");
  }
  // The Engine tells none, which it shows as null, from an empty set. `docker volume create` sends the former as of
  // Docker 23 (API 1.42), and the latter before.
  FERRY_ASSIGN(const auto api, version(nullptr));
  for (const auto* key : {"DriverOpts", "Labels"})
    if (api >= ApiVersion{1, 42} && body[key].empty()) body.erase(key);
  auto answer =
      request({.method = "POST", .target = "/volumes/create", .json_body = body.dump(), .timeout = limits_.change});
  if (!answer && answer.error().code == Code::busy) answer.error().code = Code::already_exists;
  FERRY_TRY(answer);
  return decode_volume(*answer);
}

Result<std::vector<ContainerMount>> Client::container_mounts(Interrupt* interrupt) {
  FERRY_ASSIGN(const auto body, get("/containers/json?all=1", interrupt));
  return decode_container_mounts(body);
}

Result<std::string> Client::data_root() {
  FERRY_ASSIGN(const auto body, get("/info"));
  return decode_data_root(body);
}

Result<std::string> Client::plugin_mount_source(const std::string& plugin_id, const std::string& mount_name) {
  FERRY_ASSIGN(const auto body, get("/plugins"));
  return decode_plugin_mount_source(body, plugin_id, mount_name);
}

Result<> Client::follow_events(Interrupt& interrupt, const std::function<void()>& on_open,
                               const std::function<void(const Event&)>& on_event) {
  set_version(std::nullopt);  // asked again: it tells in good time whether there is an Engine that answers
  Lines lines(limits_.event);
  const auto on_line = [&](std::string_view line) -> Result<> {
    FERRY_ASSIGN(const auto event, decode_event(line));
    on_event(event);
    return {};
  };
  FERRY_TRY(request({.target = events_target(),
                     .timeout = std::chrono::milliseconds::zero(),
                     .interrupt = &interrupt,
                     .on_open = on_open,
                     .on_piece = [&](std::string_view piece) { return lines.add(piece, on_line); }}));
  return fail(Code::unavailable, "the Engine ended its stream of events");
}

Result<std::string> Client::get(const std::string& target, Interrupt* interrupt,
                                std::optional<std::chrono::milliseconds> timeout) {
  return request({.target = target, .timeout = timeout.value_or(limits_.read), .interrupt = interrupt});
}

Result<std::string> Client::post(const std::string& target, const nlohmann::json& body,
                                 std::chrono::milliseconds timeout, Interrupt* interrupt) {
  HttpCall call{.method = "POST", .target = target, .timeout = timeout, .interrupt = interrupt};
  try {
    if (!body.is_null()) call.json_body = body.dump();
  } catch (const json::exception&) {
    return fail(Code::invalid_argument, "what " + target + " is to get is not UTF-8");
  }
  return request(std::move(call));
}

Result<> Client::remove(const std::string& target, std::chrono::milliseconds timeout, Interrupt* interrupt) {
  FERRY_TRY(request({.method = "DELETE", .target = target, .timeout = timeout, .interrupt = interrupt}));
  return {};
}

/// The body of a success. A refused version is negotiated anew once: the Engine was replaced by another.
Result<std::string> Client::request(HttpCall call) {
  const auto target = call.target;
  FERRY_ASSIGN(auto api, version(call.interrupt));
  call.target = "/v" + api.to_string() + target;
  FERRY_ASSIGN(auto answer, exchange(call));
  if (refuses_version(answer)) {
    FERRY_ASSIGN(api, renegotiate(api, call.interrupt));
    call.target = "/v" + api.to_string() + target;
    FERRY_ASSIGN(answer, exchange(call));
  }
  const bool was_so =
      call.method == "POST" && answer.status == 304;  // a container that is started, or stopped, and is so already
  if (was_so || (answer.status >= 200 && answer.status < 300)) return std::move(answer.body);
  return fail(code_of(answer.status), "Docker Engine: " + decode_error(answer.body));
}

/// Forgets the version when the Engine is lost, since another one may come back.
Result<HttpAnswer> Client::exchange(HttpCall call) {
  call.connect_timeout = limits_.connect;
  if (call.interrupt == nullptr) call.interrupt = &stopping_;
  call.body_limit = limits_.body;
  auto answer = http_exchange(socket_, call);
  if (!answer && answer.error().code == Code::unavailable) set_version(std::nullopt);
  return answer;
}

Result<ApiVersion> Client::version(Interrupt* interrupt) {
  {
    const std::lock_guard lock(mutex_);
    if (version_) return *version_;
  }
  FERRY_ASSIGN(const auto newest, negotiate(interrupt));
  const auto version = std::min(newest, newest_known);
  set_version(version);
  return version;
}

/// The newest version that the Engine speaks, from the one call that needs none.
Result<ApiVersion> Client::negotiate(Interrupt* interrupt) {
  FERRY_ASSIGN(const auto answer, exchange({.target = "/_ping", .timeout = limits_.read, .interrupt = interrupt}));
  if (answer.status != 200) return fail(Code::unavailable, "Docker Engine: " + decode_error(answer.body));
  const auto newest = ApiVersion::parse(answer.api_version);
  if (!newest)
    return fail(Code::corrupt,
                "what answers at " + socket_.string() + " names no Engine API version: " + quote(answer.api_version));
  return *newest;
}

/// An Engine that refuses the newest known version as too old gets its own: what Ferry reads has not changed
/// since 1.21.
Result<ApiVersion> Client::renegotiate(ApiVersion refused, Interrupt* interrupt) {
  FERRY_ASSIGN(const auto newest, negotiate(interrupt));
  const auto known = std::min(newest, newest_known);
  const auto version = known == refused ? newest : known;
  set_version(version);
  return version;
}

void Client::set_version(std::optional<ApiVersion> version) {
  const std::lock_guard lock(mutex_);
  version_ = version;
}

}  // namespace ferry::engine
