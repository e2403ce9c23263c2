#include "migration/hand_offs.h"

#include <algorithm>
#include <thread>

#include "base/files.h"
#include "base/log.h"
#include "migration/handed_off.h"
#include "migration/migration_record.h"
#include "migration/ticket_kind.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

/// A Mount that finds its volume held is taken back at once.
constexpr std::chrono::seconds mount_time{2};
constexpr std::uint64_t most_bytes = INT64_MAX;
constexpr std::size_t most_released = 1000;

using hand_off::Source;

/// Another ticket of this host that is a part of the hand-off: by which it exports what it hands off, or which has the
/// container that goes along.
bool is_part_of(const volumes::VolumeRecord& record, const std::string& id) {
  return record.kind == volumes::Kind::ticket && record.import.is_object() &&
         (record.import.value("export", "") == id || record.import.value("departed", "") == id);
}

/// How many of them are fenced once they are given.
std::size_t count_fenced(const HandOffRequest& request) {
  return static_cast<std::size_t>(
      std::count_if(request.volumes.begin(), request.volumes.end(), [](const auto& volume) { return !volume.local; }));
}

}  // namespace

nlohmann::json to_json(const HandOffRequest& request) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : request.volumes)
    volumes.push_back({{"source", volume.source},
                       {"target", volume.target},
                       {"epoch", volume.epoch},
                       {"lineage", volume.lineage},
                       {"local", volume.local}});
  nlohmann::json json = {
      {"volumes", volumes}, {"to", request.host}, {"uuid", request.uuid}, {"peer", peer_to_json(request.peer)}};
  if (!request.container.empty()) json["container"] = request.container;
  if (!request.as.empty()) json["as"] = request.as;
  if (!request.layer) json["layer"] = false;
  return json;
}

HandOffRequest hand_off_request_of(const nlohmann::json& json) {
  HandOffRequest request;
  request.host = json.at("to").get<std::string>();
  request.uuid = json.at("uuid").get<std::string>();
  request.container = json.value("container", "");
  request.as = json.value("as", "");
  request.layer = json.value("layer", true);
  if (!json.at("peer").is_null()) request.peer = peer_of(json["peer"]);
  for (const auto& volume : json.at("volumes"))
    request.volumes.push_back({volume.at("source").get<std::string>(), volume.at("target").get<std::string>(),
                               volume.at("epoch").get<std::uint64_t>(), volume.at("lineage").get<std::string>(),
                               volume.at("local").get<bool>()});
  return request;
}

std::string HandOffs::ticket_of(const std::string& id) { return std::string(volumes::departure_prefix) + id; }

std::optional<HandOffs::Open> HandOffs::find(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  const auto it = open_.find(id);
  return it == open_.end() ? std::nullopt : std::optional(it->second);
}

void HandOffs::set(const std::string& id, std::optional<Open> open) {
  const std::lock_guard guard(mutex_);
  if (open)
    open_[id] = std::move(*open);
  else
    open_.erase(id);
}

std::string HandOffs::holder_id(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  for (const auto& [id, open] : open_)
    for (const auto& held : open.request.volumes)
      if (held.source == volume) return id;
  return {};
}

std::string HandOffs::holder(const std::string& volume) const {
  const std::string id = holder_id(volume);
  return id.empty() ? id : ticket_of(id);
}

void HandOffs::resume(std::function<std::string(const std::string& volume)> holding_ticket) {
  holding_ticket_ = std::move(holding_ticket);
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::hand_off)) continue;
    try {
      const auto& json = record->import;
      Open open;
      open.request = hand_off_request_of(json);
      open.group = count_fenced(open.request);
      open.state = json.at("state") == "given" ? Source::given : Source::held;
      open.started = record->created;
      open.heard = SteadyClock::now();
      const auto id = json["hand_off"].get<std::string>();
      const bool had_volumes = !open.request.volumes.empty();
      drop_taken(id, open);
      if ((had_volumes && open.request.volumes.empty()) || is_all_taken(id)) {
        if (auto removed = parts_.remove(record->name); !removed) spdlog::error("{}", removed.error().message);
        continue;
      }
      set(id, open);
      if (open.state == Source::given)
        if (auto marked = mark_volumes(id, open); !marked) spdlog::error("{}", marked.error().message);
    } catch (const nlohmann::json::exception& error) {
      spdlog::error("ticket {} cannot be read: {}", record->name, error.what());
    }
  }
}

