#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/client.h"
#include "engine/container.h"

namespace ferry::engine {

/// What the Engine tells of containers, images and networks, and what it does to containers. Thread-safe; errors are
/// those of Client. Without an `interrupt` of its own, Client::stop() ends a call.
///
/// After Code::unavailable or cancelled a change may have happened, or happen later: look before it is repeated.
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

  struct Created {
    std::string id;
    std::vector<std::string> warnings;
  };
  /// Of a body of POST /containers/create. Code::already_exists: a container of that name is there; busy: a volume of
  /// that name has another driver; not_found: no such image. Networks are looked for by start() only. The Engine makes
  /// anonymous volumes, and mounts each volume to fill it from the image.
  Result<Created> create(const std::string& name, const nlohmann::json& body, Interrupt* interrupt = nullptr) const;
  /// Does nothing if it runs already.
  Result<> start(const std::string& id, Interrupt* interrupt = nullptr) const;
  /// With its own signal and timeout; `longest` for all of it. Does nothing if it does not run. Its exit is known once
  /// this has returned.
  Result<> stop(const std::string& id, std::chrono::milliseconds longest, Interrupt* interrupt = nullptr) const;
  /// Its processes stand still, or go on. Does nothing if they do so already. Code::busy: it does not run.
  Result<> pause(const std::string& id, std::chrono::milliseconds longest, Interrupt* interrupt = nullptr) const;
  Result<> unpause(const std::string& id, Interrupt* interrupt = nullptr) const;
  /// Code::already_exists: another container has that name. Does nothing if it has it itself.
  Result<> rename(const std::string& id, const std::string& name, Interrupt* interrupt = nullptr) const;
  /// `policy`: as in Container::host_config.
  Result<> set_restart_policy(const std::string& id, const nlohmann::json& policy,
                              Interrupt* interrupt = nullptr) const;
  /// Joins a network, before the first start or later. `body`: of POST /networks/NAME/connect.
  Result<> join(const std::string& network, const nlohmann::json& body, Interrupt* interrupt = nullptr) const;
  /// One that does not run. Does nothing if there is none. Its volumes stay, but for anonymous ones with Anonymous::go.
  enum class Anonymous { stay, go };
  Result<> remove(const std::string& id, Anonymous anonymous = Anonymous::stay, Interrupt* interrupt = nullptr) const;

 private:
  Result<> change_pause(const std::string& id, bool paused, std::chrono::milliseconds longest,
                        Interrupt* interrupt) const;
  Client& client_;
};

}  // namespace ferry::engine
