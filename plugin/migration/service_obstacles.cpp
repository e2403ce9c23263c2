#include "migration/service_obstacles.h"

#include <algorithm>
#include <array>
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

constexpr const char* leave_out = "leave it out with volume=…, and pass rest=empty";

bool is_all_addresses(const std::string& address) { return address.empty() || address == "0.0.0.0" || address == "::"; }

bool overlap(const std::string& a, const std::string& b) {
  return a == b || is_all_addresses(a) || is_all_addresses(b);
}

std::string joined(const std::vector<std::string>& words) {
  constexpr std::size_t most = 10;
  std::string all;
  for (std::size_t i = 0; i < std::min(words.size(), most); ++i) all += (i == 0 ? "" : ", ") + printable(words[i], 100);
  return words.size() > most ? all + " and " + std::to_string(words.size() - most) + " more" : all;
}

class Finder {
 public:
  Finder(const ServiceDescription& service, const ServiceOptions& options, const DestinationFacts& there)
      : service_(service), options_(options), there_(there) {}

  std::vector<Obstacle> find() {
    found_ = service_.obstacles;
    check_kind();
    check_name();
    check_host();
    check_namespaces();
    check_networks();
    check_ports();
    check_devices();
    for (const auto& mount : service_.mounts) check_mount(mount);
    check_fence();
    check_only();
    check_names();
    check_layer();
    check_image();
    check_room();
    std::stable_partition(found_.begin(), found_.end(), [](const Obstacle& obstacle) { return obstacle.blocks; });
    return std::move(found_);
  }

 private:
  void block(std::string what, std::string remedy) { add({std::move(what), std::move(remedy), true}); }
  void say(std::string what) { add({std::move(what), "", false}); }
  /// What a peer says may be endless.
  void add(Obstacle obstacle) {
    constexpr std::size_t most = 200;
    const bool is_known = std::find(found_.begin(), found_.end(), obstacle) != found_.end();  // it is mounted twice
    if (found_.size() < most && !is_known) found_.push_back(std::move(obstacle));
  }
  const json& host() const { return service_.host_config; }

  void check_kind() {
    const auto labels = engine::value<engine::StringMap>(service_.config, "Labels");
    if (const auto task = labels.find("com.docker.swarm.service.name"); task != labels.end())
      block("the container is a task of the swarm service " + printable(task->second, 100) +
                ", which only the swarm moves",
            "let the swarm do it, with placement constraints");
    if (engine::value<bool>(host(), "AutoRemove"))
      block("the container was started with --rm, so stopping it would remove it", "start it without --rm");
  }

  void check_name() {
    const std::string& name = options_.name_there();
    for (const auto& other : there_.containers)
      if (other.name == name)
        block("the destination has a container " + name + " already",
              "remove it, or give this one another name with as=NAME");
  }

  void check_host() {
    const auto& from = service_.host;
    const auto& to = there_.host;
    if (from.architecture != to.architecture || from.os != to.os)
      block("the container is for " + printable(from.os, 60) + "/" + printable(from.architecture, 60) +
                ", and the destination is " + to.os + "/" + to.architecture,
            "move it to a host of its own kind");
    if (from.user_namespaces != to.user_namespaces)
      block("one of the hosts has its containers in a user namespace (userns-remap) and the other has not",
            "set up both alike");
    const std::string runtime = text(host(), "Runtime");
    if (!runtime.empty() && std::find(to.runtimes.begin(), to.runtimes.end(), runtime) == to.runtimes.end())
      block("the destination has no runtime " + printable(runtime, 100),
            "set it up there in the Engine's configuration");
    const std::string logs = text(object_member(host(), "LogConfig"), "Type");
    const auto has = [&](const engine::HostFacts& facts) {
      return std::find(facts.log_drivers.begin(), facts.log_drivers.end(), logs) != facts.log_drivers.end();
    };
    if (!logs.empty() && !has(to) && has(from))
      block("the destination's Engine has no log driver " + printable(logs, 100),
            "use another one, or a newer Engine there");
    else if (!logs.empty() && !has(to))  // the Engine lists its own only
      say("its log driver " + printable(logs, 100) + " is a plugin, which the destination has to have");
    if (from.cgroup_version != to.cgroup_version && !from.cgroup_version.empty() && !to.cgroup_version.empty())
      say("the hosts have different versions of cgroups (" + from.cgroup_version + " and " + to.cgroup_version +
          "), so some limits may have no effect");
  }

