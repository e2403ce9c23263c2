#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// What the Docker Engine knows about volumes, as far as Ferry needs it. Plain values.
namespace ferry::engine {

using StringMap = std::map<std::string, std::string>;

/// A volume as GET /volumes shows it. Absent labels and options (`null`) are empty maps.
struct Volume {
  std::string name, driver, mountpoint, created_at;
  StringMap labels, options;
  nlohmann::json status = nullptr;  ///< what its driver says of it; null in listings

  bool operator==(const Volume&) const = default;
};

/// One container's use of one volume. A container that mounts a volume twice has two.
struct ContainerMount {
  std::string container;     ///< name without the leading slash; the short ID as long as the name is not known
  std::string container_id;  ///< 64 hex digits
  std::string volume;
  std::string destination;  ///< absolute path in the container
  bool rw = false;
  bool running = false;  ///< running, paused or restarting, or the Engine has it mounted (starting, docker cp)

  bool operator==(const ContainerMount&) const = default;
};

/// That of a running container which has the volume; null: none of `mounts` is. Points into `mounts`.
const ContainerMount* running_mount(const std::vector<ContainerMount>& mounts, const std::string& volume);

/// The mount as an argument of `docker run --mount`: type=volume,src=NAME,dst=DEST[,readonly]. Fields are quoted as
/// the one CSV record (RFC 4180) that docker/cli's opts/mount.go reads; Go's reader turns a CR LF in a path into LF.
std::string mount_argument(const ContainerMount& mount);

}  // namespace ferry::engine
