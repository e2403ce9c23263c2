#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/container.h"
#include "migration/service.h"

namespace ferry::migration {

/// What a service would find at the host that it is to move to.
struct DestinationFacts {
  /// A volume that has the name of one of the service's already.
  struct Volume {
    std::string driver;   ///< ferry or another one
    std::string lineage;  ///< of Ferry's
  };
  enum class ImageThere { same, other, no };  ///< by ID or digest; `other`: another one has its name

  engine::HostFacts host;
  std::vector<engine::ListedContainer> containers;
  std::map<std::string, Volume> volumes;         ///< by name, of those that the service would have
  std::set<std::string> networks_missing;        ///< of those that the service would have
  std::vector<engine::PublishedPort> listening;  ///< what processes of that host have
  ImageThere image = ImageThere::no;
  std::uint64_t free_bytes = 0;
};

/// Whether what is there is a copy of the mount's volume, which the move would update.
bool is_copy(const ServiceMount& mount, const DestinationFacts::Volume& there);
/// Whether the mount goes along, as far as the user says so.
bool travels(const ServiceMount& mount, const ServiceOptions& options);
/// The mounts of the volumes that go along, one of each. They belong to `service`.
std::vector<const ServiceMount*> travelling_volumes(const ServiceDescription& service, const ServiceOptions& options);
/// Whether the mount's volume stays with other containers, and is copied.
inline bool is_copied(const ServiceMount& mount, const ServiceOptions& options) {
  return options.copy_shared && !mount.shared_with.empty();
}
/// What the mount's volume is to be called there.
std::string name_there(const ServiceMount& mount, const ServiceOptions& options);

/// All that stands in the way of that service there, and what will be otherwise, the gravest of each kind first.
/// Code::corrupt: its configuration is none of a Docker Engine.
Result<std::vector<Obstacle>> find_obstacles(const ServiceDescription& service, const ServiceOptions& options,
                                             const DestinationFacts& there);

/// Whether the names that its volumes are to have there can be those of volumes, and are not that of `ticket`.
Result<> check_names(const ServiceDescription& service, const ServiceOptions& options, const std::string& ticket);

/// The first one that blocks, as an error of Code::busy, and how many more there are.
Result<> refuse_blocked(const std::vector<Obstacle>& obstacles);

}  // namespace ferry::migration
