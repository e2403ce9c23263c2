#include "migration/service_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/members.h"
#include "migration/service_obstacles.h"

namespace ferry::migration {

namespace {

using engine::list;
using engine::member;
using engine::object_member;
using engine::text;
using nlohmann::json;

constexpr engine::ApiVersion first_with_networks{1, 44};
/// The Engine gives a container the beginning of its ID as its hostname, and as an alias in networks.
constexpr std::size_t short_id = 12;

/// `SOURCE:DESTINATION[:MODE]`; no colon can be part of either (moby, volume/mounts/linux_parser.go).
struct Bind {
  std::string source, destination, mode;

  explicit Bind(const std::string& text) {
    const auto first = text.find(':');
    if (first == std::string::npos) {  // of the API only: an anonymous volume
      destination = text;
      return;
    }
    const auto second = text.find(':', first + 1);
    source = text.substr(0, first);
    destination = text.substr(first + 1, second - first - 1);
    if (second != std::string::npos) mode = text.substr(second + 1);
  }
  std::string text() const {
    return (source.empty() ? "" : source + ":") + destination + (mode.empty() ? "" : ":" + mode);
  }
  bool is_of_a_volume() const { return !source.empty() && !source.starts_with('/'); }
};

class Creation {
 public:
  Creation(const ServiceDescription& service, const ServiceOptions& options, const ServiceNames& names)
      : service_(service),
        options_(options),
        names_(names),
        config_(service.config),
        host_(service.host_config),
        mounts_(json::array()) {}

  /// Whether it would mount what is not among the service's mounts.
  bool disagrees() const { return disagrees_; }

  ServiceCreation make() {
    config_["Image"] = names_.image;
    // Of a null one the Engine takes the image's, and of one that is empty text it makes null after that (moby,
    // daemon/commit.go, merge, and create.go).
    if (member(config_, "Entrypoint").is_null()) config_["Entrypoint"] = json::array({""});
    drop_hostname();
    host_.erase("ContainerIDFile");
    take_binds();
    take_mounts();
    take_tmpfs_and_volumes();
    add_the_rest();
    host_["VolumesFrom"] = nullptr;
    if (!mounts_.empty())
      host_["Mounts"] = std::move(mounts_);
    else
      host_.erase("Mounts");
    ServiceCreation made;
    join_networks(made);
    config_["HostConfig"] = std::move(host_);
    made.body = std::move(config_);
    return made;
  }

 private:
  std::string own_name() const { return service_.id.substr(0, short_id); }

  /// One that the Engine has chosen: by the container's ID, or, in the host's network, as that host is called. With the
  /// host's UTS namespace it takes none.
  void drop_hostname() {
    const std::string name = text(config_, "Hostname");
    const bool is_the_hosts = text(host_, "NetworkMode") == "host" && name == service_.host.name;
    const bool has_none = text(host_, "UTSMode") == "host";
    if (name == own_name() || is_the_hosts || has_none) config_.erase("Hostname");
    if (has_none) config_.erase("Domainname");
  }

  const ServiceMount* mount_at(const std::string& destination) const {
    const auto found = std::find_if(service_.mounts.begin(), service_.mounts.end(),
                                    [&](const ServiceMount& mount) { return mount.at.destination == destination; });
    return found == service_.mounts.end() ? nullptr : &*found;
  }

  /// What the container has there; it is not there for the rest. None: not shown among its mounts.
  const ServiceMount* take(const std::string& typed) {
    const std::string destination = cleaned(typed);
    taken_.insert(destination);
    return mount_at(destination);
  }

  void take_binds() {
    auto binds = json::array();
    for (const auto& one : list(member(host_, "Binds"))) {
      Bind bind(one.get<std::string>());
      const ServiceMount* const mount = take(bind.destination);
      // Who describes the service is another host: nothing is mounted that was not looked at.
      if (mount == nullptr || mount->is_volume() != !bind.source.starts_with('/') ||
          mount->anonymous != bind.source.empty())
        disagrees_ = true;
      if (mount != nullptr && !travels(*mount, options_)) {
        add_empty(*mount);
        continue;
      }
      if (bind.source.empty()) makes_volumes_ = true;
      if (mount != nullptr && mount->is_volume() && bind.is_of_a_volume()) bind.source = name_there(*mount, options_);
      binds.push_back(bind.text());
    }
    if (!binds.empty() || !member(host_, "Binds").is_null()) host_["Binds"] = std::move(binds);
  }

  void take_mounts() {
    for (json one : list(member(host_, "Mounts"))) {
      const ServiceMount* const mount = take(text(one, "Target"));
      if (mount == nullptr ? text(one, "Type") != "tmpfs" : mount->at.type != text(one, "Type")) disagrees_ = true;
      if (mount != nullptr && mount->is_volume() && mount->anonymous != text(one, "Source").empty()) disagrees_ = true;
      if (mount != nullptr && !travels(*mount, options_)) {
        add_empty(*mount);
        continue;
      }
      if (text(one, "Type") == "volume") {
        if (mount != nullptr && !text(one, "Source").empty()) one["Source"] = name_there(*mount, options_);
        one["VolumeOptions"].update(json{{"DriverConfig", {{"Name", names_.driver}}}});
      }
      mounts_.push_back(std::move(one));
    }
  }

