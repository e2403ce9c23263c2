#include "migration/service_end.h"

#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "migration/layer_place.h"

namespace ferry::migration {

namespace fs = std::filesystem;

namespace {

/// Of a container that was never started (Go's zero time, moby's container.State).
constexpr const char* never = "0001-01-01T00:00:00Z";

bool has_run(const engine::Container& container) {
  return container.running || !(container.started.empty() || container.started == never);
}

ImportRequest layer_of(const TicketPlan& plan) {
  return {plan.request.peer, "", plan.request.terms, plan.service->container};
}

}  // namespace

ServiceEnd::ServiceEnd(Parts parts, std::string ticket, const TicketPlan& plan)
    : parts_(std::move(parts)),
      containers_(parts_.client),
      holds_(parts_.client),
      ticket_(std::move(ticket)),
      service_(*plan.service),
      layer_(layer_of(plan)),
      peer_uuid_(plan.peer_uuid) {}

void ServiceEnd::cancel() {
  {
    const std::lock_guard guard(mutex_);
    cancelled_ = true;
  }
  interrupt();
  interrupt_.trip();
}

void ServiceEnd::interrupt() {
  const std::lock_guard guard(mutex_);
  if (transfer_) transfer_->cancel();
}

nlohmann::json ServiceEnd::layer_status() const {
  const std::lock_guard guard(mutex_);
  return transfer_ ? transfer_->status() : nlohmann::json(nullptr);
}

Result<engine::Container> ServiceEnd::untouched() const {
  FERRY_ASSIGN(auto container, containers_.container(service_.made, &interrupt_));
  bool is_untouched = !has_run(container);
  if (service_.returns()) {
    FERRY_ASSIGN(is_untouched, holds_.is_held(held_container_of(service_.held), &interrupt_));
  }
  if (!is_untouched)
    return fail(Code::busy, "container " + container.name + " was started before everything of it has come");
  return container;
}

Result<fs::path> ServiceEnd::upper_of(const engine::Container& container) const {
  if (container.store != service_.store || container.upper.empty())
    return fail(Code::unsupported, "the Engine keeps layers otherwise than when container " + container.name +
                                       " was made; pass layer=false");
  return parts_.visible(container.upper);
}

Result<> ServiceEnd::bring_layer(Freeze freeze, std::uint64_t placed, const std::shared_ptr<Peer>& peer) {
  if (service_.store.empty()) return {};
  if (placed != 0) {
    FERRY_ASSIGN(const auto container, untouched());
    FERRY_ASSIGN(const auto upper, upper_of(container));
    FERRY_ASSIGN(const auto there, identify_layer(upper));
    if (there == placed) {
      FERRY_ASSIGN(const auto engines, identify_layer(staged()));
      FERRY_TRY(place_layer(staged(), engines, upper));
    }
  }
  FERRY_TRY(make_directories(staged(), 0755));
  auto request = layer_;
  request.terms.freeze = freeze;
  const auto transfer = std::make_shared<Transfer>(parts_.catalogue.layout(), ticket_, std::move(request), peer,
                                                   sync::Identity{peer_uuid_, ""});
  {
    const std::lock_guard guard(mutex_);
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    transfer_ = transfer;
  }
  FERRY_TRY(transfer->run());
  return {};
}

Result<std::uint64_t> ServiceEnd::identify() const {
  return service_.store.empty() ? Result<std::uint64_t>(0) : identify_layer(staged());
}

/// Looked at before the exchange and after, since nothing keeps anybody from starting it in between.
Result<> ServiceEnd::place(std::uint64_t layer) const {
  FERRY_ASSIGN(const auto container, untouched());
  if (layer == 0) return {};
  FERRY_ASSIGN(const auto upper, upper_of(container));
  FERRY_TRY(place_layer(staged(), layer, upper));
  FERRY_TRY(untouched());
  return {};
}

Result<> ServiceEnd::check_untouched() const {
  FERRY_TRY(untouched());
  return {};
}

Result<> ServiceEnd::take_name() const {
  if (service_.returns()) return {};
  return containers_.rename(service_.made, service_.options.name_there(), &interrupt_);
}

/// Once: one that has run since is its user's.
Result<> ServiceEnd::bring_back() const {
  HeldContainer held = held_container_of(service_.held);
  const auto now = containers_.container(held.id, &interrupt_);
  if (!now && now.error().code == Code::not_found) return {};
  FERRY_TRY(now);
  if (now->running || now->started != held.started) return {};
  held.was_running = service_.options.start;
  return holds_.release(held, &interrupt_);
}

Result<bool> ServiceEnd::run(std::string& warning) const {
  if (service_.returns()) FERRY_TRY(bring_back());
  if (!service_.options.start) return true;
  auto known = containers_.container(service_.made, &interrupt_);
  if (known && !has_run(*known)) {
    FERRY_TRY(containers_.start(service_.made, &interrupt_));
    known = containers_.container(service_.made, &interrupt_);
  }
  if (!known && known.error().code == Code::not_found) {
    warning = "the container was removed here before it could be started; its volumes are here";
    return true;
  }
  FERRY_ASSIGN(const auto container, std::move(known));
  if (!container.running) {
    warning = "the container was started, and does not run: see `docker logs " + container.name + "`";
    return true;
  }
  if (container.health == "unhealthy") warning = "the container runs, and its health check fails";
  return container.health != "starting";
}

Result<> ServiceEnd::clean_up() const {
  if (service_.returns() && parts_.returned) parts_.returned(service_.made);
  FERRY_ASSIGN(const bool left, ferry::exists(staged()));
  if (!left) return {};
  return rename_durably(staged(), parts_.catalogue.layout().trash() / ("0-" + random_hex(8)));
}

/// Of one that stays here as it had left.
Result<> ServiceEnd::take_layer_out(const engine::Container& container) const {
  FERRY_ASSIGN(const bool staged_is_there, ferry::exists(staged()));
  if (service_.before == 0 || !staged_is_there) return {};
  FERRY_ASSIGN(const auto there, identify_layer(staged()));
  if (there != service_.before) return {};
  if (container.running || container.started != held_container_of(service_.held).started) {
    spdlog::error("ticket {}: container {} was started by somebody, so it keeps the layer that has come", ticket_,
                  container.name);
    return {};
  }
  FERRY_ASSIGN(const auto upper, upper_of(container));
  return place_layer(staged(), there, upper);
}

Result<> ServiceEnd::undo() const {
  const engine::Containers containers(parts_.client);  // also after cancel()
  const auto container = containers.container(service_.made);
  if (!container && container.error().code == Code::not_found) return {};
  if (!container) return tl::unexpected(container.error());
  if (service_.returns()) return take_layer_out(*container);
  if (has_run(*container)) {
    spdlog::error("ticket {}: container {} was started by somebody, so it is left", ticket_, container->name);
    return {};
  }
  return containers.remove(service_.made);
}

}  // namespace ferry::migration
