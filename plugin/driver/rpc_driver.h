#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace ferry::driver {

/// What the Engine may learn about one volume.
struct VolumeInfo {
  std::string name;
  std::string mountpoint;  ///< empty: not mounted
  std::string created_at;  ///< RFC 3339; empty: unknown, then left out of the answer
  nlohmann::json status;   ///< an object shown under Status by `docker volume inspect`; null: none
};

/// What RpcServer asks of the volumes, one function per VolumeDriver RPC. Called from many threads at once, and the
/// Engine may repeat any call. An error's message reaches the user as it is.
///
/// The Engine holds a lock during most calls: of the name during Create, Get and Remove, of the container during Mount
/// and Unmount. So none of these may wait for an answer of the Engine about that volume or container.
class VolumeDriver {
 public:
  virtual ~VolumeDriver() = default;

  /// Creates a volume. `options` are the user's `-o KEY=VALUE`.
  virtual Result<> create(const std::string& name, const std::map<std::string, std::string>& options) = 0;
  virtual Result<> remove(const std::string& name) = 0;
  /// The directory to bind into the container; never empty. `id` names the mount point and may repeat.
  virtual Result<std::string> mount(const std::string& name, const std::string& id) = 0;
  /// An unknown `id` is a success.
  virtual Result<> unmount(const std::string& name, const std::string& id) = 0;
  /// Where the volume is mounted now; empty if it is not.
  virtual Result<std::string> path(const std::string& name) = 0;
  /// Code::not_found (and invalid_argument) makes the Engine forget the volume with its labels and options. Any other
  /// error is passed on as a broken connection, which the Engine retries and which makes it forget nothing.
  virtual Result<VolumeInfo> get(const std::string& name) = 0;
  /// Every volume; `status` is not used.
  virtual std::vector<VolumeInfo> list() = 0;
};

}  // namespace ferry::driver
