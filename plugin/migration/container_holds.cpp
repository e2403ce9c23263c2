#include "migration/container_holds.h"

#include "base/log.h"
#include "engine/members.h"

namespace ferry::migration {

namespace {

using engine::member;
using engine::object_member;
using engine::text;
using nlohmann::json;

/// Beside the container's own timeout: for the kill, and for networks and volumes to be let go.
constexpr std::chrono::seconds stop_margin{30};
constexpr std::chrono::seconds usual_timeout{10};  // moby, container/container.go, defaultStopTimeout
constexpr std::chrono::hours endless{24};          // of a negative one

const json& policy_of(const engine::Container& container) {
  return object_member(container.host_config, "RestartPolicy");
}

/// An empty name is the same, and cannot be set.
bool is_off(const json& policy) {
  const std::string name = text(policy, "Name");
  return name.empty() || name == "no";
}

/// Throws json's exceptions.
std::chrono::milliseconds longest_stop(const engine::Container& container) {
  return stop_timeout(container) + stop_margin;
}

bool runs(const engine::Container& container) { return container.running || container.restarting || container.paused; }

}  // namespace

json to_json(const HeldContainer& container) {
  return {{"id", container.id},
          {"name", container.name},
          {"restart_policy", container.restart_policy},
          {"was_running", container.was_running},
          {"started", container.started}};
}

HeldContainer held_container_of(const json& json) {
  return {json.at("id").get<std::string>(), json.at("name").get<std::string>(), json.at("restart_policy"),
          json.at("was_running").get<bool>(), json.at("started").get<std::string>()};
}

std::chrono::seconds stop_timeout(const engine::Container& container) {
  const json& timeout = member(container.config, "StopTimeout");
  if (timeout.is_null()) return usual_timeout;
  const auto seconds = timeout.get<std::int64_t>();
  const bool is_endless = seconds < 0 || seconds > std::chrono::seconds(endless).count();
  return is_endless ? std::chrono::seconds(endless) : std::chrono::seconds(seconds);
}

Result<ContainerHolds::Claim> ContainerHolds::claim(const std::string& container, engine::Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto found, containers_.container(container, interrupt));
  return claim(HeldContainer{found.id, found.name, nullptr, false, ""});
}

Result<ContainerHolds::Claim> ContainerHolds::claim(const HeldContainer& container) const {
  const std::lock_guard guard(mutex_);
  std::erase_if(claims_, [](const auto& claim) { return claim.second.expired(); });
  Claim claim = std::make_shared<char>();
  if (!claims_.emplace(container.id, claim).second)
    return fail(Code::unavailable,
                "container " + container.name + " is being held, or brought back, for another copy or move");
  return claim;
}

Result<HeldContainer> ContainerHolds::note(const std::string& name, engine::Interrupt* interrupt) const {
  auto found = containers_.container(name, interrupt);
  if (!found && found.error().code == Code::not_found)
    return fail(Code::not_found, "there is no container " + quote(name));
  FERRY_TRY(found);
  try {
    if (engine::value<bool>(found->host_config, "AutoRemove"))
      return fail(Code::unsupported, "container " + found->name +
                                         " was started with --rm, so stopping it would remove it; start it without");
    const bool is_settled = found->status == "running" || found->status == "exited" || found->status == "created";
    if (!is_settled || runs(*found) != (found->status == "running"))
      return fail(Code::busy,
                  "container " + found->name + " is " + found->status + "; wait until it runs, or stop or unpause it");
    return HeldContainer{found->id, found->name, policy_of(*found), found->running, found->started};
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
}

Result<> ContainerHolds::hold(const HeldContainer& container, engine::Interrupt* interrupt, bool* asked) const {
  if (asked) *asked = false;
  FERRY_ASSIGN(const auto now, containers_.container(container.id, interrupt));
  try {
    if (!is_off(policy_of(now))) FERRY_TRY(containers_.set_restart_policy(container.id, {{"Name", "no"}}, interrupt));
    if (runs(now)) {
      if (asked) *asked = true;
      FERRY_TRY(containers_.stop(container.id, longest_stop(now), interrupt));
    }
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
  FERRY_ASSIGN(const bool held, is_held(container, interrupt));
  return held ? Result<>() : fail(Code::busy, "container " + container.name + " was started again meanwhile");
}

Result<> ContainerHolds::finish(const HeldContainer& container, engine::Interrupt* interrupt) const {
  const auto now = containers_.container(container.id, interrupt);
  if (!now && now.error().code == Code::not_found) return {};
  FERRY_TRY(now);
  try {
    // A policy that is not off yet means that the stop was not asked for.
    const bool was_asked = is_off(policy_of(*now)) && runs(*now) && now->started == container.started;
    return was_asked ? containers_.stop(container.id, longest_stop(*now), interrupt) : Result<>();
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
}

Result<bool> ContainerHolds::is_held(const HeldContainer& container, engine::Interrupt* interrupt) const {
  const auto now = containers_.container(container.id, interrupt);
  if (!now && now.error().code == Code::not_found) return false;
  FERRY_TRY(now);
  try {
    return !runs(*now) && is_off(policy_of(*now)) && now->started == container.started;
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
}

Result<> ContainerHolds::release(const HeldContainer& container, engine::Interrupt* interrupt) const {
  const auto now = containers_.container(container.id, interrupt);
  if (!now && now.error().code == Code::not_found) {
    spdlog::warn("container {} is not there any more, so it cannot be brought back to what it was", container.name);
    return {};
  }
  FERRY_TRY(now);
  try {
    if (!is_off(container.restart_policy) && is_off(policy_of(*now)))
      FERRY_TRY(containers_.set_restart_policy(container.id, container.restart_policy, interrupt));
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
  return container.was_running && !runs(*now) ? containers_.start(container.id, interrupt) : Result<>();
}

}  // namespace ferry::migration
