#include "engine/container.h"

#include <algorithm>

#include "engine/members.h"

namespace ferry::engine {

namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

std::string without_slash(const std::string& name) { return name.starts_with('/') ? name.substr(1) : name; }

std::vector<MountPoint> read_mount_points(const json& container) {
  std::vector<MountPoint> mounts;
  for (const auto& mount : list(member(container, "Mounts")))
    mounts.push_back({.type = text(mount, "Type"),
                      .name = text(mount, "Name"),
                      .source = text(mount, "Source"),
                      .destination = text(mount, "Destination"),
                      .driver = text(mount, "Driver"),
                      .mode = text(mount, "Mode"),
                      .rw = value<bool>(mount, "RW")});
  std::sort(mounts.begin(), mounts.end(),
            [](const MountPoint& a, const MountPoint& b) { return a.destination < b.destination; });
  return mounts;
}

/// As of Engine 29, one whose store is containerd's says so in `Storage` instead of `GraphDriver`.
void read_store(const json& object, Container& container) {
  const json& driver = object_member(object, "GraphDriver");
  container.store = text(driver, "Name");
  container.upper = text(object_member(driver, "Data"), "UpperDir");
  if (container.store.empty()) {
    const json& root = object_member(object_member(object, "Storage"), "RootFS");
    container.store = text(object_member(root, "Snapshot"), "Name");
  }
  if (container.store.empty()) container.store = text(object, "Driver");
}

Container read_container(const json& object) {
  const json& state = object_member(object, "State");
  Container container;
  container.id = text(object, "Id");
  container.name = without_slash(text(object, "Name"));
  container.image_id = text(object, "Image");
  container.config = object_member(object, "Config");
  container.host_config = object_member(object, "HostConfig");
  container.networks = object_member(object_member(object, "NetworkSettings"), "Networks");
  for (const json* part : {&container.config, &container.host_config, &container.networks})
    (void)part->get_ref<const json::object_t&>();
  container.image = text(container.config, "Image");
  container.status = text(state, "Status");
  container.health = text(object_member(state, "Health"), "Status");
  if (container.health == "none") container.health.clear();
  container.running = value<bool>(state, "Running");
  container.paused = value<bool>(state, "Paused");
  container.restarting = value<bool>(state, "Restarting");
  container.dead = value<bool>(state, "Dead");
  container.started = text(state, "StartedAt");
  container.mounts = read_mount_points(object);
  read_store(object, container);
  if (const json& bytes = member(object, "SizeRw"); !bytes.is_null())
    container.layer_bytes = static_cast<std::uint64_t>(std::max(bytes.get<std::int64_t>(), std::int64_t{0}));
  return container;
}

LayerChanges read_changes(const json& array) {
  enum { changed, added, deleted };  // moby's pkg/archive, ChangeType
  LayerChanges changes;
  for (const auto& change : list(array)) {
    switch (value<int>(change, "Kind")) {
      case changed: ++changes.changed; break;
      case added: ++changes.added; break;
      case deleted: ++changes.deleted; break;
      default: break;
    }
  }
  return changes;
}

Image read_image(const json& object) {
  return {.id = text(object, "Id"),
          .architecture = text(object, "Architecture"),
          .variant = text(object, "Variant"),
          .os = text(object, "Os"),
          .bytes = static_cast<std::uint64_t>(std::max(value<std::int64_t>(object, "Size"), std::int64_t{0})),
          .tags = value<Texts>(object, "RepoTags"),
          .digests = value<Texts>(object, "RepoDigests"),
          .layers = value<Texts>(object_member(object, "RootFS"), "Layers")};
}

std::vector<PublishedPort> read_ports(const json& container) {
  std::vector<PublishedPort> ports;
  for (const auto& port : list(member(container, "Ports")))
    if (const auto number = value<std::uint16_t>(port, "PublicPort"); number != 0)
      ports.push_back({.address = text(port, "IP"), .protocol = text(port, "Type"), .port = number});
  return ports;
}

ListedContainer read_listed(const json& object) {
  ListedContainer container;
  container.id = text(object, "Id");
  for (const auto& name : value<Texts>(object, "Names"))
    if (name.rfind('/') == 0) container.name = name.substr(1);
  container.state = text(object, "State");
  container.network_mode = text(object_member(object, "HostConfig"), "NetworkMode");
  container.mounts = read_mount_points(object);
  container.ports = read_ports(object);
  container.labels = value<StringMap>(object, "Labels");
  return container;
}

std::vector<ListedContainer> read_all_listed(const json& array) {
  std::vector<ListedContainer> containers;
  for (const auto& container : list(array)) containers.push_back(read_listed(container));
  return containers;
}

Texts keys_of(const json& object) {
  Texts keys;
  for (const auto& [key, rest] : object.get_ref<const json::object_t&>()) keys.push_back(key);
  return keys;
}

HostFacts read_host_facts(const json& info) {
  HostFacts facts;
  facts.data_root = text(info, "DockerRootDir");
  facts.architecture = text(info, "Architecture");
  facts.name = text(info, "Name");
  facts.os = text(info, "OSType");
  facts.store = text(info, "Driver");
  for (const auto& pair : value<std::vector<Texts>>(info, "DriverStatus"))
    if (pair == Texts{"driver-type", "io.containerd.snapshotter.v1"}) facts.containerd_store = true;
  for (const auto& option : value<Texts>(info, "SecurityOptions"))
    if (option == "name=userns" || option.starts_with("name=userns,")) facts.user_namespaces = true;
  facts.runtimes = keys_of(object_member(info, "Runtimes"));
  facts.log_drivers = value<Texts>(object_member(info, "Plugins"), "Log");
  facts.cgroup_version = text(info, "CgroupVersion");
  return facts;
}

}  // namespace

Result<Container> decode_container(std::string_view body) { return decode_json("container", body, read_container); }

Result<LayerChanges> decode_changes(std::string_view body) { return decode_json("changes", body, read_changes); }

Result<Image> decode_image(std::string_view body) { return decode_json("image", body, read_image); }

Result<std::vector<ListedContainer>> decode_listed_containers(std::string_view body) {
  return decode_json("containers", body, read_all_listed);
}

Result<HostFacts> decode_host_facts(std::string_view body) { return decode_json("info", body, read_host_facts); }

}  // namespace ferry::engine
