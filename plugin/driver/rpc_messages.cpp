#include "driver/rpc_messages.h"

#include <set>

#include "base/log.h"

namespace ferry::driver {

using nlohmann::json;

namespace {

constexpr int deepest = 16;  // the Engine's requests have a depth of two

/// Thrown out of the JSON parser's callback, as there is no other way to end it early.
struct Refused {
  std::string message;
};

/// Refuses what two parsers may read differently (duplicate keys) and what costs memory without meaning (depth).
class Strictness {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    using Event = json::parse_event_t;
    if (depth > deepest) throw Refused{"the request is nested deeper than " + std::to_string(deepest) + " levels"};
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && !keys_.back().insert(parsed.get<std::string>()).second)
      throw Refused{"the request has the key " + quote(parsed.get<std::string>()) + " twice"};
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

Result<json> parse_object(std::string_view body) {
  Strictness strictness;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    return strictness(depth, event, parsed);
  };
  try {
    json object = json::parse(body, check);
    if (object.is_object()) return object;
    return fail(Code::invalid_argument, "the request is not a JSON object");
  } catch (const json::exception&) {  // its text quotes the request, which may hold a secret
    return fail(Code::invalid_argument, "the request is not valid JSON in UTF-8");
  } catch (const Refused& refused) {
    return fail(Code::invalid_argument, refused.message);
  }
}

Result<std::string> string_field(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return fail(Code::invalid_argument, std::string("the request has no ") + field);
  if (!found->is_string())
    return fail(Code::invalid_argument, std::string("the request's ") + field + " is not a string");
  return found->get<std::string>();
}

Result<std::map<std::string, std::string>> options_field(const json& object) {
  std::map<std::string, std::string> options;
  const auto found = object.find("Opts");
  if (found == object.end() || found->is_null()) return options;
  if (!found->is_object()) return fail(Code::invalid_argument, "the request's Opts is not an object");
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string())
      return fail(Code::invalid_argument, "the value of option " + quote(key) + " is not a string");
    options.emplace(key, value.get<std::string>());
  }
  return options;
}

json volume_json(const std::string& name, const VolumeInfo& volume) {
  json result = {{"Name", name}, {"Mountpoint", volume.mountpoint}};
  // "" would make the whole answer undecodable: Go wants RFC 3339 or nothing
  if (!volume.created_at.empty()) result["CreatedAt"] = volume.created_at;
  return result;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

}  // namespace

Result<Request> parse_request(std::string_view body, Needs needs) {
  Request request;
  if (needs == Needs::nothing) return request;
  if (body.empty())
    return fail(Code::unavailable,
                "the request has no body, as when the Engine repeats one after a broken connection; try again");
  FERRY_ASSIGN(const json object, parse_object(body));
  FERRY_ASSIGN(request.name, string_field(object, "Name"));
  if (needs == Needs::name_and_id) {
    FERRY_ASSIGN(request.id, string_field(object, "ID"));
  }
  if (needs == Needs::name_and_options) {
    FERRY_ASSIGN(request.options, options_field(object));
  }
  return request;
}

json activate_answer() { return {{"Implements", json::array({"VolumeDriver"})}}; }

json capabilities_answer() { return {{"Capabilities", {{"Scope", "local"}}}}; }

json mountpoint_answer(const std::string& mountpoint) { return {{"Mountpoint", mountpoint}}; }

json get_answer(const std::string& name, const VolumeInfo& volume) {
  json result = volume_json(name, volume);
  if (volume.status.is_object()) result["Status"] = volume.status;
  return {{"Volume", std::move(result)}};
}

json list_answer(const std::vector<VolumeInfo>& volumes) {
  json list = json::array();
  for (const auto& volume : volumes) list.push_back(volume_json(volume.name, volume));
  return {{"Volumes", std::move(list)}};
}

std::string success_text(json answer) {
  answer["Err"] = "";
  return dump(answer);
}

std::string error_text(std::string_view message) {
  // an empty Err would mean success
  return dump({{"Err", message.empty() ? "failed without saying why" : message}});
}

}  // namespace ferry::driver
