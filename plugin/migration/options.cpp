#include "migration/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <string_view>

#include "base/duration.h"
#include "base/log.h"
#include "base/rate.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

constexpr std::array<std::string_view, 25> options_known = {
    "mode",   "from",    "to",    "freeze",  "limit",  "compress", "volume",      "as",        "max-freeze",
    "rename", "replace", "move",  "reclaim", "force",  "dry-run",  "retry",       "container", "rest",
    "binds",  "shared",  "layer", "start",   "rounds", "strict",   "max-downtime"};
constexpr std::string_view known =
    "mode, from, to, freeze, limit, compress, volume, as, rename, replace, move, reclaim, force, dry-run, retry, "
    "max-freeze, rounds, max-downtime, strict, and, for a service, container, rest, binds, shared, layer, start";

constexpr std::array<std::string_view, 2> of_later_versions = {"memory", "exclude"};

constexpr std::array<const char*, 3> of_rounds = {"rounds", "max-downtime", "strict"};

/// Options that only a service has.
constexpr std::array<const char*, 5> of_services = {"rest", "binds", "shared", "layer", "start"};

constexpr std::array<std::pair<const char*, sync::Compression>, 3> compressions = {
    {{"auto", sync::Compression::automatic}, {"zstd", sync::Compression::zstd}, {"none", sync::Compression::none}}};

/// Options that only a ticket has, beside volume.
constexpr std::array<const char*, 5> of_tickets = {"as", "rename", "replace", "move", "dry-run"};

/// What `from` may be.
constexpr const char* ways_from =
    "use from=HOST[:PORT][/VOLUME], from=ssh://[USER@]HOST[:PORT][/VOLUME], from=sftp://[USER@]HOST[:PORT]/PATH or "
    "from=file:///PATH";
/// What `to` may be, and `from` of a ticket.
constexpr const char* ways_of_ticket = "HOST[:PORT] or ssh://[USER@]HOST[:PORT]";

tl::unexpected<Error> refuse(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<> check_option(const std::string& key) {
  if (std::find(options_known.begin(), options_known.end(), key) != options_known.end()) return {};
  if (std::find(of_later_versions.begin(), of_later_versions.end(), key) != of_later_versions.end())
    return fail(Code::unsupported, "option " + key + " is not in this version of Ferry; it has: " + std::string(known));
  return refuse("unknown option " + quote(key) + "; Ferry has: " + std::string(known));
}

constexpr std::string_view scheme_mark = "://";

Result<> check_scheme(const std::string& option, const std::string& value, const std::string& ways) {
  const auto end = value.find(scheme_mark);
  if (end == std::string::npos) return {};
  const std::string scheme = value.substr(0, end);
  if (scheme == "ssh") return {};
  if (scheme == "sftp" || scheme == "file")
    return refuse("option " + option +
                  ": an archive is imported into a new volume, by from= alone, or exported with one "
                  "volume, by to= and volume=NAME; it goes with no other option of tickets but replace");
  return refuse(option + "=" + quote(scheme) + "://… has an unknown scheme; " + ways);
}

/// Where the volume's name begins, after the slash; npos: it has none.
std::size_t volume_in(const std::string& value) {
  const auto scheme = value.find(scheme_mark);
  const auto slash = value.find('/', scheme == std::string::npos ? 0 : scheme + scheme_mark.size());
  return slash == std::string::npos ? slash : slash + 1;
}

Result<ImportRequest> parse_from(const std::string& name, const std::string& value) {
  FERRY_TRY(check_scheme("from", value, ways_from));
  ImportRequest request;
  const auto volume = volume_in(value);
  const bool names_one = volume != std::string::npos;
  // No volume's name has an @, but a password may have a slash: nothing of it is repeated.
  if (names_one && value.find('@', volume) != std::string::npos)
    return refuse(std::string("option from: what stands before @ is no user; ") + ways_from);
  auto peer = transport::parse_peer_address(std::string_view(value).substr(0, names_one ? volume - 1 : volume));
  if (!peer) return refuse("option from: " + peer.error().message + "; " + ways_from);
  request.peer = std::move(*peer);
  request.volume = names_one ? value.substr(volume) : name;
  if (auto checked = volumes::check_name(request.volume); !checked)
    return refuse("option from: " + checked.error().message);
  return request;
}

/// The peer of a ticket: the volumes are named by option volume.
Result<transport::PeerAddress> parse_peer(const std::string& option, const std::string& value) {
  const std::string ways = "use " + option + "=" + ways_of_ticket;
  FERRY_TRY(check_scheme(option, value, ways));
  const auto volume = volume_in(value);
  if (volume != std::string::npos && value.find('@', volume) != std::string::npos)
    return refuse("option " + option + ": what stands before @ is no user; " + ways);
  if (volume != std::string::npos)
    return refuse("option " + option + ": with option volume it is a peer alone; " + ways);
  auto peer = transport::parse_peer_address(value);
  if (!peer) return refuse("option " + option + ": " + peer.error().message + "; " + ways);
  return std::move(*peer);
}

Result<ArchiveAddress> parse_archive(const std::string& option, const std::string& value) {
  auto address = parse_archive_address(value);
  if (!address) return refuse("option " + option + ": " + address.error().message);
  return address;
}

constexpr std::uint64_t longest_stop_ms = 60'000;  // a container may take 10 s to end, and some to start
constexpr std::uint64_t most_freeze_ms = 24 * 3600 * 1000;

Result<Freeze> parse_freeze(const std::string& value) {
  for (const Freeze freeze : {Freeze::pause, Freeze::stop, Freeze::none})
    if (value == to_string(freeze)) return freeze;
  return refuse("option freeze: " + quote(value) + " is not known; use freeze=pause, freeze=stop or freeze=none");
}

/// "A,B" as names, each of which may be checked to be one.
std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = list.find(','); end != std::string::npos; end = list.find(',', begin)) {
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(list.substr(begin));
  return parts;
}