  void check_namespaces() {
    constexpr std::array<std::pair<const char*, const char*>, 3> kinds = {
        {{"NetworkMode", "network"}, {"IpcMode", "ipc namespace"}, {"PidMode", "pid namespace"}}};
    for (const auto& [name, what] : kinds) {
      const std::string mode = text(host(), name);
      if (mode.starts_with("container:"))
        block("its " + std::string(what) + " is that of another container (" + printable(mode, 100) + ")",
              "give it one of its own");
    }
    for (const auto& link : list(member(host(), "Links")))
      block("it is linked to another container (" + printable(link.get<std::string>(), 100) + ")",
            "use a network of both instead");
  }

  void check_networks() {
    for (const auto& name : there_.networks_missing)
      block("the destination has no network " + printable(name, 100), "docker network create it there");
  }

  /// Who has the port there: "container NAME", "a process of that host"; empty: nobody.
  std::string holder_of(const engine::PublishedPort& port) const {
    const auto clashes = [&](const engine::PublishedPort& taken) {
      return taken.port == port.port && taken.protocol == port.protocol && overlap(taken.address, port.address);
    };
    for (const auto& other : there_.containers)
      if (std::any_of(other.ports.begin(), other.ports.end(), clashes)) return "container " + other.name;
    const bool listens = std::any_of(there_.listening.begin(), there_.listening.end(), clashes);
    return listens ? "a process of that host" : "";
  }

  void check_ports() {
    const std::string mode = text(host(), "NetworkMode");
    if (mode == "host") say("it uses the host's network: which ports it needs is not known");
    for (const auto& [inside, bindings] : object_member(host(), "PortBindings").get_ref<const json::object_t&>()) {
      const auto slash = inside.find('/');
      const std::string protocol = slash == std::string::npos ? "tcp" : inside.substr(slash + 1);
      for (const auto& binding : list(bindings))
        check_port(protocol, text(binding, "HostIp"), text(binding, "HostPort"));
    }
  }

  /// A range, or none, is chosen from at the start.
  void check_port(const std::string& protocol, const std::string& address, const std::string& text) {
    const bool is_one = !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == std::string::npos;
    const int number = is_one ? std::stoi(text) : 0;
    if (number <= 0 || number > UINT16_MAX) return;
    const engine::PublishedPort port{address, protocol, static_cast<std::uint16_t>(number)};
    if (const std::string holder = holder_of(port); !holder.empty())
      block("port " + std::to_string(number) + "/" + printable(protocol, 10) + " is taken at the destination by " +
                holder,
            "stop that, or publish another port");
  }

  void check_devices() {
    std::vector<std::string> devices;
    for (const auto& device : list(member(host(), "Devices")))
      devices.push_back(printable(text(device, "PathOnHost"), 100));
    for (const auto& request : list(member(host(), "DeviceRequests"))) {
      const std::string driver = text(request, "Driver");
      devices.push_back(driver.empty() ? "by request" : printable(driver, 100));
    }
    if (!devices.empty())
      block("the container has devices of its host (" + joined(devices) + "), which do not move",
            "make it without them");
    if (engine::value<bool>(host(), "Privileged")) say("the container is privileged, and will be so there");
  }

  void check_mount(const ServiceMount& mount) {
    const std::string at = " at " + printable(mount.at.destination, 300);
    if (!travels(mount, options_)) {
      if (!options_.rest_empty)
        block("the mount" + at + " is not among those of option volume",
              "name it there, too, or pass rest=empty for an empty volume in its place");
      return;
    }
    if (mount.at.type == "bind") {
      if (options_.keep_binds) return;
      block(printable(mount.at.source, 300) + at + " is a bind mount, of which Ferry moves nothing",
            "copy it there and pass binds=keep, or use a volume");
    } else if (mount.at.type == "tmpfs") {
      say("the tmpfs" + at + " is empty there: its content ends with the container, as ever");
    } else if (mount.is_volume()) {
      check_volume(mount, at);
    } else {
      block("the mount" + at + " is of type " + printable(mount.at.type, 30) + ", which Ferry does not move",
            "use a volume in its place");
    }
  }

