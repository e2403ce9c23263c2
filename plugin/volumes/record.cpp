#include "volumes/record.h"

#include "base/log.h"

namespace ferry::volumes {

namespace {

constexpr int format = 1;

Result<State> parse_state(const std::string& text) {
  for (const State state : {State::ready, State::importing, State::failed, State::done, State::handed_off})
    if (text == to_string(state)) return state;
  return fail(Code::corrupt, "state " + quote(text) + " is unknown");
}

Result<> check_format(const nlohmann::json& found) {
  if (found == format) return {};
  if (found.is_number_unsigned() && found > format)
    return fail(Code::unsupported, "its record of format " + found.dump() + " is that of a later version of Ferry");
  return fail(Code::corrupt, "record format " + found.dump() + " is not known to this version of Ferry");
}

}  // namespace

std::string_view to_string(Mode mode) { return mode == Mode::ro ? "ro" : "rw"; }

std::string_view to_string(State state) {
  switch (state) {
    case State::ready: return "ready";
    case State::importing: return "importing";
    case State::failed: return "failed";
    case State::done: return "done";
    case State::handed_off: return "handed-off";
    case State::quarantined: return "quarantined";
  }
  return "failed";
}

Result<Mode> parse_mode(std::string_view text) {
  if (text == "rw") return Mode::rw;
  if (text == "ro") return Mode::ro;
  return fail(Code::invalid_argument, "mode=" + quote(text) + " is not known: use mode=rw or mode=ro");
}

std::string encode(const VolumeRecord& record) {
  nlohmann::json json = {
      {"format", format},
      {"name", record.name},
      {"created", record.created},
      {"mode", to_string(record.mode)},
      {"state", to_string(record.state)},
      {"lineage", record.lineage},
      {"epoch", record.epoch},
      {"options", record.options},
      {"labels", record.labels},
      {"labels_pending", record.labels_pending},
      {"reregistration", nullptr},
      {"import", record.import},
      {"migration", record.migration},
  };
  if (record.reregistration)
    json["reregistration"] = {{"driver", record.reregistration->driver},
                              {"labels", record.reregistration->labels},
                              {"options", record.reregistration->options}};
  // Left out where they say nothing, so that a version without them reads the rest.
  if (record.kind == Kind::ticket) json["kind"] = "ticket";
  if (!record.hand_off.is_null()) json["hand_off"] = record.hand_off;
  if (record.superseded)
    json["superseded"] = {{"labels", record.superseded->labels},
                          {"options", record.superseded->options},
                          {"everything", record.superseded->everything}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<VolumeRecord> decode(const std::string& text, const std::string& name) {
  try {
    const auto json = nlohmann::json::parse(text);
    FERRY_TRY(check_format(json.at("format")));
    VolumeRecord record;
    record.name = json.at("name").get<std::string>();
    if (record.name != name) return fail(Code::corrupt, "the record is that of " + quote(record.name));
    record.created = json.at("created").get<std::string>();
    const auto mode = parse_mode(json.at("mode").get<std::string>());
    if (!mode) return fail(Code::corrupt, mode.error().message);
    record.mode = *mode;
    FERRY_ASSIGN(record.state, parse_state(json.at("state").get<std::string>()));
    record.lineage = json.at("lineage").get<std::string>();
    if (!json.at("epoch").is_number_unsigned()) return fail(Code::corrupt, "epoch is not a whole number");
    record.epoch = json.at("epoch").get<std::uint64_t>();
    record.options = json.at("options").get<StringMap>();
    record.labels = json.at("labels").get<StringMap>();
    record.labels_pending = json.at("labels_pending").get<bool>();
    if (const auto& pending = json.at("reregistration"); !pending.is_null())
      record.reregistration =
          Reregistration{pending.at("driver").get<std::string>(), pending.at("labels").get<StringMap>(),
                         pending.at("options").get<StringMap>()};
    if (json.contains("kind")) {
      if (json["kind"] != "ticket") return fail(Code::corrupt, "kind " + quote(json["kind"].dump()) + " is unknown");
      record.kind = Kind::ticket;
    }
    if (json.contains("superseded"))
      record.superseded = Superseded{json["superseded"].at("labels").get<StringMap>(),
                                     json["superseded"].at("options").get<StringMap>(),
                                     json["superseded"].at("everything").get<bool>()};
    record.import = json.at("import");
    record.migration = json.at("migration");
    if (json.contains("hand_off")) record.hand_off = json["hand_off"];
    return record;
  } catch (const nlohmann::json::parse_error& error) {  // its text quotes the record, which may hold a secret
    return fail(Code::corrupt, "the record is no JSON from byte " + std::to_string(error.byte) + " on");
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, error.what());
  }
}

}  // namespace ferry::volumes
