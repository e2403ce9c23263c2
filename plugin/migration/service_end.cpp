#include "migration/service_end.h"

#include <algorithm>
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

/// The latest change of anything below its root, since the epoch. The root's own tells of an exchange, too; what was
/// added to it has a later one itself, and of what was removed nothing is lost.
std::uint64_t last_change_ns(const sync::Version& version) {
  std::uint64_t latest = 0;
  for (std::size_t i = 1; i < version.entries.size(); ++i) latest = std::max(latest, version.entries[i].ctime_ns);
  return latest;
}

}  // namespace

ServiceEnd::ServiceEnd(Parts parts, std::string ticket, const TicketPlan& plan)
    : parts_(std::move(parts)),
      containers_(parts_.client),
      holds_(parts_.client),
      ticket_(std::move(ticket)),
      service_(*plan.service),
      peer_uuid_(plan.peer_uuid) {
  if (!service_.store.empty())
    pieces_.push_back({ticket_, {plan.request.peer, "", plan.request.terms, service_.container}, "", "", 0});
  for (const auto& volume : service_.locals)
    pieces_.push_back({volumes::Layout::local_part(ticket_, pieces_.size()), request_of(plan, volume),
                       volume.source_lineage, volume.target, 0});
  for (std::size_t i = 0; i < std::min(pieces_.size(), service_.before.size()); ++i)
    pieces_[i].before = service_.before[i];
}

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
  for (const auto& piece : pieces_)
    if (piece.transfer) piece.transfer->cancel();
}

std::vector<nlohmann::json> ServiceEnd::statuses() const {
  std::vector<nlohmann::json> all;
  const std::lock_guard guard(mutex_);
  for (const auto& piece : pieces_) {
    auto status = nlohmann::json::object();
    if (!piece.outcome.is_null())
      status = piece.outcome;
    else if (piece.transfer)
      status = piece.transfer->status();
    status["local"] = piece.local;
    status["source"] = piece.request.volume;
    all.push_back(std::move(status));
  }
  return all;
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

Result<fs::path> ServiceEnd::place_of(const Piece& piece, const engine::Container& container) const {
  if (!piece.is_layer()) return parts_.local(piece.local);
  if (container.store != service_.store || container.upper.empty())
    return fail(Code::unsupported, "the Engine keeps layers otherwise than when container " + container.name +
                                       " was made; pass layer=false");
  return parts_.visible(container.upper);
}

/// Nothing keeps anybody from mounting a volume of the local driver while its service is elsewhere.
Result<> ServiceEnd::check_unwritten(Piece& piece, const fs::path& place) const {
  if (service_.replace) return {};
  std::string written;
  if (piece.version) {
    FERRY_ASSIGN(written, piece.version->written());
  } else {
    const auto& catalogue = parts_.catalogue;
    FERRY_ASSIGN(auto found, sync::Version::look(place, {}, catalogue.uuid()));
    if (last_change_ns(found) > static_cast<std::uint64_t>(service_.left_ns)) written = "its content";
    found.shrink();
    piece.version = std::move(found);
  }
  if (written.empty()) return {};
  piece.version.reset();
  return fail(Code::busy, "volume " + piece.local + " of the local driver: " + written +
                              " was written to here since the service had left; look at it, and make another ticket, "
                              "with -o replace=true if such changes may be lost");
}

Result<> ServiceEnd::check_unmounted(const Piece& piece) const {
  FERRY_ASSIGN(const auto mounted, parts_.mounted(piece.local));
  if (mounted != engine::Mounted::yes) return {};
  return fail(Code::busy, "volume " + piece.local + " is mounted here; stop the containers that use it");
}

Result<> ServiceEnd::bring(Freeze freeze, const std::vector<std::uint64_t>& came, const std::shared_ptr<Peer>& peer) {
  for (std::size_t i = 0; i < std::min(pieces_.size(), came.size()); ++i)
    FERRY_TRY(take_out_again(pieces_[i], came[i]));
  for (auto& piece : pieces_) {
    if (piece.is_layer()) continue;
    FERRY_TRY(check_unmounted(piece));
    FERRY_ASSIGN(const auto place, parts_.local(piece.local));
    FERRY_TRY(check_unwritten(piece, place));
  }
  for (auto& piece : pieces_) FERRY_TRY(bring(piece, freeze, peer));
  return {};
}

/// What differs from it is brought once more. Of a volume of the local driver that may be anything: somebody may have
/// had it mounted meanwhile, so its journal vouches for nothing.
Result<> ServiceEnd::take_out_again(Piece& piece, std::uint64_t came) {
  FERRY_ASSIGN(const auto container, untouched());
  FERRY_ASSIGN(const auto place, place_of(piece, container));
  FERRY_ASSIGN(const auto there, identify_layer(place));
  if (there != came) return {};
  if (!piece.is_layer()) {
    FERRY_TRY(check_unmounted(piece));
    FERRY_TRY(remove_tree(parts_.catalogue.layout().journal(piece.name)));
    piece.version.reset();
  }
  FERRY_ASSIGN(const auto former, identify_layer(staged(piece)));
  return place_layer(staged(piece), former, place);
}

Result<> ServiceEnd::bring(Piece& piece, Freeze freeze, const std::shared_ptr<Peer>& peer) {
  FERRY_TRY(make_directories(staged(piece), 0755));
  auto request = piece.request;
  request.terms.freeze = freeze;
  const auto transfer = std::make_shared<Transfer>(parts_.catalogue.layout(), piece.name, std::move(request), peer,
                                                   sync::Identity{peer_uuid_, piece.lineage});
  {
    const std::lock_guard guard(mutex_);
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    piece.transfer = transfer;
    piece.outcome = nullptr;
  }
  FERRY_ASSIGN(const auto brought, transfer->run());
  auto outcome = transfer->status();
  outcome["warnings"] = nlohmann::json::array();
  add_receipt(outcome, brought);
  const std::lock_guard guard(mutex_);
  piece.outcome = std::move(outcome);
  return {};
}

Result<std::vector<std::uint64_t>> ServiceEnd::identify() const {
  std::vector<std::uint64_t> came;
  for (const auto& piece : pieces_) {
    FERRY_ASSIGN(const auto one, identify_layer(staged(piece)));
    came.push_back(one);
  }
  return came;
}

tl::unexpected<Error> ServiceEnd::cannot_place(const Error& error) const {
  if (error.code != Code::unsupported) return tl::unexpected(error);
  return fail(error.code,
              error.message + (service_.returns()
                                   ? "; move the service back: from=HOST and container=" + service_.options.container
                                   : "; pass layer=false, which leaves what the container has changed of "
                                     "its image behind"));
}

/// Looked at before the exchange and after, since nothing keeps anybody from starting it in between.
Result<> ServiceEnd::place(const std::vector<std::uint64_t>& came) {
  FERRY_ASSIGN(const auto container, untouched());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    FERRY_ASSIGN(const auto place, place_of(pieces_[i], container));
    if (!pieces_[i].is_layer()) {
      FERRY_TRY(check_unmounted(pieces_[i]));
      FERRY_ASSIGN(const auto there, identify_layer(place));
      if (there != came[i]) FERRY_TRY(check_unwritten(pieces_[i], place));
    }
    if (auto placed = place_layer(staged(pieces_[i]), came[i], place); !placed) return cannot_place(placed.error());
  }
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
  for (const auto& piece : pieces_) {
    FERRY_ASSIGN(const bool left, ferry::exists(staged(piece)));
    if (left) FERRY_TRY(rename_durably(staged(piece), parts_.catalogue.layout().trash() / ("0-" + random_hex(8))));
  }
  return {};
}