Result<> check_volume(const std::string& option, const std::string& name) {
  if (auto checked = volumes::check_name(name); !checked)
    return refuse("option " + option + ": " + checked.error().message);
  return {};
}

Result<bool> parse_flag(const std::string& option, const std::string& value) {
  if (value == "true" || value == "false") return value == "true";
  return refuse("option " + option + ": " + quote(value) + " is neither; use " + option + "=true or " + option +
                "=false");
}

Result<> parse_volumes(const std::string& value, TicketRequest& ticket) {
  for (auto& name : split(value)) {
    FERRY_TRY(check_volume("volume", name));
    for (const auto& other : ticket.volumes)
      if (other.source == name) return refuse("option volume: " + name + " is there twice");
    ticket.volumes.push_back({name, name});
  }
  return {};
}

Result<> parse_as(const std::string& value, TicketRequest& ticket) {
  FERRY_TRY(check_volume("as", value));
  if (ticket.volumes.size() != 1)
    return refuse("option as: it names the one volume of a ticket, and this one has " +
                  std::to_string(ticket.volumes.size()) + "; use rename=OLD:NEW[,OLD:NEW…]");
  ticket.volumes.front().target = value;
  return {};
}

Result<> parse_rename(const std::string& value, TicketRequest& ticket) {
  for (const auto& part : split(value)) {
    const auto colon = part.find(':');
    if (colon == std::string::npos)
      return refuse("option rename: " + quote(part) + " is no OLD:NEW; use rename=OLD:NEW[,OLD:NEW…]");
    const std::string old = part.substr(0, colon);
    FERRY_TRY(check_volume("rename", part.substr(colon + 1)));
    const auto found = std::find_if(ticket.volumes.begin(), ticket.volumes.end(),
                                    [&](const TicketRequest::Volume& volume) { return volume.source == old; });
    if (found == ticket.volumes.end())
      return refuse("option rename: " + quote(old) + " is not among the volumes of option volume");
    if (found->target != old) return refuse("option rename: " + old + " is given two names");
    found->target = part.substr(colon + 1);
  }
  return {};
}

