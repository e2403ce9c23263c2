#include "engine/containers.h"

#include <chrono>

#include "base/log.h"

namespace ferry::engine {

namespace {

/// For what the Engine walks a layer for.
constexpr std::chrono::milliseconds walk_time{60'000};

/// `/KIND/NAME`, the name as one segment.
Result<std::string> target_of(const char* kind, const std::string& name) {
  if (name.empty() || name == "." || name == "..")
    return fail(Code::invalid_argument, quote(name) + " is no name of " + kind);
  return "/" + std::string(kind) + "/" + url_escape(name);
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

}  // namespace ferry::engine
