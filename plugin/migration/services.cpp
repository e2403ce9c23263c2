#include "migration/services.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "engine/members.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

using engine::list;
using engine::member;
using engine::object_member;
using engine::text;
using nlohmann::json;

/// For a plan the names of the environment are enough, and its values are secrets. Throws json's exceptions.
json without_values(json config) {
  if (const auto environment = config.find("Env"); environment != config.end() && environment->is_array())
    for (auto& one : *environment) {
      const auto& text = one.get_ref<const std::string&>();
      if (const auto value = text.find('='); value != std::string::npos) one = text.substr(0, value + 1);
    }
  return config;
}

json without_log_options(json host_config) {
  const json::json_pointer options("/LogConfig/Config");
  if (host_config.contains(options) && host_config[options].is_object())
    for (auto& value : host_config[options]) value = "";
  return host_config;
}

/// The part of a `-v SOURCE:DESTINATION[:MODE]` before its first colon; without a colon it has no source.
std::string source_of_bind(const std::string& bind) {
  const auto colon = bind.find(':');
  return colon == std::string::npos ? "" : bind.substr(0, colon);
}

/// Of the container's mounts as they were asked for. Throws json's exceptions.
class Wanted {
 public:
  explicit Wanted(const json& host_config) {
    for (const auto& bind : list(member(host_config, "Binds"))) named_.insert(source_of_bind(bind.get<std::string>()));
    for (const auto& mount : list(member(host_config, "Mounts"))) {
      named_.insert(text(mount, "Source"));
      const json& options = object_member(mount, "VolumeOptions");
      const std::string at = cleaned(text(mount, "Target"));
      if (engine::value<bool>(options, "NoCopy")) no_copy_.insert(at);
      if (const std::string subpath = text(options, "Subpath"); !subpath.empty()) subpaths_[at] = subpath;
    }
  }
  /// Why a volume is not mounted as a whole; empty: it is.
  std::string part_of(const engine::MountPoint& mount) const {
    const auto found = subpaths_.find(mount.destination);
    return found == subpaths_.end() ? "" : found->second;
  }
  /// Whether a volume of that name was asked for by it.
  bool names(const std::string& volume) const { return named_.contains(volume); }
  bool is_no_copy(const engine::MountPoint& mount) const {
    return no_copy_.contains(mount.destination) || ("," + mount.mode + ",").find(",nocopy,") != std::string::npos;
  }

 private:
  std::set<std::string> named_;
  std::set<std::string> no_copy_;
  std::map<std::string, std::string> subpaths_;
};

bool has_volume(const engine::ListedContainer& container, const std::string& volume) {
  return std::any_of(container.mounts.begin(), container.mounts.end(),
                     [&](const engine::MountPoint& mount) { return mount.type == "volume" && mount.name == volume; });
}

std::string shown(const engine::ListedContainer& container) {
  return container.name.empty() ? container.id.substr(0, 12) : container.name;
}

/// Whether `mode`, container:OTHER, means that container.
bool means(const std::string& mode, const engine::Container& container) {
  constexpr std::string_view prefix = "container:";
  if (!mode.starts_with(prefix)) return false;
  const auto other = std::string_view(mode).substr(prefix.size());
  return !other.empty() && (other == container.name || container.id.starts_with(other));
}

void add_others(const engine::Container& container, const std::vector<engine::ListedContainer>& all,
                ServiceDescription& service) {
  for (const auto& other : all) {
    if (other.id == container.id) continue;
    for (auto& mount : service.mounts)
      if (mount.is_volume() && has_volume(other, mount.at.name)) mount.shared_with.push_back(shown(other));
    if (means(other.network_mode, container))
      service.obstacles.push_back({"container " + shown(other) + " uses the network of this one",
                                   "remove it, or move what it does into a network of both"});
  }
}

/// Those of --tmpfs, which are not among the mounts. Throws json's exceptions.
void add_tmpfs(const engine::Container& container, ServiceDescription& service) {
  for (const auto& [destination, mode] : object_member(container.host_config, "Tmpfs").items()) {
    ServiceMount& mount = service.mounts.emplace_back();
    mount.at.type = "tmpfs";
    mount.at.destination = cleaned(destination);
    mount.at.mode = mode.get<std::string>();
    mount.at.rw = true;
  }
}

/// What has happened there does not go along.
void add_state(const engine::Container& container, ServiceDescription& service) {
  const auto stands = [&](const std::string& how, const std::string& remedy) {
    service.obstacles.push_back({"the container is " + how, remedy});
  };
  if (container.paused) stands("paused", "unpause it first");
  if (container.restarting) stands("restarting, again and again perhaps", "see to it that it runs, or stop it");
  if (container.dead || container.status == "removing") stands("being removed", "make it anew");
}

}  // namespace

