#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/container.h"
#include "transport/peer_address.h"
#include "volumes/record.h"

/// A service: a container with its volumes and its writable layer. Plain values.
namespace ferry::migration {

/// Something that stands in the way of a service at the other host, or that will be otherwise there. Sentences for
/// people.
struct Obstacle {
  std::string what;
  std::string remedy;  ///< what to do about it; empty: nothing has to be done
  bool blocks = true;

  bool operator==(const Obstacle&) const = default;
};

/// One of the container's mounts.
struct ServiceMount {
  engine::MountPoint at;
  bool anonymous = false;  ///< `docker rm -v` removes it
  bool no_copy = false;    ///< what the image has there is not copied into it while it is empty
  // Of a volume that Ferry can move:
  std::string lineage;  ///< empty: of a local volume that was never moved
  volumes::StringMap labels, options;
  std::uint64_t bytes = 0;               ///< of its content at least, if that was to be counted
  std::string trouble;                   ///< of a volume: why Ferry cannot move it; empty: it can
  std::vector<std::string> shared_with;  ///< other containers that have it, running or not

  bool is_volume() const { return at.type == "volume"; }
};

/// A destination as the Engine shows it, however it was typed.
std::string cleaned(const std::string& destination);

/// What the container has changed of its image.
struct ServiceLayer {
  std::string store;      ///< see engine::Container
  bool readable = false;  ///< that host's Ferry sees its files
  bool counted = false;   ///< the following are known
  engine::LayerChanges changes;
  std::uint64_t bytes = 0;

  bool is_empty() const { return counted && changes == engine::LayerChanges{}; }
};

/// How exactly a service is described.
enum class ServiceDetail {
  quick,  ///< what the Engine has at hand
  full,   ///< with what its layer and its volumes are and hold, for which minutes may pass
  whole,  ///< to make it elsewhere: with the values of its environment and of its log options, which may be secrets
};

/// What a host says of one of its services.
struct ServiceDescription {
  std::string container;  ///< its name
  std::string id;         ///< 64 hex digits
  std::string status;     ///< see engine::Container
  /// As that host's Engine has them, but for the values of the environment and of the log driver's options unless
  /// `has_values`; objects.
  nlohmann::json config = nlohmann::json::object();
  nlohmann::json host_config = nlohmann::json::object();
  nlohmann::json networks = nlohmann::json::object();
  bool has_values = false;
  std::vector<ServiceMount> mounts;
  std::string image_name;  ///< as it was named when the container was made
  engine::Image image;
  ServiceLayer layer;
  engine::HostFacts host;           ///< without data_root
  std::vector<Obstacle> obstacles;  ///< that only that host knows of
};

/// How a service is to be moved.
struct ServiceOptions {
  std::string container{};          ///< at the source
  std::string as{};                 ///< its name at the destination; empty: the same
  std::vector<std::string> only{};  ///< names of volumes, or destinations in the container; empty: all of them travel
  bool rest_empty = false;          ///< the others become empty volumes
  bool keep_binds = false;          ///< bind mounts exist at the destination
  bool copy_shared = false;         ///< volumes that other containers have, too, are copied
  bool layer = true;
  bool start = true;
  std::map<std::string, std::string> renames{};  ///< of volumes, by their names at the source

  const std::string& name_there() const { return as.empty() ? container : as; }
};

/// A ticket that says what would move.
struct ServicePlanRequest {
  transport::PeerAddress peer;
  bool exports = false;  ///< the service is this host's, and goes to the peer
  ServiceOptions options;
};

/// Options as a record and the peer protocol have them.
nlohmann::json to_json(const ServiceOptions& options);
/// Throws nlohmann::json::exception. What is none of Ferry's is refused by check(), which a peer's have to pass.
ServiceOptions service_options_of(const nlohmann::json& json);
Result<> check(const ServiceOptions& options);
/// Whether it is a name of a container, or may be the beginning of an ID.
Result<> check_container(const std::string& name, const std::string& option = "container");

}  // namespace ferry::migration