Source HandOffs::state_of(const std::string& id) const {
  if (is_all_taken(id)) return Source::reclaimed;
  if (const auto open = find(id)) return open->state;
  bool left = false;
  for (const auto& record : parts_.catalogue.list()) {
    if (is_part_of(*record, id) && record->import.value("taken", false)) return Source::reclaimed;
    left = left || was_handed_off_by(*record, id) || (is_part_of(*record, id) && record->import.value("given", false));
  }
  if (left) return Source::left;
  const std::lock_guard guard(mutex_);
  return std::find(released_.begin(), released_.end(), id) == released_.end() ? Source::own : Source::released;
}

/// Whether every volume that it fenced was taken back by force, and has not been handed off again since.
bool HandOffs::is_all_taken(const std::string& id) const {
  std::size_t taken = 0;
  for (const auto& record : parts_.catalogue.list())
    if (was_taken_from(*record, id) && ++taken == record->hand_off.value("of", std::size_t{1})) return true;
  return false;
}

std::vector<std::string> HandOffs::ids_of_export(const std::string& id) const {
  std::vector<std::string> ids = {id};
  for (const auto& record : parts_.catalogue.list())
    if (is_ticket(*record, TicketKind::departed_service) && record->import.value("of_export", "") == id)
      if (auto other = record->import.value("departed", ""); other != id) ids.push_back(std::move(other));
  return ids;
}

bool HandOffs::is_given(const std::string& id) const {
  const auto ids = ids_of_export(id);
  return std::any_of(ids.begin(), ids.end(), [this](const std::string& one) {
    const Source state = state_of(one);
    return state == Source::given || state == Source::left;
  });
}

bool HandOffs::is_taken(const std::string& id) const {
  const auto ids = ids_of_export(id);
  return std::any_of(ids.begin(), ids.end(),
                     [this](const std::string& one) { return state_of(one) == Source::reclaimed; });
}

Result<> HandOffs::check(const HandOffRequest& request) const {
  FERRY_ASSIGN(const bool engine, ferry::exists(parts_.client.socket()));
  if (!engine)
    return fail(Code::unsupported,
                "move=true needs the Docker Engine's socket at the source, to know who has a volume mounted");
  // Who has them mounted is looked at in check_unmounted(), which says what a hand-off can do about it.
  for (const auto& volume : request.volumes) {
    FERRY_ASSIGN(const auto described, parts_.sources.describe(volume.source, Freeze::none, most_bytes));
    if (described.epoch != volume.epoch || described.lineage != volume.lineage ||
        (described.driver == "local") != volume.local)
      return fail(Code::busy, "volume " + volume.source + " has changed hands meanwhile; try again");
  }
  return check_unheld(request);
}

Result<> HandOffs::check_service(const HandOffRequest& request) const {
  FERRY_TRY(check(request));
  FERRY_ASSIGN(const auto mounts, parts_.client.container_mounts());
  for (const auto& volume : request.volumes)
    for (const auto& mount : mounts)
      if (mount.volume == volume.source && mount.running && mount.container_id != request.container &&
          mount.container != request.container)
        return fail(Code::busy, "volume " + volume.source + " is mounted by the running container " + mount.container +
                                    ", too; stop that");
  return {};
}

/// As check() has found them.
Result<> HandOffs::check_versions(const HandOffRequest& request) const {
  for (const auto& volume : request.volumes) {
    const auto record = parts_.catalogue.find(volume.source);
    if (!volume.local && (!record || record->state != volumes::State::ready || record->epoch != volume.epoch ||
                          record->lineage != volume.lineage))
      return fail(Code::busy, "volume " + volume.source + " has changed hands meanwhile; try again");
  }
  return {};
}