Result<> check_targets(const TicketRequest& ticket) {
  for (const auto& volume : ticket.volumes) FERRY_TRY(volumes::check_not_reserved(volume.target));
  for (std::size_t i = 0; i < ticket.volumes.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (ticket.volumes[j].target == ticket.volumes[i].target)
        return refuse("two volumes of the ticket would be named " + ticket.volumes[i].target +
                      " at the destination; use option rename");
  return {};
}

/// A ticket is a name among those of this host's volumes.
Result<> check_own_name(const std::string& name, const TicketRequest& ticket, bool exports) {
  for (const auto& volume : ticket.volumes)
    if ((exports ? volume.source : volume.target) == name)
      return refuse("volume " + name + " cannot have the ticket's own name; give the ticket another one");
  return {};
}

Result<TicketRequest> parse_ticket(const std::string& name, const volumes::StringMap& options) {
  TicketRequest ticket;
  const bool exports = options.contains("to");
  if (!exports && !options.contains("from"))
    return refuse("option volume belongs to a ticket: add from=HOST[:PORT] to import, or to=HOST[:PORT] to export");
  const std::string option = exports ? "to" : "from";
  FERRY_ASSIGN(ticket.peer, parse_peer(option, options.at(option)));
  if (options.contains("mode"))
    return refuse("option mode does not belong to a ticket: its volumes have the modes that they have at the source");
  FERRY_TRY(parse_volumes(options.at("volume"), ticket));
  if (const auto as = options.find("as"); as != options.end()) {
    if (options.contains("rename")) return refuse("options as and rename say the same in two ways; use one of them");
    FERRY_TRY(parse_as(as->second, ticket));
  }
  if (const auto rename = options.find("rename"); rename != options.end())
    FERRY_TRY(parse_rename(rename->second, ticket));
  FERRY_TRY(check_targets(ticket));
  FERRY_TRY(check_own_name(name, ticket, exports));
  if (const auto replace = options.find("replace"); replace != options.end()) {
    FERRY_ASSIGN(ticket.replace, parse_flag("replace", replace->second));
  }
  if (const auto move = options.find("move"); move != options.end()) {
    FERRY_ASSIGN(ticket.move, parse_flag("move", move->second));
    if (ticket.move && options.contains("freeze"))
      return refuse(
          "option move: the volumes must not be mounted at the source, so there is nothing to freeze; leave out "
          "option freeze");
  }
  if (const auto dry_run = options.find("dry-run"); dry_run != options.end()) {
    FERRY_ASSIGN(ticket.dry_run, parse_flag("dry-run", dry_run->second));
  }
  return ticket;
}

Result<> check_not_of_ticket(const volumes::StringMap& options) {
  for (const char* option : of_tickets)
    if (options.contains(option))
      return refuse("option " + std::string(option) +
                    " belongs to a ticket: add from=HOST[:PORT] or to=HOST[:PORT], and volume=NAME[,NAME…], or leave "
                    "it out");
  return {};
}

Result<sync::Compression> parse_compression(const std::string& value) {
  for (const auto& [name, compression] : compressions)
    if (value == name) return compression;
  return refuse("option compress: " + quote(value) +
                " is not known; use compress=auto, compress=zstd or compress=none");
}

Result<std::uint64_t> parse_milliseconds(const char* option, const std::string& value) {
  const auto parsed = parse_duration(value);
  if (!parsed || parsed->count() <= 0)
    return refuse("option " + std::string(option) + ": " + quote(value) +
                  " is no duration; use, for example, 500ms or 2s");
  return static_cast<std::uint64_t>(parsed->count());
}

/// How long it may stand still, and what may be done so that it does not stand longer.
Result<> parse_rounds(const volumes::StringMap& options, RoundLimits& limits) {
  if (const auto rounds = options.find("rounds"); rounds != options.end()) {
    const std::string& text = rounds->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limits.most);
    if (error != std::errc{} || end != text.data() + text.size())
      return refuse("option rounds: " + quote(text) + " is no number; use rounds=1 to 100");
  }
  if (const auto downtime = options.find("max-downtime"); downtime != options.end()) {
    FERRY_ASSIGN(limits.max_downtime_ms, parse_milliseconds("max-downtime", downtime->second));
  }
  if (const auto strict = options.find("strict"); strict != options.end()) {
    FERRY_ASSIGN(limits.strict, parse_flag("strict", strict->second));
    if (limits.strict && limits.max_downtime_ms == 0)
      return refuse("option strict is about option max-downtime; add max-downtime=DURATION, or leave it out");
  }
  return check(limits);
}

