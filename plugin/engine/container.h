#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/types.h"

/// What a container is made of, as the Docker Engine tells it (moby's api/swagger.yaml). Plain values; every function
/// is pure, and what is not JSON or has another type than the API says is Code::corrupt.
namespace ferry::engine {

/// One of a container's `Mounts`, of whatever type.
struct MountPoint {
  std::string type;         ///< volume, bind, tmpfs, npipe, image, cluster
  std::string name;         ///< of a volume
  std::string source;       ///< path on the host
  std::string destination;  ///< absolute path in the container
  std::string driver;       ///< of a volume
  std::string mode;         ///< what stands behind the last colon of `-v`: z, Z, nocopy, …
  bool rw = false;

  bool operator==(const MountPoint&) const = default;
};

/// GET /containers/NAME/json.
struct Container {
  std::string id;  ///< 64 hex digits
  std::string name;
  std::string image_id;
  std::string image;   ///< as it was named when the container was made
  std::string status;  ///< created, running, paused, restarting, removing, exited, dead
  std::string health;  ///< starting, healthy, unhealthy; empty: it has no health check
  bool running = false, paused = false, restarting = false, dead = false;
  std::string started;  ///< when it was started last, as the API writes times; it is another one after each start
  nlohmann::json config, host_config, networks;  ///< as the API has them; objects
  std::vector<MountPoint> mounts;                ///< sorted by destination
  std::string store;                         ///< what keeps the image's layers and its own: overlay2, overlayfs, …
  std::string upper;                         ///< its layer on the host, of a store that tells: overlay2
  std::optional<std::uint64_t> layer_bytes;  ///< of the files in its layer, if that was asked for
};

/// How many paths of the container's layer are there beside the image's, changed, and gone: GET …/changes.
struct LayerChanges {
  std::uint64_t added = 0, changed = 0, deleted = 0;

  bool operator==(const LayerChanges&) const = default;
};

/// GET /images/NAME/json.
struct Image {
  std::string id;  ///< sha256:…; of its configuration, or with containerd's store of its manifest
  std::string architecture, variant, os;
  std::uint64_t bytes = 0;
  std::vector<std::string> tags;     ///< REPOSITORY:TAG
  std::vector<std::string> digests;  ///< REPOSITORY@sha256:…
  std::vector<std::string> layers;   ///< sha256:… of what each one unpacks to, the lowest first

  bool operator==(const Image&) const = default;
};

/// A port of the host that leads into a container.
struct PublishedPort {
  std::string address;   ///< of the host; 0.0.0.0 and ::, or empty: all
  std::string protocol;  ///< tcp, udp, sctp
  std::uint16_t port = 0;

  bool operator==(const PublishedPort&) const = default;
};

/// One of GET /containers/json?all=1.
struct ListedContainer {
  std::string id, name;
  std::string state;         ///< as Container::status
  std::string network_mode;  ///< bridge, host, none, a network's name, container:ID
  std::vector<MountPoint> mounts;
  std::vector<PublishedPort> ports;  ///< only while it runs
  StringMap labels;
};

/// GET /info: what a container finds on a host.
struct HostFacts {
  std::string name;  ///< of the host
  std::string data_root;
  std::string architecture, os;       ///< as the kernel calls it (x86_64), and linux
  std::string store;                  ///< overlay2, overlayfs, btrfs, …
  bool containerd_store = false;      ///< images and layers are containerd's
  bool user_namespaces = false;       ///< daemon-wide (userns-remap)
  std::vector<std::string> runtimes;  ///< runc, …
  std::vector<std::string> log_drivers;
  std::string cgroup_version;  ///< 1 or 2; empty: not told
};

Result<Container> decode_container(std::string_view body);
Result<LayerChanges> decode_changes(std::string_view body);
Result<Image> decode_image(std::string_view body);
Result<std::vector<ListedContainer>> decode_listed_containers(std::string_view body);
Result<HostFacts> decode_host_facts(std::string_view body);

}  // namespace ferry::engine
