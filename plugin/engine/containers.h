#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/client.h"
#include "engine/container.h"

namespace ferry::engine {

/// What the Engine tells of containers, images and networks. Thread-safe; errors are those of Client. Without an
/// `interrupt` of its own, Client::stop() ends a call.
///
/// Never to be asked about container C inside Mount or Unmount of a volume of C: the Engine holds C's lock meanwhile.
class Containers {
 public:
  /// The client must outlive this object.
  explicit Containers(Client& client) : client_(client) {}

  /// By name, ID or the beginning of an ID that no other one has. Code::not_found.
  Result<Container> container(const std::string& name, Interrupt* interrupt = nullptr) const;
  /// With layer_bytes, for which the Engine looks at each file of the layer.
  Result<Container> container_with_size(const std::string& name, Interrupt* interrupt = nullptr) const;
  /// Likewise.
  Result<LayerChanges> changes(const std::string& name, Interrupt* interrupt = nullptr) const;
  /// Also of those that do not run.
  Result<std::vector<ListedContainer>> list(Interrupt* interrupt = nullptr) const;
  /// By ID, REPOSITORY:TAG or REPOSITORY@sha256:…; Code::not_found.
  Result<Image> image(const std::string& name, Interrupt* interrupt = nullptr) const;
  Result<bool> has_network(const std::string& name, Interrupt* interrupt = nullptr) const;
  Result<HostFacts> facts(Interrupt* interrupt = nullptr) const;

 private:
  Client& client_;
};

}  // namespace ferry::engine
