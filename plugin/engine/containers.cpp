#include "engine/containers.h"

#include <chrono>

#include "base/log.h"
#include "engine/members.h"

namespace ferry::engine {

namespace {

/// For what the Engine walks a layer for.
constexpr std::chrono::milliseconds walk_time{60'000};
/// For what calls plugins, unpacks, or sets up networks.
constexpr std::chrono::milliseconds change_time{60'000};

/// `/KIND/NAME`, the name as one segment.
Result<std::string> target_of(const char* kind, const std::string& name) {
  if (name.empty() || name == "." || name == "..")
    return fail(Code::invalid_argument, quote(name) + " is no name of " + kind);
  return "/" + std::string(kind) + "/" + url_escape(name);
}

/// 409 has other reasons, too: a volume of another driver, a container that is being removed (moby, daemon/names.go has
/// the text).
Result<std::string> taken(Result<std::string> answer) {
  const bool is_name = !answer && answer.error().message.find("is already in use by container") != std::string::npos;
  if (is_name && answer.error().code == Code::busy) answer.error().code = Code::already_exists;
  return answer;
}

}  // namespace

Result<Container> Containers::container(const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", name));
  FERRY_ASSIGN(const auto body, client_.get(target + "/json", interrupt));
  return decode_container(body);
}

Result<Container> Containers::container_with_size(const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", name));
  FERRY_ASSIGN(const auto body, client_.get(target + "/json?size=1", interrupt, walk_time));
  return decode_container(body);
}

Result<LayerChanges> Containers::changes(const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", name));
  FERRY_ASSIGN(const auto body, client_.get(target + "/changes", interrupt, walk_time));
  return decode_changes(body);
}

Result<std::vector<ListedContainer>> Containers::list(Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto body, client_.get("/containers/json?all=1", interrupt));
  return decode_listed_containers(body);
}

Result<Image> Containers::image(const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("images", name));
  FERRY_ASSIGN(const auto body, client_.get(target + "/json", interrupt));
  return decode_image(body);
}

Result<bool> Containers::has_network(const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("networks", name));
  const auto body = client_.get(target, interrupt);
  if (body) return true;
  if (body.error().code == Code::not_found) return false;
  return tl::unexpected(body.error());
}

Result<HostFacts> Containers::facts(Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto body, client_.get("/info", interrupt));
  return decode_host_facts(body);
}

Result<Containers::Created> Containers::create(const std::string& name, const nlohmann::json& body,
                                               Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto answer,
               taken(client_.post("/containers/create?name=" + url_escape(name), body, change_time, interrupt)));
  FERRY_ASSIGN(Created created, decode_json("answer to a create", answer, [](const nlohmann::json& json) {
                 return Created{text(json, "Id"), value<std::vector<std::string>>(json, "Warnings")};
               }));
  if (created.id.empty()) return fail(Code::corrupt, "the Engine has made a container, and does not tell its ID");
  return created;
}

Result<> Containers::start(const std::string& id, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  FERRY_TRY(client_.post(target + "/start", nullptr, change_time, interrupt));
  return {};
}

Result<> Containers::stop(const std::string& id, std::chrono::milliseconds longest, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  FERRY_TRY(client_.post(target + "/stop", nullptr, longest, interrupt));
  return {};
}

/// Which error the Engine has for what is so already differs (moby, daemon/pause.go and unpause.go), so it is looked
/// at.
Result<> Containers::change_pause(const std::string& id, bool paused, std::chrono::milliseconds longest,
                                  Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  const auto changed = client_.post(target + (paused ? "/pause" : "/unpause"), nullptr, longest, interrupt);
  if (changed) return {};
  const auto now = container(id, interrupt);
  if (now && now->paused == paused && (now->running || !paused)) return {};
  return tl::unexpected(changed.error());
}

Result<> Containers::pause(const std::string& id, std::chrono::milliseconds longest, Interrupt* interrupt) const {
  return change_pause(id, true, longest, interrupt);
}

Result<> Containers::unpause(const std::string& id, Interrupt* interrupt) const {
  return change_pause(id, false, change_time, interrupt);
}

Result<> Containers::rename(const std::string& id, const std::string& name, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  FERRY_ASSIGN(const auto now, container(id, interrupt));
  if (now.name == name) return {};  // which the Engine refuses
  FERRY_TRY(taken(client_.post(target + "/rename?name=" + url_escape(name), nullptr, change_time, interrupt)));
  return {};
}

Result<> Containers::set_restart_policy(const std::string& id, const nlohmann::json& policy,
                                        Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  FERRY_TRY(client_.post(target + "/update", {{"RestartPolicy", policy}}, change_time, interrupt));
  return {};
}

Result<> Containers::join(const std::string& network, const nlohmann::json& body, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("networks", network));
  FERRY_TRY(client_.post(target + "/connect", body, change_time, interrupt));
  return {};
}

Result<> Containers::remove(const std::string& id, Anonymous anonymous, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto target, target_of("containers", id));
  auto removed = client_.remove(target + (anonymous == Anonymous::go ? "?v=1" : ""), change_time, interrupt);
  return removed || removed.error().code == Code::not_found ? Result<>() : removed;
}

}  // namespace ferry::engine
