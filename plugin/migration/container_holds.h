#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "engine/containers.h"

namespace ferry::migration {

/// A container that is kept from running, and how it was before. A plain value; what is durable of a hold.
struct HeldContainer {
  std::string id;                 ///< 64 hex digits
  std::string name;               ///< when it was looked at
  nlohmann::json restart_policy;  ///< as in engine::Container::host_config
  bool was_running = false;
  std::string started;  ///< engine::Container::started
};

nlohmann::json to_json(const HeldContainer& container);
/// Throws nlohmann::json::exception.
HeldContainer held_container_of(const nlohmann::json& json);

/// After which the Engine kills what it was asked to stop (moby, container/container.go, StopTimeout); a day if it
/// never does. Throws nlohmann::json::exception.
std::chrono::seconds stop_timeout(const engine::Container& container);

/// Keeps containers of this host from running while they are handed off, and brings them back. What note() has said is
/// to be made durable before hold(), so that release() can follow in whatever process. Every call can be repeated.
/// Thread-safe. Errors beside those that are named are engine::Containers'.
class ContainerHolds {
 public:
  /// The client must outlive this object.
  explicit ContainerHolds(engine::Client& client) : containers_(client) {}

  /// That nobody else changes a container, or takes what is done to it for how it was; until its last copy has gone.
  using Claim = std::shared_ptr<const void>;
  /// Code::unavailable: somebody else has it; not_found: there is no such container.
  Result<Claim> claim(const std::string& container, engine::Interrupt* interrupt = nullptr) const;
  Result<Claim> claim(const HeldContainer& container) const;

  /// Changes nothing. Code::not_found: there is no such container; busy: it is between two states, or paused;
  /// unsupported: stopping it would remove it (--rm).
  Result<HeldContainer> note(const std::string& container, engine::Interrupt* interrupt = nullptr) const;

  /// Switches its restart policy off, so that neither its exit nor a start of the Engine brings it back, and stops it
  /// with its own signal and timeout. `asked` becomes whether the Engine was asked to stop it, also after an error.
  Result<> hold(const HeldContainer& container, engine::Interrupt* interrupt = nullptr, bool* asked = nullptr) const;

  /// After a hold() that nobody has seen to end, before release(): an Engine carries on with a stop whose caller has
  /// gone (moby, daemon/stop.go), so a container that still runs would end after it was brought back. One that hold()
  /// has come to is stopped for good.
  Result<> finish(const HeldContainer& container, engine::Interrupt* interrupt = nullptr) const;

  /// Whether it still is as hold() has left it, and has not run since note(); not if somebody has started it, though it
  /// may have ended again, or removed it.
  Result<bool> is_held(const HeldContainer& container, engine::Interrupt* interrupt = nullptr) const;

  /// As it was: it has its restart policy, unless somebody has given it another one since, and runs if it did. Does
  /// nothing if somebody has removed it.
  Result<> release(const HeldContainer& container, engine::Interrupt* interrupt = nullptr) const;

 private:
  const engine::Containers containers_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::weak_ptr<const void>> claims_;  // protected by mutex_: by ID
};

}  // namespace ferry::migration