/// `into` is null for a plain volume, which has none.
Result<> parse_terms(const volumes::StringMap& options, Terms* into) {
  const auto check_migration = [&](const char* option) -> Result<> {
    if (into != nullptr) return {};
    return refuse(
        "option " + std::string(option) +
        " belongs to a migration: add from=HOST[:PORT][/VOLUME], or to=HOST[:PORT] and volume=NAME[,NAME…], or "
        "leave it out");
  };
  if (const auto limit = options.find("limit"); limit != options.end()) {
    auto rate = parse_rate(limit->second);
    if (!rate) return refuse("option limit: " + rate.error().message);
    FERRY_TRY(check_migration("limit"));
    into->limit = *rate;
  }
  if (const auto freeze = options.find("freeze"); freeze != options.end()) {
    FERRY_ASSIGN(const Freeze value, parse_freeze(freeze->second));
    FERRY_TRY(check_migration("freeze"));
    into->freeze = value;
    if (value == Freeze::stop) into->max_freeze_ms = longest_stop_ms;
  }
  if (const auto longest = options.find("max-freeze"); longest != options.end()) {
    FERRY_TRY(check_migration("max-freeze"));
    if (!holds_writers(into->freeze))
      return refuse(
          "option max-freeze is about copies of volumes with freeze=pause, the default, or freeze=stop; leave it out");
    FERRY_ASSIGN(into->max_freeze_ms, parse_milliseconds("max-freeze", longest->second));
    if (into->max_freeze_ms > most_freeze_ms) return refuse("option max-freeze: use a day (24h) at most");
  }
  const auto of_them =
      std::find_if(of_rounds.begin(), of_rounds.end(), [&](const char* option) { return options.contains(option); });
  if (of_them != of_rounds.end() && !options.contains("container")) {
    FERRY_TRY(check_migration(*of_them));
    if (!holds_writers(into->freeze))
      return refuse("option " + std::string(*of_them) +
                    " is about services and copies of volumes with freeze=pause or freeze=stop; leave it out");
    FERRY_TRY(parse_rounds(options, into->rounds));
  }
  if (const auto compress = options.find("compress"); compress != options.end()) {
    FERRY_ASSIGN(const sync::Compression value, parse_compression(compress->second));
    FERRY_TRY(check_migration("compress"));
    into->compression = value;
  }
  return {};
}

/// An archive has one volume, with the name that it has here.
Result<CreateRequest> parse_archive_export(const std::string& name, const volumes::StringMap& options) {
  CreateRequest request;
  auto& wanted = request.archive_export.emplace();
  FERRY_ASSIGN(wanted.address, parse_archive("to", options.at("to")));
  if (auto compression = compression_of(wanted.address); !compression)
    return refuse("option to: " + compression.error().message);
  for (const auto& [key, value] : options)
    if (key != "to" && key != "volume" && key != "replace" && key != "freeze" && key != "limit")
      return refuse("option " + key +
                    " does not go with an archive, beside which there can be volume, replace, freeze "
                    "and limit");
  if (!options.contains("volume")) return refuse("option to belongs to a ticket: add volume=NAME");
  wanted.volume = options.at("volume");
  if (wanted.volume.find(',') != std::string::npos)
    return refuse("option volume: an archive has one volume; make a ticket for each");
  FERRY_TRY(check_volume("volume", wanted.volume));
  if (wanted.volume == name)
    return refuse("volume " + name + " cannot have the ticket's own name; give the ticket another one");
  if (const auto replace = options.find("replace"); replace != options.end()) {
    FERRY_ASSIGN(wanted.replace, parse_flag("replace", replace->second));
  }
  FERRY_TRY(parse_terms(options, &wanted.terms));
  if (holds_writers(wanted.terms.freeze))
    return fail(
        Code::unsupported,
        "freeze=" + options.at("freeze") +
            " is not in this version of Ferry for archives; stop the containers that write to the volume, or use "
            "freeze=none for an archive that may be torn");
  return request;
}