/// Of one that stays here as it had left. `container`: null if it was removed, of which volumes are left.
Result<> ServiceEnd::take_out(const Piece& piece, const engine::Container* container) const {
  FERRY_ASSIGN(const bool staged_is_there, ferry::exists(staged(piece)));
  if (piece.before == 0 || !staged_is_there || (container == nullptr && piece.is_layer())) return {};
  FERRY_ASSIGN(const auto there, identify_layer(staged(piece)));
  if (there != piece.before) return {};
  if (container != nullptr && (container->running || container->started != held_container_of(service_.held).started)) {
    spdlog::error("ticket {}: container {} was started by somebody, so it keeps what has come", ticket_,
                  container->name);
    return {};
  }
  if (!piece.is_layer()) FERRY_TRY(check_unmounted(piece));
  FERRY_ASSIGN(const auto place, container != nullptr ? place_of(piece, *container) : parts_.local(piece.local));
  return place_layer(staged(piece), there, place);
}

Result<> ServiceEnd::undo() const {
  const engine::Containers containers(parts_.client);  // also after cancel()
  const auto container = containers.container(service_.made);
  const bool is_gone = !container && container.error().code == Code::not_found;
  if (!container && !is_gone) return tl::unexpected(container.error());
  if (service_.returns()) {
    for (const auto& piece : pieces_) FERRY_TRY(take_out(piece, is_gone ? nullptr : &*container));
    return {};
  }
  if (is_gone) return {};
  if (has_run(*container)) {
    spdlog::error("ticket {}: container {} was started by somebody, so it is left", ticket_, container->name);
    return {};
  }
  return containers.remove(service_.made);
}

}  // namespace ferry::migration