  void check_volume(const ServiceMount& mount, const std::string& at) {
    if (!mount.trouble.empty()) return block(mount.trouble + " (" + at.substr(1) + ")", leave_out);
    if (!mount.shared_with.empty() && !options_.copy_shared)
      block("volume " + printable(mount.at.name, 100) + at + " is also used by " + joined(mount.shared_with) +
                ", which stays",
            "pass shared=copy to leave the original to it, or remove that first");
    if (mount.anonymous) return;  // it gets another name
    const std::string name = name_there(mount, options_);
    const auto found = there_.volumes.find(name);
    if (found == there_.volumes.end()) return;
    // Onto a copy: the Engine would fill it from the image if it is empty, and cannot mount one that was handed off.
    block(is_copy(mount, found->second) ? "the destination has a copy of volume " + name +
                                              " already, and this version of Ferry moves services to new volumes only"
                                        : "the destination has another volume " + name + " already (driver " +
                                              printable(found->second.driver, 60) + ")",
          "remove it there, or give this one another name with rename=" + printable(mount.at.name, 100) + ":NAME");
  }

  /// Volumes of Ferry's cannot be mounted where they have left, so the container that has one does not start there.
  void check_fence() {
    const bool is_fenced = std::any_of(service_.mounts.begin(), service_.mounts.end(), [&](const ServiceMount& mount) {
      return mount.is_volume() && mount.at.driver != "local" && travels(mount, options_) && !is_copied(mount, options_);
    });
    if (!is_fenced)
      say("none of its volumes that move is Ferry's, so nothing keeps anybody from starting what is left of it at its "
          "source, beside the one that has moved");
  }

  /// What option volume names, and the container does not have.
  void check_only() {
    for (const auto& item : options_.only) {
      const bool known = std::any_of(service_.mounts.begin(), service_.mounts.end(), [&](const ServiceMount& mount) {
        return mount.at.destination == item || (mount.is_volume() && mount.at.name == item);
      });
      if (!known)
        block("the container has no volume " + printable(item, 100),
              "name volumes or destinations that it has in option volume");
    }
    for (const auto& [old, name] : options_.renames) {
      const bool known =
          std::any_of(service_.mounts.begin(), service_.mounts.end(), [&, &was = old](const ServiceMount& mount) {
            return mount.is_volume() && mount.at.name == was && travels(mount, options_);
          });
      if (!known) block("option rename: " + old + " is no volume of the container that moves", "leave it out");
    }
  }

  void check_names() {
    std::map<std::string, std::string> names;  // there, of those here
    for (const auto& mount : service_.mounts) {
      if (!mount.is_volume() || mount.anonymous || !travels(mount, options_)) continue;
      const auto [taken, is_new] = names.emplace(name_there(mount, options_), mount.at.name);
      if (!is_new && taken->second != mount.at.name)
        block("volumes " + printable(taken->second, 100) + " and " + printable(mount.at.name, 100) +
                  " would both be named " + printable(taken->first, 100),
              "give one of them another name with rename=OLD:NEW");
    }
  }

  void check_layer() {
    const auto& layer = service_.layer;
    if (!options_.layer) {
      if (!layer.is_empty()) say("what the container has changed of its image stays behind (layer=false)");
      return;
    }
    if (layer.is_empty()) return;
    const std::string remedy = "pass layer=false, which leaves what the container has changed of its image behind";
    if (service_.host.containerd_store || there_.host.containerd_store)
      block("one of the Engines keeps containers in containerd's store, where Ferry does not see their layers", remedy);
    else if (layer.store != there_.host.store)
      block("the container's layer is in " + printable(layer.store, 60) + ", and the destination has " +
                printable(there_.host.store, 60),
            remedy);
    else if (!layer.readable)
      block("the source's Ferry does not see the container's layer", remedy);
  }