  /// They stay as they are: --tmpfs, and anonymous volumes of -v /DESTINATION or of the image. Where another
  /// container's (VolumesFrom) takes the place of one of the latter, that is the one.
  void take_tmpfs_and_volumes() {
    for (const auto& [destination, mode] : object_member(host_, "Tmpfs").get_ref<const json::object_t&>())
      taken_.insert(cleaned(destination));
    for (const auto& [destination, empty] : object_member(config_, "Volumes").get_ref<const json::object_t&>())
      if (const auto* mount = mount_at(cleaned(destination)); mount == nullptr || mount->anonymous)
        makes_volumes_ = taken_.insert(cleaned(destination)).second || makes_volumes_;
    if (makes_volumes_)
      host_["VolumeDriver"] = names_.driver;
    else if (host_.contains("VolumeDriver"))
      host_["VolumeDriver"] = "";
  }

  /// Of VolumesFrom, of which the Engine fills nothing from the image.
  void add_the_rest() {
    for (const auto& mount : service_.mounts) {
      if (taken_.contains(mount.at.destination)) continue;
      if (!travels(mount, options_)) {
        add_empty(mount);
        continue;
      }
      json one = {{"Type", mount.at.type}, {"Target", mount.at.destination}};
      if (!mount.at.rw) one["ReadOnly"] = true;
      if (mount.is_volume()) {
        if (!mount.anonymous) one["Source"] = name_there(mount, options_);
        one["VolumeOptions"] = {{"NoCopy", true}, {"DriverConfig", {{"Name", names_.driver}}}};
      } else if (mount.at.type == "bind") {
        one["Source"] = mount.at.source;
      }
      mounts_.push_back(std::move(one));
    }
  }

  void add_empty(const ServiceMount& mount) {
    json one = {{"Type", "volume"},
                {"Target", mount.at.destination},
                {"VolumeOptions", {{"DriverConfig", {{"Name", names_.driver}}}}}};
    if (!mount.at.rw) one["ReadOnly"] = true;
    if (mount.no_copy) one["VolumeOptions"]["NoCopy"] = true;
    mounts_.push_back(std::move(one));
  }

  /// What was asked for of an endpoint; the rest of it (addresses, IDs) is what came of that.
  json endpoint_of(const json& network) const {
    json endpoint = json::object();
    for (const char* name : {"IPAMConfig", "Links", "DriverOpts"})
      if (const json& asked = member(network, name); !asked.is_null()) endpoint[name] = asked;
    auto aliases = json::array();
    for (const auto& alias : list(member(network, "Aliases")))
      if (alias != own_name()) aliases.push_back(alias);
    if (!aliases.empty()) endpoint["Aliases"] = std::move(aliases);
    return endpoint;
  }

  void join_networks(ServiceCreation& made) {
    std::string mode = text(host_, "NetworkMode");
    for (const auto& [name, network] : service_.networks.get_ref<const json::object_t&>())
      if (!mode.empty() && text(network, "NetworkID").starts_with(mode)) host_["NetworkMode"] = mode = name;
    if (mode == "host" || mode == "none" || mode.starts_with("container:")) return;
    const std::string first = mode.empty() || mode == "default" ? "bridge" : mode;
    json endpoints = json::object();
    for (const auto& [name, network] : service_.networks.get_ref<const json::object_t&>()) {
      if (name == first || !(names_.api < first_with_networks))
        endpoints[name] = endpoint_of(network);
      else
        made.other_networks[name] = {{"EndpointConfig", endpoint_of(network)}};
    }
    if (!endpoints.empty()) config_["NetworkingConfig"] = {{"EndpointsConfig", std::move(endpoints)}};
  }

  const ServiceDescription& service_;
  const ServiceOptions& options_;
  const ServiceNames& names_;
  json config_, host_, mounts_;
  std::set<std::string> taken_;  // destinations, by the functions that make() calls in this order
  bool disagrees_ = false;
  bool makes_volumes_ = false;  // the Engine does, and is not told of which driver at each
};

}  // namespace

Result<ServiceCreation> creation_of(const ServiceDescription& service, const ServiceOptions& options,
                                    const ServiceNames& names) {
  if (!service.has_values)
    return fail(Code::corrupt, "the container is described without the values of its environment");
  try {
    Creation creation(service, options, names);
    auto made = creation.make();
    if (creation.disagrees())
      return fail(Code::corrupt, "the container's configuration mounts what is not among its mounts");
    return made;
  } catch (const json::exception& error) {
    return engine::not_understood("the container's configuration", error);
  }
}

}  // namespace ferry::migration
