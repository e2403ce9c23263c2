#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "engine/api_version.h"
#include "migration/service.h"

namespace ferry::migration {

/// What a service's container is made with at the destination.
struct ServiceNames {
  std::string image;         ///< name or ID of the image there
  std::string driver;        ///< what the Engine there calls Ferry
  engine::ApiVersion api{};  ///< that the Engine there is spoken to
};

struct ServiceCreation {
  nlohmann::json body;  ///< of POST /containers/create
  /// Networks that are to be joined before the start, with their bodies of POST /networks/NAME/connect but for the
  /// container: before API 1.44 a create takes only one.
  std::map<std::string, nlohmann::json> other_networks;
};

/// The create request that makes the container anew, so that GET …/json of both differs only in IDs, times, addresses,
/// drivers and anonymous names (moby's api/swagger.yaml). `service` has to be ServiceDetail::whole.
///
/// Volumes that travel have to be there under their names, anonymous ones are made by the Engine with Ferry's driver
/// and no name, so that `docker rm -v` removes them (moby, daemon/mounts.go, removeMountPoints). What does not travel
/// becomes an anonymous volume that the Engine fills from the image. Mounts of other containers (VolumesFrom) become
/// its own.
///
/// Pure. Code::corrupt: the configuration is not what the API says.
Result<ServiceCreation> creation_of(const ServiceDescription& service, const ServiceOptions& options,
                                    const ServiceNames& names);

}  // namespace ferry::migration