/// Not even read-only: what the container reads is about to become an old version.
Result<> HandOffs::check_unmounted(const HandOffRequest& request) const {
  const Deadline deadline = after(mount_time);
  while (true) {
    FERRY_ASSIGN(const auto mounts, parts_.client.container_mounts());
    std::string busy;
    for (const auto& volume : request.volumes) {
      if (const auto* mount = engine::running_mount(mounts, volume.source))
        busy = "volume " + volume.source + " is mounted by the running container " + mount->container + "; stop it" +
               (request.container.empty() ? ", or leave out move=true for a copy" : "");
      else if (!volume.local && !parts_.mounts.mountpoint(volume.source).empty())
        busy = "volume " + volume.source + " is mounted";
    }
    if (busy.empty()) return {};
    if (SteadyClock::now() > deadline) return fail(Code::busy, busy);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// Ferry does not serve volumes of the local driver, so it cannot refuse to mount them. Who has had one mounted since
/// it was held, as a sentence; empty: nobody. An Engine that cannot be asked is an error.
Result<std::string> HandOffs::find_writer(const Open& open) const {
  for (const auto& volume : open.request.volumes) {
    if (!volume.local) continue;
    const auto began = open.mark == 0 ? engine::Mounted::unknown
                                      : parts_.tracker.mount_rw_began_since(volume.source, open.mark, open.held_ns);
    if (began != engine::Mounted::no)
      return "volume " + volume.source +
             " of the local driver was mounted while it was being handed off, or nobody knows";
    FERRY_ASSIGN(const auto mounts, parts_.client.container_mounts());
    if (const auto* mount = engine::running_mount(mounts, volume.source))
      return "volume " + volume.source + " is mounted by the running container " + mount->container;
  }
  return std::string();
}

/// No ticket makes or changes one of them.
Result<> HandOffs::check_unheld(const HandOffRequest& request) const {
  for (const auto& volume : request.volumes)
    if (const auto ticket = holding_ticket_(volume.source); !ticket.empty())
      return fail(Code::busy, "volume " + volume.source + " is being made or changed by ticket " + ticket);
  return {};
}

/// With changing_ held: from now on a Mount gives way, and no other hand-off begins.
Result<> HandOffs::reserve(const std::string& id, const HandOffRequest& request) {
  for (const auto& volume : request.volumes)
    if (const auto ticket = holder(volume.source); !ticket.empty())
      return fail(Code::busy, "volume " + volume.source + " is being handed off already, by ticket " + ticket);
  Open open;
  open.request = request;
  open.group = count_fenced(request);
  open.started = now_rfc3339();
  open.heard = SteadyClock::now();
  open.mark = parts_.tracker.mark();
  open.held_ns = realtime_ns();
  set(id, open);
  return {};
}

/// The Engine is asked without changing_ held, for which a Mount may wait. Until the ticket is there nothing is given.
Result<hand_off::Answer> HandOffs::hold(const std::string& id, const HandOffRequest& request) {
  const auto begins = [&] {
    const Source state = state_of(id);
    return hand_off::step(state, Request::hold).next == Source::held && state != Source::held;
  };
  if (begins()) FERRY_TRY(check(request));
  {
    const std::lock_guard one_at_a_time(changing_);
    if (!begins()) return make(id, Request::hold);
    FERRY_TRY(reserve(id, request));
  }
  auto held = check_unmounted(request);
  const std::lock_guard one_at_a_time(changing_);
  const auto open = find(id);
  if (!open) return make(id, Request::hold);  // it was cancelled meanwhile
  if (held) held = check_unheld(request);
  if (held) held = check_versions(request);
  if (held) {
    auto record = new_ticket(ticket_of(id), to_json(request), nullptr);
    record.created = open->started;
    record.import["hand_off"] = id;
    record.import["state"] = to_string(open->state);
    held = parts_.catalogue.create(std::move(record));
  }
  if (!held) {
    set(id, std::nullopt);
    return pass(held);
  }
  parts_.created();
  spdlog::info("volumes are held for {}: ticket {}", request.host, ticket_of(id));
  return Answer::held;
}

Result<hand_off::Answer> HandOffs::ask(const std::string& id, Request request) {
  // The Engine is asked without changing_ held, for which a Mount may wait.
  const auto open = request == Request::commit ? find(id) : std::nullopt;
  std::string writer;
  if (open && open->state == Source::held) {
    FERRY_ASSIGN(writer, find_writer(*open));
  }
  const std::lock_guard one_at_a_time(changing_);
  if (!writer.empty() && state_of(id) == Source::held) {
    spdlog::error("ticket {} is given up: {}", ticket_of(id), writer);
    return make(id, Request::cancel);
  }
  return make(id, request);
}

/// With changing_ held. What is durable comes first, each time.
Result<hand_off::Answer> HandOffs::make(const std::string& id, Request request) {
  const Source state = state_of(id);
  const auto [next, answer] = hand_off::step(state, request);
  if (auto open = find(id)) {
    open->heard = SteadyClock::now();
    set(id, open);
  }
  if (next == Source::given && state == Source::held) FERRY_TRY(give(id));
  if (next == Source::left && state == Source::given) FERRY_TRY(forget(id));
  if (next == Source::released) {
    if (state == Source::held) FERRY_TRY(forget(id));
    const std::lock_guard guard(mutex_);
    if (state != Source::released) released_.push_back(id);
    if (released_.size() > most_released) released_.pop_front();
  }
  return answer;
}

/// The one write that decides.
Result<> HandOffs::give(const std::string& id) {
  Open open = *find(id);
  open.unclear = true;
  set(id, open);
  open.state = Source::given;
  FERRY_TRY(store(id, open));
  open.unclear = false;
  set(id, open);
  spdlog::info("volumes are handed off to {}: ticket {}", open.request.host, ticket_of(id));
  // A crash here is caught up with by resume().
  if (auto marked = mark_volumes(id, open); !marked) spdlog::error("{}", marked.error().message);
  return {};
}

Result<> HandOffs::store(const std::string& id, const Open& open) {
  return parts_.catalogue.update(
      ticket_of(id), [&](volumes::VolumeRecord& record) { record.import["state"] = to_string(open.state); });
}

Result<> HandOffs::mark_volumes(const std::string& id, const Open& open) {
  Result<> all;
  for (const auto& volume : open.request.volumes) {
    const auto record = parts_.catalogue.find(volume.source);
    if (volume.local || !record || was_handed_off_by(*record, id)) continue;
    auto marked = parts_.catalogue.update(volume.source, [&](volumes::VolumeRecord& next) {
      mark_handed_off(
          next, {id, open.request.host, open.request.peer, open.request.uuid, volume.target, volume.epoch + 1,
                 open.group, false, open.request.container.empty() ? "" : std::string(volumes::service_prefix) + id});
    });
    if (!marked && all) all = marked;
  }
  return all;
}

/// `how` it ended, "given" or "taken" back: of volumes of the local driver, and of those that are handed off again,
/// there is no other trace.
Result<> HandOffs::mark_parts(const std::string& id, const char* how) {
  const auto service = parts_.catalogue.find(std::string(volumes::service_prefix) + id);
  const std::string of_export = service && service->import.is_object() ? service->import.value("of_export", "") : "";
  for (const auto& record : parts_.catalogue.list()) {
    const bool is_part = is_part_of(*record, id) || (!of_export.empty() && is_part_of(*record, of_export));
    if (!is_part || record->import.value(how, false)) continue;
    auto marked = parts_.catalogue.update(record->name, [&](volumes::VolumeRecord& next) { next.import[how] = true; });
    if (!marked && marked.error().code != Code::not_found) return marked;
  }
  return {};
}

/// Its ticket, after which only the volumes' records tell of it. What may be on disk as given is first made held again.
Result<> HandOffs::forget(const std::string& id) {
  const Open open = *find(id);
  if (open.state == Source::given) {
    FERRY_TRY(mark_volumes(id, open));
    FERRY_TRY(mark_parts(id, "given"));
  }
  return drop(id, open);
}

Result<> HandOffs::drop(const std::string& id, const Open& open) {
  if (open.unclear)
    if (auto stored = store(id, open); !stored && stored.error().code != Code::not_found) return stored;
  auto removed = parts_.remove(ticket_of(id));
  if (!removed && removed.error().code != Code::not_found) return removed;
  set(id, std::nullopt);
  return {};
}

/// It may have got another name here; copies of it do not count.
std::string HandOffs::fenced_name(const FenceRequest& request) const {
  const auto named = parts_.catalogue.find(request.volume);
  if (named && named->kind == volumes::Kind::volume && named->lineage == request.lineage) return request.volume;
  for (const auto& record : parts_.catalogue.list())
    if (record->kind == volumes::Kind::volume && record->lineage == request.lineage &&
        record->state == volumes::State::ready && record->hand_off.is_object())
      return record->name;
  return {};
}

Result<FenceAnswer> HandOffs::fence(const FenceRequest& request) {
  FenceAnswer answer;
  std::string name;
  {
    const std::lock_guard one_at_a_time(changing_);
    name = fenced_name(request);
    if (name.empty()) return answer;
    FERRY_ASSIGN(answer, fence_locked(name, request));
  }
  answer.mounted = answer.stand == FenceAnswer::Stand::fenced && is_mounted(name);
  return answer;
}

Result<FenceAnswer> HandOffs::fence_locked(const std::string& name, const FenceRequest& request) {
  using Stand = FenceAnswer::Stand;
  const auto record = parts_.catalogue.find(name);
  if (!record || record->state == volumes::State::failed) return FenceAnswer{};
  if (was_handed_off_by(*record, request.id)) return FenceAnswer{Stand::fenced, 0, false, {}};
  if (record->state == volumes::State::handed_off)
    return FenceAnswer{Stand::left, record->hand_off.value("epoch", std::uint64_t{0}), false,
                       record->hand_off.value("to", "another host")};
  if (const auto ticket = holding_ticket_(name); !ticket.empty() || record->state != volumes::State::ready)
    return fail(Code::busy,
                "volume " + name + " is being made or changed" + (ticket.empty() ? "" : " by ticket " + ticket));
  // A volume that was imported as a copy is what this hand-off is about all the same.
  const std::string holding = holder_id(name);
  if (holding != request.id && !is_owner(*record)) return FenceAnswer{};
  if (record->epoch >= request.epoch) return FenceAnswer{Stand::newer, record->epoch, false, {}};
  if (!holding.empty()) {
    FERRY_ASSIGN(const Answer answer, make(holding, Request::cancel));
    if (answer != Answer::gone) return fail(Code::busy, "volume " + name + " is being handed off");
  }
  FERRY_TRY(parts_.catalogue.update(name, [&](volumes::VolumeRecord& next) {
    mark_handed_off(next, {request.id, request.host, request.peer, "", request.target, request.epoch, 1, true});
  }));
  spdlog::error("volume {} was taken over by force by {}, where it has epoch {}: it cannot be mounted here any more",
                name, request.host, request.epoch);
  return FenceAnswer{Stand::fenced, 0, false, {}};
}

/// As far as that can be told.
bool HandOffs::is_mounted(const std::string& volume) const {
  const auto mounts = parts_.client.container_mounts();
  if (!mounts) return !parts_.mounts.mountpoint(volume).empty();
  return engine::running_mount(*mounts, volume) != nullptr;
}

Result<> HandOffs::take_by_force(const std::string& volume, const std::string& id) {
  const std::lock_guard one_at_a_time(changing_);
  const auto record = parts_.catalogue.find(volume);
  if (!record || !(was_handed_off_by(*record, id) || was_taken_from(*record, id))) return {};
  if (was_handed_off_by(*record, id))
    FERRY_TRY(parts_.catalogue.update(volume, [&](volumes::VolumeRecord& next) {
      const nlohmann::json gone = next.hand_off;
      next.state = volumes::State::ready;
      next.epoch = gone.value("epoch", next.epoch) + 1;
      next.hand_off = {{"reclaimed", id}};
      if (gone.contains("received")) next.hand_off["received"] = gone["received"];
      for (const char* member : {"of", "to", "peer", "uuid", "volume"})
        next.hand_off[member] = gone.value(member, nlohmann::json());
    }));
  auto open = find(id);
  if (open) {
    drop_taken(id, *open);
    set(id, open);
  }
  const bool is_over = is_all_taken(id);  // whatever there is of the local driver, which nobody can take
  if (is_over) FERRY_TRY(mark_parts(id, "taken"));
  if (!open || !(is_over || open->request.volumes.empty())) return {};
  return drop(id, *open);  // a destination that asks is told by the records of volumes or export
}

void HandOffs::drop_taken(const std::string& id, Open& open) const {
  std::erase_if(open.request.volumes, [&](const HandOffRequest::Volume& volume) {
    const auto record = parts_.catalogue.find(volume.source);
    return record && was_taken_from(*record, id);
  });
}

Result<> HandOffs::raise_epoch(const std::string& volume, std::uint64_t epoch) {
  const std::lock_guard one_at_a_time(changing_);
  return parts_.catalogue.update(volume, [&](volumes::VolumeRecord& record) {
    if (record.state == volumes::State::ready) record.epoch = std::max(record.epoch, epoch);
  });
}

std::optional<std::chrono::milliseconds> HandOffs::silence(const std::string& id) const {
  const auto open = find(id);
  if (!open || open->state != Source::held) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - open->heard);
}

void HandOffs::heard(const std::string& volume) {
  const std::lock_guard guard(mutex_);
  for (auto& [id, open] : open_)
    for (const auto& held : open.request.volumes)
      if (held.source == volume) open.heard = SteadyClock::now();
}

Result<> HandOffs::check_mountable(const std::string& volume) {
  const std::string id = holder_id(volume);
  const auto open = find(id);
  if (!open) return {};
  if (open->state == Source::given)
    return fail(Code::busy, "volume " + volume + " was handed off to " + open->request.host);
  if (SteadyClock::now() - open->heard > longest_silence_) {
    spdlog::warn("ticket {}: nothing was heard of {} for too long; volume {} can be mounted again", ticket_of(id),
                 open->request.host, volume);
    FERRY_ASSIGN(const Answer answer, ask(id, Request::cancel));
    if (answer == Answer::gone) return {};
  }
  return fail(Code::busy, "volume " + volume + " is being handed off to " + open->request.host +
                              "; `docker volume rm " + ticket_of(id) + "` cancels that");
}

Result<> HandOffs::confirm(const std::string& volume) {
  const std::string id = holder_id(volume);
  const auto open = find(id);
  if (!open || open->state != Source::given) return {};
  FERRY_ASSIGN(const Answer answer, ask(id, Request::acknowledge));
  return answer == Answer::given ? Result<>() : fail(Code::busy, "volume " + volume + " is being handed off");
}

std::optional<HandOffRequest> HandOffs::given(const std::string& ticket) const {
  const auto open = find(ticket.substr(volumes::departure_prefix.size()));
  return open && open->state == Source::given ? std::optional(open->request) : std::nullopt;
}

Result<> HandOffs::cancel(const std::string& ticket) {
  const std::string id = ticket.substr(volumes::departure_prefix.size());
  // What is not fenced is not missed by anybody, should the destination never come back.
  if (const auto open = given(ticket); open && count_fenced(*open) == 0 && open->container.empty()) {
    const std::lock_guard one_at_a_time(changing_);
    return forget(id);
  }
  FERRY_ASSIGN(const Answer answer, ask(id, Request::cancel));
  if (answer != Answer::refused) {
    const bool is_left = parts_.catalogue.find(ticket) != nullptr;  // resume() could not read it
    return is_left ? parts_.remove(ticket) : Result<>();
  }
  return fail(Code::busy, "the volumes of ticket " + ticket +
                              " are the other host's already, which has not confirmed yet "
                              "that it knows; the ticket goes as soon as it has. If that host is lost, take each of "
                              "them back with a ticket, -o reclaim=VOLUME -o force=true");
}

nlohmann::json HandOffs::status(const volumes::VolumeRecord& ticket) const {
  const auto open = find(ticket.import["hand_off"].get<std::string>());
  nlohmann::json status = {
      {"state", "exporting"}, {"migration", nlohmann::json::object()}, {"volumes", nlohmann::json::array()}};
  if (!open) return status;
  status["migration"] = {{"id", ticket.import["hand_off"]},    {"role", "hand-off"},       {"peer", open->request.host},
                         {"phase", to_string(open->state)},    {"started", open->started}, {"error", nullptr},
                         {"warnings", nlohmann::json::array()}};
  for (const auto& volume : open->request.volumes) {
    status["volumes"].push_back(
        {{"name", volume.target}, {"source", volume.source}, {"state", to_string(open->state)}});
    if (volume.local) status["migration"]["warnings"].push_back(volume.source + ": not fenced: local driver");
  }
  return status;
}

}  // namespace ferry::migration
