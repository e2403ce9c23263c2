#include "engine/decode.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/members.h"

namespace ferry::engine {

namespace {

using nlohmann::json;

Volume read_volume(const json& object) {
  return {.name = text(object, "Name"),
          .driver = text(object, "Driver"),
          .mountpoint = text(object, "Mountpoint"),
          .created_at = text(object, "CreatedAt"),
          .labels = value<StringMap>(object, "Labels"),
          .options = value<StringMap>(object, "Options"),
          .status = member(object, "Status")};
}

std::vector<Volume> read_volumes(const json& object) {
  std::vector<Volume> volumes;
  for (const auto& volume : list(member(object, "Volumes"))) volumes.push_back(read_volume(volume));
  return volumes;
}

/// A container may have further names, such as /other/alias of a legacy link.
std::string container_name(const json& container) {
  for (const auto& name : value<std::vector<std::string>>(container, "Names"))
    if (name.rfind('/') == 0) return name.substr(1);
  return text(container, "Id").substr(0, 12);
}

void read_mounts(const json& container, std::vector<ContainerMount>& mounts) {
  const auto state = text(container, "State");
  const bool running = state == "running" || state == "paused" || state == "restarting";
  for (const auto& mount : list(member(container, "Mounts"))) {
    if (text(mount, "Type") != "volume") continue;
    mounts.push_back({.container = container_name(container),
                      .container_id = text(container, "Id"),
                      .volume = text(mount, "Name"),
                      .destination = text(mount, "Destination"),
                      .rw = value<bool>(mount, "RW"),
                      .running = running});
  }
}

std::string read_mount_source(const json& plugins, const std::string& plugin_id, const std::string& mount_name) {
  for (const auto& plugin : list(plugins)) {
    if (text(plugin, "Id") != plugin_id) continue;
    for (const auto& mount : list(member(member(plugin, "Config"), "Mounts")))
      if (text(mount, "Name") == mount_name) return text(mount, "Source");
  }
  return {};
}

Event read_event(const json& object) {
  const json& actor = member(object, "Actor");
  return {.type = text(object, "Type"),
          .action = text(object, "Action"),
          .id = text(actor, "ID"),
          .attributes = value<StringMap>(actor, "Attributes"),
          .time_ns = value<std::int64_t>(object, "timeNano")};
}

}  // namespace

Result<Volume> decode_volume(std::string_view body) { return decode_json("volume", body, read_volume); }

Result<std::vector<Volume>> decode_volumes(std::string_view body) { return decode_json("volumes", body, read_volumes); }

Result<std::vector<ContainerMount>> decode_container_mounts(std::string_view body) {
  return decode_json("containers", body, [](const json& containers) {
    std::vector<ContainerMount> mounts;
    for (const auto& container : list(containers)) read_mounts(container, mounts);
    return mounts;
  });
}

Result<std::string> decode_data_root(std::string_view body) {
  FERRY_ASSIGN(auto root, decode_json("info", body, [](const json& info) { return text(info, "DockerRootDir"); }));
  if (root.empty()) return fail(Code::corrupt, "the Engine's info has no DockerRootDir");
  return root;
}

Result<std::string> decode_plugin_mount_source(std::string_view body, const std::string& plugin_id,
                                               const std::string& mount_name) {
  FERRY_ASSIGN(auto source, decode_json("plugins", body, [&](const json& plugins) {
                 return read_mount_source(plugins, plugin_id, mount_name);
               }));
  if (source.empty())
    return fail(Code::not_found, "the Engine has no plugin " + plugin_id + " with a mount named " + mount_name);
  return source;
}

Result<Event> decode_event(std::string_view line) { return decode_json("event", line, read_event); }

std::string decode_error(std::string_view body) {
  const auto message = decode_json("error", body, [](const json& error) { return text(error, "message"); });
  auto error = message && !message->empty() ? *message : std::string(body.substr(0, 1000));
  while (!error.empty() && static_cast<unsigned char>(error.back()) <= ' ') error.pop_back();
  return error.empty() ? "no reason given" : error;
}

}  // namespace ferry::engine