Result<CreateRequest> parse_reclaim(const std::string& name, const volumes::StringMap& options) {
  CreateRequest request;
  auto& reclaim = request.reclaim.emplace();
  reclaim.volume = options.at("reclaim");
  FERRY_TRY(check_volume("reclaim", reclaim.volume));
  if (reclaim.volume == name)
    return refuse("option reclaim: the ticket needs a name of its own, other than the volume's");
  if (const auto force = options.find("force"); force != options.end()) {
    FERRY_ASSIGN(reclaim.force, parse_flag("force", force->second));
  }
  if (const auto replace = options.find("replace"); replace != options.end()) {
    FERRY_ASSIGN(reclaim.replace, parse_flag("replace", replace->second));
  }
  for (const auto& [key, value] : options) {
    const bool fits = key == "reclaim" || key == "from" || key == "force";
    const bool copies = key == "limit" || key == "compress" || key == "replace";
    if (copies && reclaim.force)
      return refuse("option " + key + " does not go with option force, with which no content is copied");
    if (!fits && !copies)
      return refuse("option " + key +
                    " does not go with option reclaim, beside which there can be from=HOST[:PORT], force, "
                    "replace, limit and compress");
  }
  if (options.contains("from")) {
    FERRY_ASSIGN(reclaim.peer, parse_peer("from", options.at("from")));
  }
  FERRY_TRY(parse_terms(options, &reclaim.terms));
  return request;
}

Result<CreateRequest> parse_retry(const std::string& name, const volumes::StringMap& options) {
  CreateRequest request;
  request.retry = options.at("retry");
  FERRY_TRY(check_volume("retry", request.retry));
  if (request.retry == name) return refuse("option retry: the ticket needs a name of its own, other than the volume's");
  if (options.size() > 1)
    return refuse("option retry stands alone: the import is started again as it was asked for; leave out option " +
                  (options.begin()->first == "retry" ? std::next(options.begin()) : options.begin())->first);
  return request;
}

/// The one value that an option has beside its default.
Result<bool> parse_choice(const volumes::StringMap& options, const char* option, const std::string& set,
                          const std::string& otherwise) {
  const auto found = options.find(option);
  if (found == options.end()) return false;
  if (found->second == set) return true;
  if (!otherwise.empty() && found->second == otherwise) return false;
  return refuse("option " + std::string(option) + ": " + quote(found->second) + " is not known; use " + option + "=" +
                set + (otherwise.empty() ? ", or leave it out" : " or " + std::string(option) + "=" + otherwise));
}

Result<std::map<std::string, std::string>> parse_service_renames(const std::string& value) {
  std::map<std::string, std::string> renames;
  std::set<std::string> names;
  for (const auto& part : split(value)) {
    const auto colon = part.find(':');
    if (colon == std::string::npos)
      return refuse("option rename: " + quote(part) + " is no OLD:NEW; use rename=OLD:NEW[,OLD:NEW…]");
    const std::string old = part.substr(0, colon), name = part.substr(colon + 1);
    if (!renames.emplace(old, name).second) return refuse("option rename: " + quote(old) + " is given two names");
    if (!names.insert(name).second) return refuse("option rename: two volumes would be named " + quote(name));
  }
  return renames;
}

