#include "driver/rpc_routes.h"

#include <strings.h>

#include "base/log.h"
#include "base/time.h"
#include "driver/rpc_messages.h"

namespace ferry::driver {

using nlohmann::json;

namespace {

Result<json> activate(VolumeDriver&, const Request&) { return activate_answer(); }

Result<json> capabilities(VolumeDriver&, const Request&) { return capabilities_answer(); }

Result<json> create(VolumeDriver& driver, const Request& request) {
  FERRY_TRY(driver.create(request.name, request.options));
  return json::object();
}

Result<json> remove(VolumeDriver& driver, const Request& request) {
  FERRY_TRY(driver.remove(request.name));
  return json::object();
}

Result<json> mount(VolumeDriver& driver, const Request& request) {
  FERRY_ASSIGN(const std::string mountpoint, driver.mount(request.name, request.id));
  // the Engine would resolve "" to the root directory of the plugin
  if (mountpoint.empty()) return fail(Code::io, "the volume has no mountpoint");
  return mountpoint_answer(mountpoint);
}

Result<json> unmount(VolumeDriver& driver, const Request& request) {
  FERRY_TRY(driver.unmount(request.name, request.id));
  return json::object();
}

Result<json> path(VolumeDriver& driver, const Request& request) {
  FERRY_ASSIGN(const std::string mountpoint, driver.path(request.name));
  return mountpoint_answer(mountpoint);
}

Result<json> get(VolumeDriver& driver, const Request& request) {
  FERRY_ASSIGN(const VolumeInfo volume, driver.get(request.name));
  return get_answer(request.name, volume);
}

Result<json> list(VolumeDriver& driver, const Request&) { return list_answer(driver.list()); }

enum class OnError { answer, hang_up_unless_absent };

struct Route {
  const char* method;
  Needs needs;
  Result<json> (*run)(VolumeDriver&, const Request&);
  OnError on_error = OnError::answer;
};

constexpr Route routes[] = {
    {"Plugin.Activate", Needs::nothing, activate},
    {"VolumeDriver.Capabilities", Needs::nothing, capabilities},
    {"VolumeDriver.Create", Needs::name_and_options, create},
    {"VolumeDriver.Remove", Needs::name, remove},
    {"VolumeDriver.Mount", Needs::name_and_id, mount},
    {"VolumeDriver.Unmount", Needs::name_and_id, unmount},
    {"VolumeDriver.Path", Needs::name, path},
    {"VolumeDriver.Get", Needs::name, get, OnError::hang_up_unless_absent},
    {"VolumeDriver.List", Needs::nothing, list},
};

const Route* find_route(std::string_view path) {
  if (path.empty() || path.front() != '/') return nullptr;
  const std::string method(path.substr(1));
  for (const auto& route : routes)
    if (::strcasecmp(route.method, method.c_str()) == 0) return &route;
  return nullptr;
}

/// ` "NAME" ["KEY", "KEY"]`; never an option's value.
std::string subject(const Request& request, Needs needs) {
  if (needs == Needs::nothing) return "";
  std::string text = " " + quote(request.name);
  if (request.options.empty()) return text;
  std::string keys;
  for (const auto& [key, value] : request.options) keys += (keys.empty() ? "" : ", ") + quote(key);
  return text + " [" + keys + "]";
}

/// A refusal of options quotes a value, for the user, who has typed it; the log does not get to see it.
std::string reason(const Request& request, const Error& error) {
  const bool may_quote_value = error.code == Code::invalid_argument && !request.options.empty();
  return may_quote_value ? std::string(to_string(error.code)) : quote(error.message);
}

Result<json> run(const Route& route, VolumeDriver& driver, const Request& request) {
  try {
    return route.run(driver, request);
  } catch (const std::exception& error) {
    spdlog::error("rpc {} threw {}", route.method, quote(error.what()));
  } catch (...) {
    spdlog::error("rpc {} threw something", route.method);
  }
  return fail(Code::io, "internal error, see the log of the plugin");
}

bool says_absent(Code code) { return code == Code::not_found || code == Code::invalid_argument; }

Answer to_answer(const Route& route, Result<json> result) {
  if (result) return {200, success_text(std::move(*result))};
  Answer answer{200, error_text(result.error().message)};
  answer.hang_up = route.on_error == OnError::hang_up_unless_absent && !says_absent(result.error().code);
  if (answer.hang_up)
    spdlog::error("rpc {} is not answered, so that the Engine keeps the volume's labels: {}", route.method,
                  quote(result.error().message));
  return answer;
}

}  // namespace

Answer answer_rpc(VolumeDriver& driver, std::string_view path, std::string_view body) {
  const Route* route = find_route(path);
  if (route == nullptr) return {404, error_text("there is no RPC " + quote(path))};
  const auto start = SteadyClock::now();
  auto request = parse_request(body, route->needs);
  auto result = request ? run(*route, driver, *request) : Result<json>(pass(request));
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - start).count();
  const std::string about = request ? subject(*request, route->needs) : "";
  if (result) spdlog::debug("rpc {}{} ok {} ms", route->method, about, took);
  if (!result)
    spdlog::debug("rpc {}{} failed {} ms: {}", route->method, about, took,
                  reason(request ? *request : Request{}, result.error()));
  return to_answer(*route, std::move(result));
}

}  // namespace ferry::driver
