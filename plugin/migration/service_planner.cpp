#include "migration/service_planner.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

#include "base/files.h"
#include "base/log.h"
#include "engine/members.h"
#include "migration/imports.h"
#include "migration/ticket_commit.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

using engine::list;
using engine::member;
using engine::object_member;
using engine::text;
using nlohmann::json;
using ImageThere = DestinationFacts::ImageThere;

constexpr std::size_t largest_table = 16U << 20;
constexpr std::string_view listening_state = "0A";    // TCP_LISTEN
constexpr std::string_view unconnected_state = "07";  // TCP_CLOSE, which is what a bound socket of UDP has

const char* to_string(ImageThere image) {
  switch (image) {
    case ImageThere::same: return "same";
    case ImageThere::other: return "another of its name";
    case ImageThere::no: break;
  }
  return "no";
}

/// `NAME=VALUE` without its value.
json names_of(const json& environment) {
  auto names = json::array();
  for (const auto& one : list(environment)) {
    const auto text = one.get<std::string>();
    names.push_back(text.substr(0, text.find('=')));
  }
  return names;
}

json keys_of(const json& object) {
  auto keys = json::array();
  for (const auto& [key, value] : object.get_ref<const json::object_t&>()) keys.push_back(key);
  return keys;
}

json ports_of(const json& bindings) {
  auto ports = json::array();
  for (const auto& [inside, outside] : bindings.get_ref<const json::object_t&>())
    for (const auto& one : list(outside))
      ports.push_back({{"port", inside}, {"host", text(one, "HostIp") + ":" + text(one, "HostPort")}});
  return ports;
}

/// Those that were given, of what says how much the container may take.
json limits_of(const json& host_config) {
  json limits = json::object();
  for (const char* name : {"Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuShares", "CpuQuota",
                           "CpuPeriod", "CpusetCpus", "PidsLimit", "BlkioWeight"}) {
    const json& limit = member(host_config, name);
    const bool is_given = limit.is_string() ? !limit.get_ref<const std::string&>().empty()
                                            : limit.is_number() && limit.get<double>() != 0;
    if (is_given) limits[name] = limit;
  }
  return limits;
}

json privileges_of(const json& host_config) {
  auto privileges = json::array();
  if (engine::value<bool>(host_config, "Privileged")) privileges.push_back("privileged");
  for (const char* name : {"CapAdd", "CapDrop", "SecurityOpt"})
    for (const auto& one : list(member(host_config, name)))
      privileges.push_back(std::string(name) + " " + one.get<std::string>());
  return privileges;
}

json configuration_of(const ServiceDescription& service) {
  const json& config = service.config;
  const json& host = service.host_config;
  const json& logs = object_member(host, "LogConfig");
  return {{"image", service.image_name},
          {"command", member(config, "Cmd")},
          {"entrypoint", member(config, "Entrypoint")},
          {"user", text(config, "User")},
          {"hostname", text(config, "Hostname")},
          {"env_names", names_of(member(config, "Env"))},
          {"labels", object_member(config, "Labels")},
          {"ports", ports_of(object_member(host, "PortBindings"))},
          {"restart", text(object_member(host, "RestartPolicy"), "Name")},
          {"limits", limits_of(host)},
          {"privileges", privileges_of(host)},
          {"healthcheck", !object_member(config, "Healthcheck").empty()},
          {"networks", keys_of(service.networks)},
          {"log_driver", text(logs, "Type")},
          {"log_option_names", keys_of(object_member(logs, "Config"))}};
}

/// What becomes of a mount.
const char* action_for(const ServiceMount& mount, const ServiceOptions& options, const DestinationFacts& there) {
  if (!travels(mount, options)) return options.rest_empty ? "empty" : "none";
  if (!mount.is_volume()) return mount.at.type == "bind" && options.keep_binds ? "keep" : "none";
  if (!mount.trouble.empty()) return "none";
  if (mount.anonymous) return "create";
  const auto found = there.volumes.find(name_there(mount, options));
  if (found == there.volumes.end()) return "create";
  return is_copy(mount, found->second) ? "update" : "none";
}

json mount_of(const ServiceMount& mount, const ServiceOptions& options, const DestinationFacts& there) {
  json shown = {{"type", mount.at.type},
                {"destination", mount.at.destination},
                {"rw", mount.at.rw},
                {"mode", mount.at.mode},
                {"action", action_for(mount, options, there)}};
  if (!mount.is_volume()) {
    shown["source"] = mount.at.source;
    return shown;
  }
  shown["source"] = mount.at.name;
  shown["target"] = mount.anonymous ? json(nullptr) : json(name_there(mount, options));
  shown["driver"] = mount.at.driver;
  shown["anonymous"] = mount.anonymous;
  shown["nocopy"] = mount.no_copy;
  shown["labels"] = mount.labels;
  shown["options"] = mount.options;
  shown["bytes"] = mount.bytes;
  shown["shared_with"] = mount.shared_with;
  return shown;
}

std::vector<std::string_view> words_of(std::string_view line, std::size_t most) {
  std::vector<std::string_view> words;
  while (words.size() < most) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) break;
    words.push_back(line.substr(0, line.find(' ')));
    line.remove_prefix(words.back().size());
  }
  return words;
}