/// A service moves with everything that it has, and is handed off always.
Result<CreateRequest> parse_service(const volumes::StringMap& options) {
  CreateRequest request;
  auto& plan = request.plan.emplace();
  plan.exports = options.contains("to");
  if (plan.exports == options.contains("from"))
    return refuse(
        "option container belongs to a ticket: add from=HOST[:PORT] to bring a service here, or to=HOST[:PORT] "
        "to send it");
  for (const auto& [key, value] : options) {
    if (key == "move") return refuse("option move: a service is always handed off; leave it out");
    for (const char* other : {"mode", "freeze", "replace"})
      if (key == other)
        return refuse("option " + key +
                      " does not go with option container, beside which there can be from or to, as, volume, rest, "
                      "rename, binds, shared, layer, start, rounds, max-downtime, strict, limit, compress and dry-run");
  }
  Terms terms;
  FERRY_TRY(parse_terms(options, &terms));
  const std::string way = plan.exports ? "to" : "from";
  FERRY_ASSIGN(plan.peer, parse_peer(way, options.at(way)));
  ServiceOptions& service = plan.options;
  service.container = options.at("container");
  if (const auto as = options.find("as"); as != options.end()) {
    if (as->second.empty())
      return refuse("option as: it is the container's name at the destination; leave it out for the same");
    service.as = as->second;
  }
  if (const auto volume = options.find("volume"); volume != options.end()) service.only = split(volume->second);
  if (options.contains("rest") && service.only.empty())
    return refuse(
        "option rest is about the mounts that option volume does not name; add volume=NAME[,/DESTINATION…], "
        "or leave it out");
  FERRY_ASSIGN(service.rest_empty, parse_choice(options, "rest", "empty", "block"));
  if (const auto rename = options.find("rename"); rename != options.end()) {
    FERRY_ASSIGN(service.renames, parse_service_renames(rename->second));
  }
  FERRY_ASSIGN(service.keep_binds, parse_choice(options, "binds", "keep", ""));
  FERRY_ASSIGN(service.copy_shared, parse_choice(options, "shared", "copy", ""));
  if (const auto layer = options.find("layer"); layer != options.end()) {
    FERRY_ASSIGN(service.layer, parse_flag("layer", layer->second));
  }
  if (const auto start = options.find("start"); start != options.end()) {
    FERRY_ASSIGN(service.start, parse_flag("start", start->second));
  }
  FERRY_TRY(parse_rounds(options, terms.rounds));
  FERRY_TRY(check(service));
  const auto dry_run = options.find("dry-run");
  const bool plans = dry_run != options.end();
  if (plans) {
    FERRY_ASSIGN(const bool only_plans, parse_flag("dry-run", dry_run->second));
    if (only_plans) return request;
  }
  if (plan.exports) {
    auto& exported = request.exported.emplace();
    exported.peer = plan.peer;
    exported.terms = terms;
    exported.move = true;
    exported.service = service;
  } else {
    request.service = ServiceMoveRequest{plan.peer, service, terms};
  }
  request.plan.reset();
  return request;
}

}  // namespace

const char* to_string(Freeze freeze) {
  switch (freeze) {
    case Freeze::none: return "none";
    case Freeze::pause: return "pause";
    case Freeze::stop: return "stop";
    case Freeze::refuse: break;
  }
  return "refuse";
}

void add_to_json(nlohmann::json& json, const Terms& terms) {
  json["freeze"] = to_string(terms.freeze);
  json["limit"] = terms.limit;
  if (holds_writers(terms.freeze)) json["max_freeze_ms"] = terms.max_freeze_ms;
  if (terms.rounds != RoundLimits{}) json["rounds"] = to_json(terms.rounds);
  for (const auto& [name, compression] : compressions)
    if (terms.compression == compression) json["compress"] = name;
}