Result<ServiceDescription> Services::describe(const std::string& name, ServiceDetail detail,
                                              engine::Interrupt* interrupt) const {
  auto found = detail == ServiceDetail::full ? containers_.container_with_size(name, interrupt)
                                             : containers_.container(name, interrupt);
  if (!found && found.error().code == Code::not_found)
    return fail(Code::not_found, "there is no container " + quote(name));
  FERRY_TRY(found);
  const engine::Container& container = *found;
  ServiceDescription service;
  service.container = container.name;
  service.id = container.id;
  service.status = container.status;
  service.networks = container.networks;
  service.image_name = container.image;
  try {
    service.has_values = detail == ServiceDetail::whole;
    service.config = service.has_values ? container.config : without_values(container.config);
    service.host_config = service.has_values ? container.host_config : without_log_options(container.host_config);
    const Wanted wanted(container.host_config);
    for (const auto& at : container.mounts) {
      ServiceMount& mount = service.mounts.emplace_back();
      mount.at = at;
      mount.anonymous = mount.is_volume() && volumes::is_anonymous(at.name) && !wanted.names(at.name);
      mount.no_copy = wanted.is_no_copy(at);
      if (const std::string part = wanted.part_of(at); !part.empty())
        mount.trouble =
            "of volume " + at.name + " only " + quote(part) + " is mounted (volume-subpath), which Ferry does not move";
      if (interrupt != nullptr && interrupt->tripped()) return fail(Code::cancelled, "cancelled");
      if (mount.is_volume() && mount.trouble.empty() && detail != ServiceDetail::quick)
        FERRY_TRY(describe_volume(mount));
    }
    add_tmpfs(container, service);
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
  FERRY_ASSIGN(const auto all, containers_.list(interrupt));
  add_others(container, all, service);
  add_state(container, service);
  auto image = containers_.image(container.image_id, interrupt);
  if (!image && image.error().code != Code::not_found) return pass(image);
  if (image)
    service.image = std::move(*image);
  else
    service.obstacles.push_back({"its image is not there any more", "load or pull it again where the container is"});
  FERRY_ASSIGN(service.host, containers_.facts(interrupt));
  service.host.data_root.clear();
  service.layer.store = container.store;
  service.layer.readable = !container.upper.empty() && sources_.sees(container.upper);
  service.layer.bytes = container.layer_bytes.value_or(0);
  if (detail == ServiceDetail::full) FERRY_TRY(count_layer(service, interrupt));
  if (detail != ServiceDetail::quick) FERRY_TRY(find_dependents(container, all, service, interrupt));
  return service;
}

Result<engine::Image> Services::image_of(const std::string& container) const {
  FERRY_ASSIGN(auto known, containers_.container(container));
  return containers_.image(known.image_id);
}

/// Others that cannot do without this one. Whether they use its network, the list tells already.
Result<> Services::find_dependents(const engine::Container& container, const std::vector<engine::ListedContainer>& all,
                                   ServiceDescription& service, engine::Interrupt* interrupt) const {
  for (const auto& listed : all) {
    if (listed.id == container.id) continue;
    const auto other = containers_.container(listed.id, interrupt);
    if (!other && other.error().code == Code::not_found) continue;
    FERRY_TRY(other);
    try {
      for (const char* mode : {"IpcMode", "PidMode"})
        if (means(text(other->host_config, mode), container))
          service.obstacles.push_back({"container " + shown(listed) + " uses a namespace of this one (" + mode + ")",
                                       "remove it, or give it a namespace of its own"});
      for (const auto& link : list(member(other->host_config, "Links")))
        if (link.get<std::string>().starts_with("/" + container.name + ":"))
          service.obstacles.push_back(
              {"container " + shown(listed) + " is linked to this one", "remove it, or use a network of both instead"});
    } catch (const json::exception& error) {
      return engine::not_understood("the Engine's container", error);
    }
  }
  return {};
}

/// One that cannot be moved stands in the way, and is no reason to say nothing of the others.
Result<> Services::describe_volume(ServiceMount& mount) const {
  const auto described = sources_.describe(mount.at.name, Freeze::none, 0);
  if (!described && (described.error().code == Code::unavailable || described.error().code == Code::cancelled))
    return tl::unexpected(described.error());
  if (!described) {
    mount.trouble = described.error().message;
    return {};
  }
  mount.lineage = described->lineage;
  mount.labels = described->labels;
  mount.options = described->options;
  mount.bytes = described->bytes;
  return {};
}

/// An Engine that cannot tell, as older ones with containerd's store, is no reason to say nothing.
Result<> Services::count_layer(ServiceDescription& service, engine::Interrupt* interrupt) const {
  const auto changes = containers_.changes(service.id, interrupt);
  if (!changes && (changes.error().code == Code::unavailable || changes.error().code == Code::cancelled))
    return tl::unexpected(changes.error());
  service.layer.counted = changes.has_value();
  if (changes) service.layer.changes = *changes;
  return {};
}

}  // namespace ferry::migration
