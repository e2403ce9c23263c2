#include "peer/messages.h"

#include <array>
#include <set>

#include "base/host_name.h"
#include "base/log.h"
#include "peer/message_text.h"
#include "volumes/names.h"

namespace ferry::peer {

namespace {

using nlohmann::json;

constexpr std::size_t longest_error = 4096;
constexpr std::size_t longest_warning = 500;
constexpr std::uint64_t longest_freeze_ms = 24 * 3600 * 1000;

/// What a peer may report. Not Code::cancelled, which only this host can mean.
constexpr std::array codes = {Code::invalid_argument, Code::not_found,   Code::already_exists, Code::busy,
                              Code::denied,           Code::unavailable, Code::no_space,       Code::corrupt,
                              Code::unsupported,      Code::io};

std::uint16_t port(const json& value) {
  const std::uint64_t number = count(value);
  if (number > UINT16_MAX) throw Mismatch("its port is none");
  return static_cast<std::uint16_t>(number);
}

/// One that can still be raised.
std::uint64_t fence_epoch(const json& value) {
  const std::uint64_t epoch = count(value);
  if (epoch > INT64_MAX / 2) throw Mismatch("its epoch is too high");
  return epoch;
}

/// By migration::FenceAnswer::Stand.
constexpr std::array<std::string_view, 4> stands = {"fenced", "gone", "newer", "left"};

/// Of a Status, as docs/status.md has them.
constexpr std::array numbers = {"changed",     "round",         "bytes_total",   "bytes_done",
                                "bytes_sent",  "files_total",   "files_done",    "rate_bytes_per_s",
                                "eta_s",       "files_to_send", "bytes_to_send", "names_to_remove",
                                "predicted_s", "downtime_ms",   "dirty_bytes",   "predicted_downtime_ms"};
constexpr std::array texts = {"name",   "source",      "action", "state",   "phase",
                              "digest", "consistency", "error",  "finished"};
constexpr std::size_t most_volumes = 1000;
constexpr std::size_t most_warnings = 20;
constexpr std::size_t most_steps = 1000;

json known_rounds(const json& given) {
  auto rounds = json::array();
  if (!given.is_array()) throw Mismatch("its rounds are not a list");
  for (const auto& round : given) {
    if (rounds.size() == most_steps) throw Mismatch("it has too many rounds");
    rounds.push_back({{"bytes_sent", round.at("bytes_sent").get<std::uint64_t>()},
                      {"ms", round.at("ms").get<std::uint64_t>()},
                      {"frozen", round.at("frozen").get<bool>()}});
  }
  return rounds;
}

json known_members(const json& given) {
  json known = json::object();
  for (const char* member : numbers)
    if (const auto found = given.find(member); found != given.end() && (found->is_number() || found->is_null()))
      known[member] = *found;
  for (const char* member : texts) {
    const auto found = given.find(member);
    if (found == given.end()) continue;
    known[member] = found->is_string() ? json(printable(found->get<std::string>(), longest_warning)) : json(nullptr);
  }
  if (const auto found = given.find("verified"); found != given.end() && found->is_boolean())
    known["verified"] = *found;
  if (const auto found = given.find("rounds"); found != given.end()) known["rounds"] = known_rounds(*found);
  if (const auto found = given.find("warnings"); found != given.end() && found->is_array()) {
    known["warnings"] = json::array();
    for (const auto& warning : *found)
      if (warning.is_string() && known["warnings"].size() < most_warnings)
        known["warnings"].push_back(printable(warning.get<std::string>(), longest_warning));
  }
  return known;
}

/// How far a service has come.
json known_steps(const json& service) {
  const auto known = [](const json& text) {
    return text.is_null() ? text : json(printable(text.get<std::string>(), longest_warning));
  };
  auto steps = json::array();
  for (const auto& step : service.at("steps")) {
    if (steps.size() == most_steps) throw Mismatch("it has too many steps");
    steps.push_back({{"step", known(step.at("step"))}, {"at", known(step.at("at"))}});
  }
  return {{"step", known(service.at("step"))}, {"steps", std::move(steps)}};
}

bool is_id(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// What a host calls itself, as far as it can be shown.
std::string host_name_of(const json& message) {
  const auto found = message.find("name");
  if (found == message.end() || !found->is_string()) return {};
  auto name = found->get<std::string>();
  return is_host_name(name) ? name : std::string();
}

json to_json(const migration::FenceRequest& request) {
  return {{"volume", request.volume}, {"lineage", request.lineage}, {"epoch", request.epoch},
          {"target", request.target}, {"port", request.port},       {"name", request.name}};
}

Result<migration::FenceRequest> fence_of(const json& message) {
  migration::FenceRequest request;
  request.volume = message.at("volume").get<std::string>();
  request.lineage = short_string(message.at("lineage"), 64);
  request.epoch = fence_epoch(message.at("epoch"));
  request.target = message.at("target").get<std::string>();
  request.port = port(message.at("port"));
  request.name = host_name_of(message);
  FERRY_TRY(volumes::check_name(request.volume));
  FERRY_TRY(volumes::check_name(request.target));
  return request;
}

json to_json(const migration::FenceAnswer& answer) {
  return {{"state", stands[static_cast<std::size_t>(answer.stand)]},
          {"epoch", answer.epoch},
          {"mounted", answer.mounted},
          {"to", answer.to}};
}

Result<migration::FenceAnswer> fence_answer_of(const json& message) {
  const auto stand = std::find(stands.begin(), stands.end(), message.at("state").get<std::string>());
  if (stand == stands.end()) throw Mismatch("it has an unknown state of a volume");
  migration::FenceAnswer answer;
  answer.stand = static_cast<migration::FenceAnswer::Stand>(stand - stands.begin());
  answer.epoch = fence_epoch(message.at("epoch"));
  answer.mounted = message.at("mounted").get<bool>();
  answer.to = printable(short_string(message.at("to"), 300));
  return answer;
}

json to_json(const OpenRequest& request) {
  json message = {{"freeze", migration::to_string(request.freeze)}};
  if (!request.frozen.empty()) message["frozen"] = request.frozen;
  if (request.container.empty())
    message["volume"] = request.volume;
  else
    message["container"] = request.container;
  return message;
}

Result<migration::Freeze> freeze_of(const json& message) {
  const auto text = message.at("freeze").get<std::string>();
  for (const auto freeze : migration::all_freezes)
    if (text == migration::to_string(freeze)) return freeze;
  return fail(Code::unsupported, "this Ferry does not have freeze=" + quote(text));
}

Result<OpenRequest> open_request(const json& message) {
  OpenRequest request;
  request.volume = message.at("volume").get<std::string>();
  FERRY_TRY(volumes::check_name(request.volume));
  FERRY_ASSIGN(request.freeze, freeze_of(message));
  if (message.contains("frozen")) request.frozen = short_string(message["frozen"], 64);
  return request;
}

Result<migration::Terms> terms_of(const json& message) {
  migration::Terms terms = migration::terms_of(message);
  json understood = json::object();
  migration::add_to_json(understood, terms);
  if (understood["freeze"] != message.at("freeze"))
    return fail(Code::unsupported, "this Ferry does not have freeze=" + quote(message["freeze"].dump()));
  if (understood["compress"] != message.at("compress"))
    return fail(Code::unsupported, "this Ferry does not have compress=" + quote(message["compress"].dump()));
  terms.limit = count(message.at("limit"));
  terms.max_freeze_ms = std::min(terms.max_freeze_ms, longest_freeze_ms);
  FERRY_TRY(check(terms.rounds));
  return terms;
}

}  // namespace

std::string encode(const Hello& hello) {
  json message = {{"ferry", hello.version}, {"uuid", hello.uuid}};
  for (const auto& fence : hello.fences) {
    json one = to_json(fence);
    one["id"] = fence.id;
    message["fences"].push_back(std::move(one));
  }
  return dump(message);
}

Result<Hello> decode_hello(const std::string& text) {
  return decode_with<Hello>(text, "greeting", [](const json& message) -> Result<Hello> {
    Hello hello{short_string(message.at("ferry"), 64), short_string(message.at("uuid"), 64), {}};
    for (const auto& one : message.value("fences", json::array())) {
      FERRY_ASSIGN(auto fence, fence_of(one));
      fence.id = one.at("id").get<std::string>();
      if (!is_id(fence.id)) throw Mismatch("the ID of a fence is none");
      hello.fences.push_back(std::move(fence));
      if (hello.fences.size() > most_volumes) throw Mismatch("it has too many fences");
    }
    return hello;
  });
}

std::string encode(const migration::VolumeDescription& description) {
  return dump({{"volume", description.volume},
               {"driver", description.driver},
               {"lineage", description.lineage},
               {"instance", description.instance},
               {"owner", description.owner},
               {"epoch", description.epoch},
               {"mode", volumes::to_string(description.mode)},
               {"labels", description.labels},
               {"options", description.options},
               {"labels_known", description.labels_known},
               {"bytes", description.bytes}});
}

Result<migration::VolumeDescription> decode_description(const std::string& text) {
  using migration::VolumeDescription;
  return decode_with<VolumeDescription>(
      text, "description of a volume", [](const json& message) -> Result<VolumeDescription> {
        VolumeDescription description;
        description.volume = short_string(message.at("volume"), 255);
        description.driver = short_string(message.at("driver"), 64);
        description.lineage = short_string(message.at("lineage"), 64);
        description.owner = message.value("owner", false);                       // earlier versions hand nothing off
        description.instance = short_string(message.value("instance", ""), 64);  // earlier versions have none
        description.epoch = count(message.at("epoch"));
        const auto mode = volumes::parse_mode(message.at("mode").get<std::string>());
        if (!mode) return fail(Code::corrupt, "the peer's description of a volume has an unknown mode");
        description.mode = *mode;
        description.labels = message.at("labels").get<volumes::StringMap>();
        description.options = message.at("options").get<volumes::StringMap>();
        description.labels_known = message.at("labels_known").get<bool>();
        description.bytes = count(message.at("bytes"));
        return description;
      });
}

std::string encode(const OpenRequest& request) { return dump(to_json(request)); }

Result<OpenRequest> decode_open_request(const std::string& text) {
  return decode_with<OpenRequest>(text, "request", [](const json& message) -> Result<OpenRequest> {
    if (!message.contains("container")) return open_request(message);
    if (message.contains("volume")) throw Mismatch("it has a volume and a container");
    OpenRequest request;
    request.container = message["container"].get<std::string>();
    FERRY_TRY(migration::check_container(request.container));
    FERRY_ASSIGN(request.freeze, freeze_of(message));
    return request;
  });
}

std::string encode(const DescribeRequest& request) {
  json message = to_json(request.of);
  message["room"] = request.room;
  return dump(message);
}

Result<DescribeRequest> decode_describe_request(const std::string& text) {
  return decode_with<DescribeRequest>(text, "request", [](const json& message) -> Result<DescribeRequest> {
    FERRY_ASSIGN(OpenRequest of, open_request(message));
    return DescribeRequest{std::move(of), count(message.at("room"))};
  });
}

std::string encode_opened(const std::string& id) { return dump({{"source", id}}); }

Result<std::string> decode_opened(const std::string& text) {
  return decode_with<std::string>(text, "answer", [](const json& message) -> Result<std::string> {
    const auto id = message.at("source").get<std::string>();
    if (id.empty() || id.size() > 64 || id.find_first_not_of("0123456789abcdef") != std::string::npos)
      return fail(Code::corrupt, "the peer's answer has no usable source ID");
    return id;
  });
}

std::string encode(const SealRequest& request) { return dump({{"unchanged", request.unchanged}}); }

Result<SealRequest> decode_seal_request(const std::string& text) {
  return decode_with<SealRequest>(text, "request", [](const json& message) -> Result<SealRequest> {
    return SealRequest{message.at("unchanged").get<bool>()};
  });
}

std::string encode(const sync::Seal& seal) {
  return dump({{"changed", seal.changed},
               {"examples", seal.examples},
               {"consistency", seal.consistency},
               {"warning", seal.warning}});
}

Result<sync::Seal> decode_seal(const std::string& text) {
  return decode_with<sync::Seal>(text, "seal", [](const json& message) -> Result<sync::Seal> {
    sync::Seal seal;
    seal.changed = count(message.at("changed"));
    for (const auto& entry : message.value("examples", json::array())) {
      const std::uint64_t index = count(entry);
      if (seal.examples.size() == sync::Seal::most_examples || index > UINT32_MAX)
        return fail(Code::corrupt, "the peer's seal has unusable examples");
      seal.examples.push_back(static_cast<std::uint32_t>(index));
    }
    const auto consistency = message.at("consistency").get<std::string>();
    seal.consistency = consistency == "idle" ? "idle" : consistency == "frozen" ? "frozen" : "live";
    seal.warning = printable(message.at("warning").get<std::string>(), longest_warning);
    return seal;
  });
}

std::string encode(const migration::HandOffRequest& request) {
  json message = {{"volumes", json::array()}, {"uuid", request.uuid}, {"port", request.port}, {"name", request.name}};
  for (const auto& volume : request.volumes)
    message["volumes"].push_back({{"source", volume.source},
                                  {"target", volume.target},
                                  {"epoch", volume.epoch},
                                  {"lineage", volume.lineage},
                                  {"local", volume.local}});
  if (!request.container.empty()) message["container"] = request.container;
  if (!request.after.empty()) message["after"] = request.after;
  if (!request.as.empty()) message["as"] = request.as;
  if (!request.layer) message["layer"] = false;
  return dump(message);
}

Result<migration::HandOffRequest> decode_hand_off_request(const std::string& text) {
  using migration::HandOffRequest;
  return decode_with<HandOffRequest>(text, "request", [](const json& message) -> Result<HandOffRequest> {
    HandOffRequest request;
    request.uuid = short_string(message.at("uuid"), 64);
    request.port = port(message.at("port"));
    request.name = host_name_of(message);
    std::set<std::string> sources;
    for (const auto& volume : message.at("volumes")) {
      request.volumes.push_back({volume.at("source").get<std::string>(), volume.at("target").get<std::string>(),
                                 count(volume.at("epoch")), short_string(volume.at("lineage"), 64),
                                 volume.at("local").get<bool>()});
      FERRY_TRY(volumes::check_name(request.volumes.back().source));
      FERRY_TRY(volumes::check_name(request.volumes.back().target));
      if (!sources.insert(request.volumes.back().source).second) throw Mismatch("a volume is there twice");
    }
    if (message.contains("container")) {
      request.container = message["container"].get<std::string>();
      FERRY_TRY(migration::check_container(request.container));
    }
    if (message.contains("after")) request.after = short_string(message["after"], 64);
    request.layer = message.value("layer", true);
    if (message.contains("as")) {
      request.as = message["as"].get<std::string>();
      FERRY_TRY(migration::check_container(request.as));
    }
    const bool is_nothing = request.volumes.empty() && request.container.empty();
    if (is_nothing || request.volumes.size() > most_volumes) throw Mismatch("it has no or too many volumes");
    return request;
  });
}

std::string encode(const migration::FreezeRequest& request) {
  return dump({{"volumes", request.volumes},
               {"kind", migration::to_string(request.kind)},
               {"longest_ms", request.longest.count()}});
}

Result<migration::FreezeRequest> decode_freeze_request(const std::string& text) {
  using migration::FreezeRequest;
  return decode_with<FreezeRequest>(text, "request", [](const json& message) -> Result<FreezeRequest> {
    FreezeRequest request;
    std::set<std::string> names;
    if (!message.at("volumes").is_array()) throw Mismatch("its volumes are not a list");
    for (const auto& volume : message["volumes"]) {
      request.volumes.push_back(volume.get<std::string>());
      FERRY_TRY(volumes::check_name(request.volumes.back()));
      if (!names.insert(request.volumes.back()).second) throw Mismatch("a volume is there twice");
      if (names.size() > most_volumes) throw Mismatch("it has too many volumes");
    }
    if (names.empty()) throw Mismatch("it has no volumes");
    const auto kind = migration::freeze_kind_of(message.at("kind").get<std::string>());
    if (!kind) throw Mismatch("it has an unknown kind of freeze");
    request.kind = *kind;
    request.longest = std::chrono::milliseconds(std::min(count(message.at("longest_ms")), longest_freeze_ms));
    return request;
  });
}

namespace {

Result<bool> decode_bool(const std::string& text, const char* name) {
  return decode_with<bool>(text, "answer",
                           [name](const json& message) -> Result<bool> { return message.at(name).get<bool>(); });
}

}  // namespace

std::string encode_held(bool held) { return dump({{"held", held}}); }

Result<bool> decode_held(const std::string& text) { return decode_bool(text, "held"); }

std::string encode_lasted(bool lasted) { return dump({{"lasted", lasted}}); }

Result<bool> decode_lasted(const std::string& text) { return decode_bool(text, "lasted"); }

std::string encode(const migration::FenceRequest& request) { return dump(to_json(request)); }

Result<migration::FenceRequest> decode_fence_request(const std::string& text) {
  return decode_with<migration::FenceRequest>(text, "request", fence_of);
}

std::string encode(const migration::FenceAnswer& answer) { return dump(to_json(answer)); }

Result<migration::FenceAnswer> decode_fence_answer(const std::string& text) {
  return decode_with<migration::FenceAnswer>(text, "answer", fence_answer_of);
}

std::string encode(const FenceReport& report) {
  json message = to_json(report.answer);
  message["volume"] = report.volume;
  return dump(message);
}

Result<FenceReport> decode_fence_report(const std::string& text) {
  return decode_with<FenceReport>(text, "request", [](const json& message) -> Result<FenceReport> {
    FERRY_ASSIGN(const auto answer, fence_answer_of(message));
    return FenceReport{message.at("volume").get<std::string>(), answer};
  });
}

std::string encode(migration::hand_off::Answer answer) { return dump({{"state", to_string(answer)}}); }

Result<migration::hand_off::Answer> decode_hand_off_answer(const std::string& text) {
  using migration::hand_off::Answer;
  return decode_with<Answer>(text, "answer", [](const json& message) -> Result<Answer> {
    for (const Answer answer : {Answer::held, Answer::given, Answer::gone, Answer::reclaimed})
      if (message.at("state") == to_string(answer)) return answer;
    return fail(Code::corrupt, "the peer's answer has an unknown state of a hand-off");
  });
}

std::string encode_export_request(const migration::TicketRequest& request) {
  json message = {
      {"volumes", json::array()}, {"replace", request.replace}, {"dry_run", request.dry_run}, {"move", request.move}};
  for (const auto& volume : request.volumes)
    if (!request.service) message["volumes"].push_back({{"source", volume.source}, {"target", volume.target}});
  if (request.service) message["service"] = migration::to_json(*request.service);
  migration::add_to_json(message, request.terms);
  return dump(message);
}

Result<migration::TicketRequest> decode_export_request(const std::string& text) {
  using migration::TicketRequest;
  return decode_with<TicketRequest>(text, "request", [](const json& message) -> Result<TicketRequest> {
    TicketRequest request;
    request.replace = message.at("replace").get<bool>();
    request.dry_run = message.at("dry_run").get<bool>();
    request.move = message.value("move", false);  // earlier versions have none
    FERRY_ASSIGN(request.terms, terms_of(message));
    std::set<std::string> targets;
    for (const auto& volume : message.at("volumes")) {
      request.volumes.push_back({volume.at("source").get<std::string>(), volume.at("target").get<std::string>()});
      FERRY_TRY(volumes::check_name(request.volumes.back().source));
      FERRY_TRY(volumes::check_name(request.volumes.back().target));
      FERRY_TRY(volumes::check_not_reserved(request.volumes.back().target));
      if (!targets.insert(request.volumes.back().target).second) throw Mismatch("a volume is there twice");
    }
    if (message.contains("service")) {
      request.service = migration::service_options_of(message["service"]);
      FERRY_TRY(migration::check(*request.service));
      if (!request.hands_off()) throw Mismatch("it has a service that is not to be handed off");
    }
    if (request.volumes.empty() != request.service.has_value() || request.volumes.size() > most_volumes)
      throw Mismatch("it has no or too many volumes");
    return request;
  });
}

std::string encode_status(const nlohmann::json& status) { return dump(status); }

Result<json> decode_status(const std::string& text) {
  return decode_with<json>(text, "status", [](const json& message) -> Result<json> {
    json status = {{"state", printable(message.at("state").get<std::string>(), longest_warning)},
                   {"migration", known_members(message.at("migration"))},
                   {"volumes", json::array()}};
    for (const auto& volume : message.at("volumes")) {
      if (status["volumes"].size() == most_volumes) throw Mismatch("it has too many volumes");
      status["volumes"].push_back(known_members(volume));
    }
    if (message.contains("service")) status["service"] = known_steps(message["service"]);
    return status;
  });
}

std::string encode(const Error& error) { return dump({{"code", to_string(error.code)}, {"error", error.message}}); }

int status_of(Code code) {
  switch (code) {
    case Code::invalid_argument: return 400;
    case Code::denied: return 403;
    case Code::not_found: return 404;
    case Code::already_exists:
    case Code::busy: return 409;
    case Code::unavailable: return 503;
    case Code::no_space: return 507;
    case Code::unsupported: return 501;
    default: return 500;
  }
}

Error decode_error(int status, const std::string& text, const std::string& peer) {
  const auto message = json::parse(text.substr(0, longest_error * 4), nullptr, false);
  if (!message.is_object() || !message.contains("error") || !message["error"].is_string() || !message.contains("code"))
    return {Code::unsupported, "peer " + peer + " answered with HTTP status " + std::to_string(status) +
                                   "; does it run another version of Ferry?"};
  Code code = Code::io;
  for (const Code candidate : codes)
    if (message["code"] == to_string(candidate)) code = candidate;
  return {code, "peer " + peer + ": " + printable(short_string(message["error"], longest_error))};
}

}  // namespace ferry::peer