  void check_image() {
    const std::string name = printable(service_.image_name, 200);
    if (there_.image == DestinationFacts::ImageThere::other)
      block("the destination has another image " + name, "tag one of the two anew");
    if (there_.image == DestinationFacts::ImageThere::no)
      say("the destination does not have the image " + name + ", so it is pulled there, or sent");
  }

  void check_room() {
    std::uint64_t bytes = options_.layer ? service_.layer.bytes : 0;
    const auto add = [&](std::uint64_t more) { bytes = more > UINT64_MAX - bytes ? UINT64_MAX : bytes + more; };
    std::set<std::string> counted;  // one may be mounted twice
    for (const auto& mount : service_.mounts)
      if (mount.is_volume() && travels(mount, options_) && counted.insert(mount.at.name).second) add(mount.bytes);
    if (there_.image != DestinationFacts::ImageThere::same) add(service_.image.bytes);
    if (bytes > there_.free_bytes)
      block("the service takes " + std::to_string(bytes) + " bytes, and the destination has room for " +
                std::to_string(there_.free_bytes),
            "free some there");
  }

  const ServiceDescription& service_;
  const ServiceOptions& options_;
  const DestinationFacts& there_;
  std::vector<Obstacle> found_;
};

}  // namespace

bool is_copy(const ServiceMount& mount, const DestinationFacts::Volume& there) {
  return there.driver == "ferry" && !mount.lineage.empty() && there.lineage == mount.lineage;
}

bool travels(const ServiceMount& mount, const ServiceOptions& options) {
  if (options.only.empty() || mount.at.type == "tmpfs") return true;
  return std::any_of(options.only.begin(), options.only.end(), [&](const std::string& item) {
    return item == mount.at.destination || (mount.is_volume() && item == mount.at.name);
  });
}

std::vector<const ServiceMount*> travelling_volumes(const ServiceDescription& service, const ServiceOptions& options) {
  std::vector<const ServiceMount*> all;
  std::set<std::string> seen;
  for (const auto& mount : service.mounts)
    if (mount.is_volume() && travels(mount, options) && seen.insert(mount.at.name).second) all.push_back(&mount);
  return all;
}

std::string name_there(const ServiceMount& mount, const ServiceOptions& options) {
  const auto renamed = options.renames.find(mount.at.name);
  return renamed == options.renames.end() ? mount.at.name : renamed->second;
}

Result<std::vector<Obstacle>> find_obstacles(const ServiceDescription& service, const ServiceOptions& options,
                                             const DestinationFacts& there) {
  try {
    return Finder(service, options, there).find();
  } catch (const json::exception& error) {
    return engine::not_understood("the container's configuration", error);
  }
}

Result<> check_names(const ServiceDescription& service, const ServiceOptions& options, const std::string& ticket) {
  for (const auto& mount : service.mounts) {
    if (!mount.is_volume() || !travels(mount, options)) continue;
    FERRY_TRY(volumes::check_name(mount.at.name));
    if (mount.anonymous) {
      if (!volumes::is_anonymous(mount.at.name))
        return fail(Code::corrupt, "the source says that volume " + mount.at.name +
                                       " is anonymous, which no Docker Engine calls one that is");
      continue;
    }
    const std::string name = name_there(mount, options);
    FERRY_TRY(volumes::check_name(name));
    FERRY_TRY(volumes::check_not_reserved(name));
    if (name == ticket)
      return fail(Code::already_exists, "the service has a volume " + name + "; give the ticket another name");
  }
  return {};
}

Result<> refuse_blocked(const std::vector<Obstacle>& obstacles) {
  const auto blocking = std::count_if(obstacles.begin(), obstacles.end(), [](const auto& one) { return one.blocks; });
  if (blocking == 0) return {};
  const auto first = std::find_if(obstacles.begin(), obstacles.end(), [](const auto& one) { return one.blocks; });
  std::string why = first->what + (first->remedy.empty() ? "" : "; " + first->remedy);
  if (blocking > 1) why += " (and " + std::to_string(blocking - 1) + " more, which dry-run=true lists)";
  return fail(Code::busy, why);
}

}  // namespace ferry::migration