Terms terms_of(const nlohmann::json& json) {
  Terms terms;
  for (const Freeze freeze : all_freezes)
    if (json.at("freeze") == to_string(freeze)) terms.freeze = freeze;
  terms.max_freeze_ms = json.value("max_freeze_ms", terms.max_freeze_ms);
  if (json.contains("rounds")) terms.rounds = round_limits_of(json["rounds"]);
  terms.limit = json.value("limit", std::uint64_t{0});
  const auto compress = json.value("compress", "auto");
  for (const auto& [name, compression] : compressions)
    if (compress == name) terms.compression = compression;
  return terms;
}

void add_to_json(nlohmann::json& json, const transport::PeerAddress& peer) {
  json["host"] = peer.endpoint.host;
  json["port"] = peer.endpoint.port;
  if (peer.way == transport::PeerAddress::Way::ssh) json["ssh_user"] = peer.user;
  if (peer.way == transport::PeerAddress::Way::turned) json["export_of_peer"] = peer.export_id;
}

transport::PeerAddress peer_of(const nlohmann::json& json) {
  transport::PeerAddress peer(json.at("host").get<std::string>(), json.at("port").get<std::uint16_t>());
  if (json.contains("export_of_peer"))
    return transport::PeerAddress::turned(json["export_of_peer"].get<std::string>(), peer.endpoint.host);
  if (!json.contains("ssh_user")) return peer;
  peer.way = transport::PeerAddress::Way::ssh;
  peer.user = json["ssh_user"].get<std::string>();
  return peer;
}

Result<CreateRequest> parse_options(const std::string& name, const volumes::StringMap& options) {
  FERRY_TRY(volumes::check_name(name));
  FERRY_TRY(volumes::check_not_reserved(name));
  for (const auto& [key, value] : options) FERRY_TRY(check_option(key));
  if (options.contains("retry")) return parse_retry(name, options);
  if (options.contains("reclaim")) return parse_reclaim(name, options);
  if (options.contains("force"))
    return refuse("option force belongs to a ticket that takes a volume back: add reclaim=VOLUME, or leave it out");
  if (options.contains("container")) return parse_service(options);
  for (const char* option : of_services)
    if (options.contains(option))
      return refuse("option " + std::string(option) +
                    " belongs to a ticket for a service: add container=NAME, or leave it out");
  if (const auto to = options.find("to"); to != options.end() && is_archive_address(to->second))
    return parse_archive_export(name, options);
  CreateRequest request;
  if (options.contains("from") && options.contains("to"))
    return refuse("option to: it excludes from=; a ticket imports to this host, or exports from it");
  if (options.contains("to") && !options.contains("volume"))
    return refuse("option to belongs to a ticket that exports volumes of this host: add volume=NAME[,NAME…]");
  if (options.contains("volume")) {
    FERRY_ASSIGN(TicketRequest ticket, parse_ticket(name, options));
    if (!ticket.move) ticket.terms.freeze = Freeze::pause;
    FERRY_TRY(parse_terms(options, &ticket.terms));
    (options.contains("to") ? request.exported : request.ticket) = std::move(ticket);
    return request;
  }
  FERRY_TRY(check_not_of_ticket(options));
  if (const auto mode = options.find("mode"); mode != options.end()) {
    FERRY_ASSIGN(request.mode, volumes::parse_mode(mode->second.substr(0, 100)));
    request.own_options.insert(*mode);
  }
  const auto from = options.find("from");
  if (from != options.end() && is_archive_address(from->second)) {
    auto& wanted = request.archive_import.emplace();
    FERRY_ASSIGN(wanted.address, parse_archive("from", from->second));
    for (const char* senseless : {"freeze", "compress"})
      if (options.contains(senseless))
        return refuse("option " + std::string(senseless) + " does not go with an archive, which is as it was written");
    FERRY_TRY(parse_terms(options, &wanted.terms));
    return request;
  }
  if (from != options.end()) {
    FERRY_ASSIGN(request.import, parse_from(name, from->second));
    request.import->terms.freeze = Freeze::pause;
  }
  FERRY_TRY(parse_terms(options, request.import ? &request.import->terms : nullptr));
  return request;
}

}  // namespace ferry::migration