template <class T>
std::optional<T> number_of(std::string_view hex) {
  T number = 0;
  const auto read = std::from_chars(hex.data(), hex.data() + hex.size(), number, 16);
  if (read.ec != std::errc() || read.ptr != hex.data() + hex.size()) return std::nullopt;
  return number;
}

/// The kernel shows an address as its words of four bytes, each as a number of this machine.
std::optional<std::string> address_of(std::string_view hex) {
  constexpr std::size_t digits = 8;
  if (hex.size() != digits && hex.size() != 4 * digits) return std::nullopt;
  std::array<std::uint32_t, 4> words{};
  for (std::size_t i = 0; i < hex.size() / digits; ++i) {
    const auto word = number_of<std::uint32_t>(hex.substr(i * digits, digits));
    if (!word) return std::nullopt;
    words[i] = *word;
  }
  const bool is_v4 = hex.size() == digits;
  const bool is_mapped = !is_v4 && words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff);
  char text[INET6_ADDRSTRLEN];
  const void* const from = is_mapped ? &words[3] : words.data();
  return ::inet_ntop(is_v4 || is_mapped ? AF_INET : AF_INET6, from, text, sizeof text) == nullptr
             ? std::nullopt
             : std::optional<std::string>(text);
}

bool shares_digest(const engine::Image& a, const engine::Image& b) {
  const auto digest = [](const std::string& text) { return text.substr(std::min(text.find('@'), text.size())); };
  return std::any_of(a.digests.begin(), a.digests.end(), [&](const std::string& one) {
    return std::any_of(b.digests.begin(), b.digests.end(),
                       [&](const std::string& other) { return !digest(one).empty() && digest(one) == digest(other); });
  });
}

}  // namespace

bool has_same_layers(const engine::Image& a, const engine::Image& b) {
  return !a.layers.empty() && a.layers == b.layers && a.architecture == b.architecture && a.os == b.os;
}

std::vector<engine::PublishedPort> sockets_in(std::string_view table, const std::string& protocol,
                                              std::string_view state) {
  std::vector<engine::PublishedPort> sockets;
  while (!table.empty()) {
    const auto end = std::min(table.find('\n'), table.size());
    const auto words = words_of(table.substr(0, end), 4);  // number, address:port, other address:port, state
    table.remove_prefix(std::min(end + 1, table.size()));
    if (words.size() < 4 || words[3] != state) continue;
    const auto colon = words[1].rfind(':');
    if (colon == std::string_view::npos) continue;
    const auto address = address_of(words[1].substr(0, colon));
    const auto port = number_of<std::uint16_t>(words[1].substr(colon + 1));
    if (address && port && *port != 0) sockets.push_back({*address, protocol, *port});
  }
  return sockets;
}

nlohmann::json plan_of(const ServiceDescription& service, const ServiceOptions& options, const DestinationFacts& there,
                       const std::vector<Obstacle>& obstacles) {
  auto mounts = json::array();
  for (const auto& mount : service.mounts) mounts.push_back(mount_of(mount, options, there));
  auto in_the_way = json::array();
  for (const auto& obstacle : obstacles)
    in_the_way.push_back({{"what", obstacle.what}, {"do", obstacle.remedy}, {"blocks", obstacle.blocks}});
  const auto& layer = service.layer;
  return {{"container", service.container},
          {"as", options.as.empty() ? service.container : options.as},
          {"status", service.status},
          {"configuration", configuration_of(service)},
          {"mounts", std::move(mounts)},
          {"layer",
           {{"store", layer.store},
            {"moves", options.layer && !layer.is_empty()},
            {"added", layer.changes.added},
            {"changed", layer.changes.changed},
            {"deleted", layer.changes.deleted},
            {"bytes", layer.bytes}}},
          {"image",
           {{"name", service.image_name},
            {"id", service.image.id},
            {"bytes", service.image.bytes},
            {"at_destination", to_string(there.image)}}},
          {"obstacles", std::move(in_the_way)}};
}

Result<nlohmann::json> ServicePlanner::plan(const ServiceDescription& service, const ServiceOptions& options,
                                            engine::Interrupt* interrupt) const {
  try {
    FERRY_ASSIGN(const DestinationFacts there, find_facts(service, options, "", interrupt));
    FERRY_ASSIGN(const auto obstacles, find_obstacles(service, options, there));
    return plan_of(service, options, there, obstacles);
  } catch (const json::exception& error) {
    return engine::not_understood("the container's configuration", error);
  }
}

Result<std::vector<Obstacle>> ServicePlanner::obstacles(const ServiceDescription& service,
                                                        const ServiceOptions& options, const std::string& ticket,
                                                        engine::Interrupt* interrupt) const {
  try {
    FERRY_ASSIGN(const DestinationFacts there, find_facts(service, options, ticket, interrupt));
    return find_obstacles(service, options, there);
  } catch (const json::exception& error) {
    return engine::not_understood("the container's configuration", error);
  }
}

/// Throws json's exceptions.
Result<DestinationFacts> ServicePlanner::find_facts(const ServiceDescription& service, const ServiceOptions& options,
                                                    const std::string& ticket, engine::Interrupt* interrupt) const {
  DestinationFacts facts;
  FERRY_ASSIGN(facts.host, containers_.facts(interrupt));
  FERRY_ASSIGN(facts.containers, containers_.list(interrupt));
  FERRY_TRY(find_volumes(service, options, ticket, facts));
  const std::string mode = text(service.host_config, "NetworkMode");
  if (mode != "host" && mode != "none")
    for (const auto& [name, endpoint] : service.networks.get_ref<const json::object_t&>()) {
      FERRY_ASSIGN(const bool there, containers_.has_network(name, interrupt));
      if (!there) facts.networks_missing.insert(name);
    }
  facts.listening = find_listening();
  FERRY_ASSIGN(const FoundImage image, find_image(service, interrupt));
  facts.image = image.there;
  FERRY_ASSIGN(facts.free_bytes, free_bytes(catalogue_.layout().volumes()));
  return facts;
}

Result<> ServicePlanner::find_volumes(const ServiceDescription& service, const ServiceOptions& options,
                                      const std::string& ticket, DestinationFacts& facts) const {
  for (const auto& mount : service.mounts) {
    if (!mount.is_volume() || mount.anonymous || !travels(mount, options)) continue;
    const std::string name = migration::name_there(mount, options);
    if (!volumes::check_name(name)) continue;  // of another driver
    if (const auto record = catalogue_.find(name)) {
      if (!ticket.empty() && record->import.is_object() && record->import.value(TicketCommit::made_for, "") == ticket)
        continue;
      facts.volumes[name] = {"ferry", record->lineage};
      continue;
    }
    const auto other = client_.volume(name);
    if (other) facts.volumes[name] = {other->driver, ""};
    if (!other && other.error().code != Code::not_found) return tl::unexpected(other.error());
  }
  return {};
}

/// Where its name means it, that is how the container names it there, too.
Result<ServicePlanner::FoundImage> ServicePlanner::find_image(const ServiceDescription& service,
                                                              engine::Interrupt* interrupt) const {
  const auto ask = [&](const std::string& name) -> Result<std::optional<engine::Image>> {
    if (name.empty()) return std::optional<engine::Image>();
    auto image = containers_.image(name, interrupt);
    if (image) return std::optional(std::move(*image));
    if (image.error().code == Code::not_found || image.error().code == Code::invalid_argument)
      return std::optional<engine::Image>();
    return tl::unexpected(image.error());
  };
  FERRY_ASSIGN(const auto named, ask(service.image_name));
  if (named &&
      (named->id == service.image.id || shares_digest(*named, service.image) || has_same_layers(*named, service.image)))
    return FoundImage{ImageThere::same, service.image_name};
  FERRY_ASSIGN(const auto same, ask(service.image.id));
  if (same) return FoundImage{ImageThere::same, service.image.id};
  for (const auto& digest : service.image.digests) {
    FERRY_ASSIGN(const auto found, ask(digest));
    if (found) return FoundImage{ImageThere::same, digest};
  }
  return FoundImage{named ? ImageThere::other : ImageThere::no, ""};
}

/// It stands here as a service would that comes, but that all of it is there.
Result<> ServicePlanner::check_start(const engine::Container& container) const {
  ServiceDescription service;
  service.container = container.name;
  service.config = container.config;
  service.host_config = container.host_config;
  service.networks = container.networks;
  ServiceOptions options;
  options.container = container.name;
  options.layer = false;
  try {
    FERRY_ASSIGN(DestinationFacts there, find_facts(service, options, "", nullptr));
    std::erase_if(there.containers, [&](const auto& one) { return one.id == container.id; });
    there.image = ImageThere::same;
    service.host = there.host;
    FERRY_ASSIGN(const auto obstacles, find_obstacles(service, options, there));
    if (obstacles.empty() || !obstacles.front().blocks) return {};  // those that block come first
    return fail(Code::busy, "container " + container.name + " could not be started here: " + obstacles.front().what);
  } catch (const json::exception& error) {
    return engine::not_understood("the container's configuration", error);
  }
}

Result<std::string> ServicePlanner::image_for(const ServiceDescription& service, engine::Interrupt* interrupt) const {
  FERRY_ASSIGN(const FoundImage found, find_image(service, interrupt));
  if (found.there != ImageThere::other) return found.reference;
  return fail(Code::already_exists,
              "the image " + quote(service.image_name) + " is another one here; tag one of the two anew");
}

std::vector<engine::PublishedPort> ServicePlanner::find_listening() const {
  std::vector<engine::PublishedPort> all;
  for (const std::string protocol : {"tcp", "udp"}) {
    const auto state = protocol == "tcp" ? listening_state : unconnected_state;
    for (const char* family : {"", "6"}) {
      const auto table = read_file(network_ / (protocol + family), largest_table);
      if (!table) continue;  // a host without IPv6
      const auto found = sockets_in(*table, protocol, state);
      all.insert(all.end(), found.begin(), found.end());
    }
  }
  return all;
}

}  // namespace ferry::migration
