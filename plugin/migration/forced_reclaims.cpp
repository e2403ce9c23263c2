#include "migration/forced_reclaims.h"

#include <algorithm>
#include <utility>

#include "base/host_name.h"
#include "base/log.h"
#include "base/random.h"
#include "migration/handed_off.h"
#include "migration/migration_record.h"
#include "migration/ticket_kind.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds ask_time{10'000};
constexpr std::chrono::milliseconds first_pause{1000};
constexpr std::chrono::milliseconds longest_pause{60'000};
constexpr const char* member = "forced";
/// A host that always has the same epoch as this one is given up.
constexpr int most_raises = 10;
/// At one greeting: as many as a peer accepts (peer/messages.cpp).
constexpr std::size_t most_told = 1000;

/// Else it is another version of the volume that has come since, which nobody is to be fenced for.
bool is_or_was_owner(const volumes::VolumeRecord& record) {
  return record.state == volumes::State::handed_off || (record.state == volumes::State::ready && is_owner(record));
}

/// Empty: there is none.
std::string text_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::uint64_t epoch_of(const volumes::VolumeRecord& record) {
  return record.state == volumes::State::handed_off ? record.hand_off.value("epoch", record.epoch) : record.epoch;
}

}  // namespace

/// Whether the ticket is the one of that plan, which may have made progress since it was stored.
bool ForcedReclaims::is_of(const volumes::VolumeRecord& ticket, const Plan& plan) {
  if (!is_ticket(ticket, TicketKind::forced_reclaim)) return false;
  const Plan stored = plan_of(ticket.import);
  return std::equal(stored.volumes.begin(), stored.volumes.end(), plan.volumes.begin(), plan.volumes.end(),
                    [](const Volume& a, const Volume& b) { return a.here == b.here && a.id == b.id; });
}

nlohmann::json ForcedReclaims::to_json(const Plan& plan) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.volumes)
    volumes.push_back({{"here", volume.here},
                       {"there", volume.there},
                       {"taken", volume.taken},
                       {"id", volume.id},
                       {"received", volume.received},
                       {"local", volume.local}});
  nlohmann::json json = {{member, volumes}, {"uuid", plan.uuid}, {"is_there", plan.is_there}};
  add_to_json(json, plan.peer);
  if (plan.former) add_to_json(json["former"], *plan.former);
  return json;
}

/// Throws nlohmann::json::exception.
ForcedReclaims::Plan ForcedReclaims::plan_of(const nlohmann::json& json) {
  Plan plan;
  plan.peer = peer_of(json);
  plan.uuid = json.at("uuid").get<std::string>();
  plan.is_there = json.value("is_there", true);
  if (json.contains("former")) plan.former = peer_of(json["former"]);
  for (const auto& volume : json.at(member))
    plan.volumes.push_back({volume.at("here").get<std::string>(), volume.at("there").get<std::string>(),
                            volume.at("taken").get<std::string>(), volume.at("id").get<std::string>(),
                            volume.value("received", ""), volume.value("local", false)});
  return plan;
}

nlohmann::json ForcedReclaims::status_of(const Plan& plan) {
  auto migration = new_migration_status("reclaim", plan.peer.text());
  migration["phase"] = "tell";
  migration["error"] = nullptr;
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.volumes)
    volumes.push_back({{"name", volume.here}, {"source", volume.there}, {"state", "ready"}});
  return {{"state", "importing"}, {"migration", std::move(migration)}, {"volumes", std::move(volumes)}};
}

void ForcedReclaims::start() {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::forced_reclaim) || record->state != volumes::State::importing) continue;
    try {
      Plan plan = plan_of(record->import);
      if (auto taken = take(plan); !taken) spdlog::error("ticket {}: {}", record->name, taken.error().message);
      add(record->name, std::move(plan));
    } catch (const nlohmann::json::exception& error) {
      spdlog::error("ticket {} cannot be read: {}", record->name, error.what());
    }
  }
  thread_ = std::thread([this] { run(); });
}

void ForcedReclaims::stop() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    if (told_) told_->abort();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<ForcedReclaims::Plan> ForcedReclaims::make_plan(const ReclaimRequest& request) {
  Plan plan;
  std::optional<transport::PeerAddress> known;
  if (const auto waiting = parts_.tickets.waiting_for_source(request.volume)) {
    for (const auto& volume : waiting->volumes)
      plan.volumes.push_back({volume.target, volume.source, "", waiting->hand_off, waiting->hand_off, volume.local});
    known = waiting->peer;
    plan.uuid = waiting->peer_uuid;
  } else {
    const auto record = parts_.catalogue.find(request.volume);
    if (!record || record->kind == volumes::Kind::ticket)
      return fail(Code::not_found, "no volume named " + request.volume);
    if (const std::string ticket = parts_.tickets.holder(request.volume); !ticket.empty())
      return fail(Code::busy,
                  "volume " + request.volume + " is being made or changed by ticket " + ticket + "; remove that first");
    const auto& gone = record->hand_off;
    const bool away = record->state == volumes::State::handed_off;
    // Whoever else may think that it has the volume can be told of what is this host's already.
    const bool tells = record->state == volumes::State::ready && is_owner(*record) && request.peer;
    const bool reclaimed = gone.is_object() && gone.contains("reclaimed");
    if (!away && !tells && !reclaimed) return tl::unexpected(explain_own(*record));
    plan.volumes.push_back({request.volume, gone.is_object() ? gone.value("volume", request.volume) : request.volume,
                            away ? gone.value("id", "") : "", random_hex(16), "", false});
    known = peer_that_has(*record);
    if (away || reclaimed) plan.uuid = text_of(gone, "uuid");
    plan.is_there = !request.peer;
    if (request.peer) plan.former = known;
  }
  if (request.peer) known = request.peer;
  if (!known)
    return fail(Code::invalid_argument,
                "it is not known how the other host can be reached, which has to be told when it is back; add "
                "from=HOST[:PORT]");
  plan.peer = *known;
  return plan;
}

Result<> ForcedReclaims::begin(const std::string& name, const ReclaimRequest& request) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  FERRY_ASSIGN(Plan plan, make_plan(request));
  // First: whoever lost the volumes must be told, whatever happens.
  FERRY_TRY(parts_.catalogue.create(new_ticket(name, to_json(plan), status_of(plan))));
  if (auto taken = take(plan); !taken && is_untaken(plan)) {
    if (auto removed = parts_.catalogue.remove(name); !removed) spdlog::error("{}", removed.error().message);
    return taken;
  }
  for (const auto& volume : plan.volumes)
    spdlog::warn("volume {} is taken over by force from {}: ticket {}", volume.here, plan.peer.text(), name);
  add(name, std::move(plan));
  return {};
}

/// Once: what was handed off again since is not taken back. A ticket that was forced has forgotten it after a restart.
Result<> ForcedReclaims::take(const Plan& plan) {
  for (const auto& volume : plan.volumes) {
    if (!volume.received.empty()) parts_.tickets.take_by_force(volume.here, volume.received);
    if (!volume.taken.empty()) FERRY_TRY(parts_.hand_offs.take_by_force(volume.here, volume.taken));
  }
  return {};
}

/// Notes in the ticket what take() has reached, so that it is not repeated when the volume has moved on. False: a
/// ticket that was forced, and brings all of its volumes or none, has ended before it heard of that.
Result<bool> ForcedReclaims::see_taken(const std::string& name, std::uint64_t number, Plan& plan, Told& told) {
  const nlohmann::json before = to_json(plan);
  bool waits = false, came = false;
  for (auto& volume : plan.volumes) {
    volume.taken.clear();
    if (volume.received.empty()) continue;
    FERRY_TRY(check_unheld(volume));
    const auto record = parts_.catalogue.find(volume.here);
    waits = true;
    came = came || (record && is_or_was_owner(*record) && received_by(*record) == volume.received);
  }
  if (waits && !came) {
    told.lost = "volume " + plan.volumes.front().here +
                " was not taken: the ticket that was to bring it has ended without it, or it was removed since";
    return false;
  }
  for (auto& volume : plan.volumes) volume.received.clear();
  if (to_json(plan) == before) return true;
  FERRY_TRY(parts_.catalogue.update(name, [&](volumes::VolumeRecord& record) {
    if (is_of(record, plan)) record.import = to_json(plan);
  }));
  const std::lock_guard guard(mutex_);
  if (Open* const open = find_open(name, number)) open->plan = plan;
  return true;
}

/// None: it has ended, or was removed.
ForcedReclaims::Open* ForcedReclaims::find_open(const std::string& name, std::uint64_t number) {
  const auto it = open_.find(name);
  return it == open_.end() || it->second.number != number ? nullptr : &it->second;
}

/// After an error of take(), which may be on disk nevertheless: makes durable that it is not. Else take() is repeated.
bool ForcedReclaims::is_untaken(const Plan& plan) {
  return std::all_of(plan.volumes.begin(), plan.volumes.end(), [this](const Volume& volume) {
    const auto record = parts_.catalogue.find(volume.here);
    const bool changed = record && record->state != volumes::State::handed_off && !volume.taken.empty();
    return !changed && (!record || parts_.catalogue.update(volume.here, [](volumes::VolumeRecord&) {}));
  });
}

void ForcedReclaims::add(const std::string& name, Plan plan) {
  {
    const std::lock_guard guard(mutex_);
    open_[name] = Open{++added_, std::move(plan), {}, SteadyClock::now(), first_pause, {}, false, false};
  }
  changed_.notify_all();
}

Result<> ForcedReclaims::cancel(const std::string& name) {
  const std::lock_guard guard(mutex_);
  const auto it = open_.find(name);
  if (it == open_.end()) return {};
  const std::string host = it->second.plan.peer.text();
  if (!std::exchange(it->second.asked, true))
    return fail(Code::busy, "the volumes are this host's, but " + host +
                                " has not been told yet, and may use its own; ticket " + name +
                                " stays until it has, and removing it once more gives that up");
  open_.erase(it);
  spdlog::warn("ticket {} is removed before {} was told that it has the volumes no more", name, host);
  return {};
}

void ForcedReclaims::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto next = std::min_element(open_.begin(), open_.end(),
                                       [](const auto& a, const auto& b) { return a.second.due < b.second.due; });
    if (next == open_.end()) {
      changed_.wait(lock);
      continue;
    }
    if (next->second.due > SteadyClock::now()) {
      const Deadline due = next->second.due;
      changed_.wait_until(lock, due);
      continue;
    }
    const std::string name = next->first;
    const std::uint64_t number = next->second.number;
    Plan plan = next->second.plan;
    Told told = next->second.told;
    next->second.answered = false;
    told_ = parts_.peers.peer(plan.peer);
    const auto peer = told_;
    lock.unlock();
    const auto done = tell(name, number, plan, *peer, told);
    lock.lock();
    told_.reset();
    Open* const open = find_open(name, number);
    if (open == nullptr) continue;
    open->told.add(told);
    if (done) {
      told = open->told;
      open_.erase(name);
      lock.unlock();
      end(name, plan, told);
      lock.lock();
      continue;
    }
    if (open->trouble != done.error().message) spdlog::warn("ticket {} waits: {}", name, done.error().message);
    open->trouble = done.error().message;
    if (is_held(plan)) open->pause = first_pause;  // nobody was asked
    open->due = open->answered ? SteadyClock::now() : after(open->pause);
    open->pause = std::min(open->pause * 2, longest_pause);
  }
}

/// An error is worth another try, later.
Result<> ForcedReclaims::tell(const std::string& name, std::uint64_t number, Plan& plan, Peer& peer, Told& told) {
  FERRY_TRY(take(plan));
  FERRY_ASSIGN(const bool taken, see_taken(name, number, plan, told));
  if (!taken) return {};
  bool is_over = true;
  for (const auto& volume : plan.volumes) {
    is_over = is_over && (volume.local || told.volumes.contains(volume.there));
    if (!volume.local) continue;
    FERRY_TRY(check_unheld(volume));
    told.warnings.push_back(
        "volume " + volume.there + " of " + plan.peer.text() +
        " belongs to the local driver, so it cannot be fenced; see to it that nobody uses it there");
  }
  if (is_over) return {};
  if (plan.is_there && !plan.uuid.empty()) {
    FERRY_ASSIGN(const std::string uuid, peer.identify(ask_time));
    if (uuid != plan.uuid)
      return fail(Code::denied, plan.peer.text() +
                                    " is another host now than the one that has to be told; remove the "
                                    "ticket, and make another one with from=HOST[:PORT]");
  }
  for (const auto& volume : plan.volumes)
    if (!volume.local && !told.volumes.contains(volume.there)) FERRY_TRY(tell(plan, volume, peer, told));
  return {};
}

std::vector<FenceRequest> ForcedReclaims::untold(const std::string& uuid) const {
  std::vector<Volume> volumes;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& [name, open] : open_)
      for (const auto& volume : open.plan.volumes)
        if (open.plan.uuid == uuid && !volume.local && volume.received.empty() && volume.taken.empty() &&
            !open.told.volumes.contains(volume.there) && volumes.size() < most_told)
          volumes.push_back(volume);
  }
  std::vector<FenceRequest> requests;
  for (const auto& volume : volumes)
    if (const auto request = request_of(volume); request && *request) requests.push_back(**request);
  return requests;
}

void ForcedReclaims::note(const std::string& id, const std::string& volume, const FenceAnswer& answer) {
  const auto find = [&](const Plan& plan) {
    return std::find_if(plan.volumes.begin(), plan.volumes.end(),
                        [&](const Volume& one) { return !one.local && one.id == id && one.there == volume; });
  };
  std::string name;
  std::uint64_t number = 0;
  Plan plan;
  {
    const std::lock_guard guard(mutex_);
    const auto it = std::find_if(open_.begin(), open_.end(), [&](const auto& one) {
      return find(one.second.plan) != one.second.plan.volumes.end();
    });
    if (it == open_.end()) return;
    name = it->first;
    number = it->second.number;
    plan = it->second.plan;
  }
  // The user may have named another host: that has to be told, too, unless this one had the volume.
  const bool had = answer.stand == FenceAnswer::Stand::fenced || answer.stand == FenceAnswer::Stand::newer;
  Told told;
  const auto taken = take_answer(plan.former.value_or(plan.peer), *find(plan), answer, told);
  if (!taken) spdlog::error("ticket {}: {}", name, taken.error().message);
  if (!taken || !*taken) return;
  {
    const std::lock_guard guard(mutex_);
    Open* const open = find_open(name, number);
    if (open == nullptr) return;
    if (plan.is_there || had) told.volumes.insert(volume);
    open->told.add(told);
    open->due = SteadyClock::now();
    open->answered = true;
  }
  changed_.notify_all();
}

bool ForcedReclaims::is_held(const Plan& plan) const {
  return std::any_of(plan.volumes.begin(), plan.volumes.end(),
                     [this](const Volume& volume) { return !parts_.tickets.holder(volume.here).empty(); });
}

/// Until no ticket makes or changes it, what was forced may be forgotten by a restart.
Result<> ForcedReclaims::check_unheld(const Volume& volume) const {
  const std::string ticket = parts_.tickets.holder(volume.here);
  if (ticket.empty()) return {};
  return fail(Code::busy, "volume " + volume.here + " is being made or changed by ticket " + ticket);
}

/// What its host has to be told of it now; none: this host has it no more.
Result<std::optional<FenceRequest>> ForcedReclaims::request_of(const Volume& volume) const {
  FERRY_TRY(check_unheld(volume));
  const auto record = parts_.catalogue.find(volume.here);
  if (!record || !is_or_was_owner(*record)) return std::nullopt;
  FenceRequest request;
  request.volume = volume.there;
  request.lineage = record->lineage;
  request.epoch = epoch_of(*record);
  request.target = volume.here;
  request.id = volume.id;
  request.port = parts_.port;
  request.name = host_name();
  return request;
}

Result<> ForcedReclaims::tell(const Plan& plan, const Volume& volume, Peer& peer, Told& told) {
  for (int raises = 0; raises < most_raises; ++raises) {
    FERRY_ASSIGN(const auto request, request_of(volume));
    if (!request) return {};
    FERRY_ASSIGN(const FenceAnswer answer, peer.fence(*request, ask_time));
    FERRY_ASSIGN(const bool done, take_answer(plan.peer, volume, answer, told));
    if (!done) continue;
    told.volumes.insert(volume.there);
    return {};
  }
  return fail(Code::unavailable, "the epoch of volume " + volume.there + " changes all the time");
}

std::string ForcedReclaims::lost(const Volume& volume, const std::string& host) {
  return "volume " + volume.there + " of " + host +
         " has a newer epoch than it got here by force, so that host keeps it";
}

void ForcedReclaims::Told::add(const Told& more) {
  volumes.insert(more.volumes.begin(), more.volumes.end());
  for (const auto& warning : more.warnings)
    if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) warnings.push_back(warning);
  if (!more.lost.empty()) lost = more.lost;
}

/// False: it has to be told once more, with another epoch.
Result<bool> ForcedReclaims::take_answer(const transport::PeerAddress& who, const Volume& volume,
                                         const FenceAnswer& answer, Told& told) {
  const std::string host = who.text();
  const auto record = parts_.catalogue.find(volume.here);
  if (!record || !is_or_was_owner(*record) || answer.stand == FenceAnswer::Stand::gone) return true;
  if (answer.stand == FenceAnswer::Stand::fenced) {
    if (answer.mounted)
      told.warnings.push_back("volume " + volume.there + " of " + host +
                              " is fenced, but a running container there still has it mounted; stop that: what it "
                              "writes is not here");
    return true;
  }
  const std::uint64_t epoch = epoch_of(*record);
  const bool is_ready =
      record->state == volumes::State::ready;  // else it has been handed off since, maybe to that host
  if (answer.stand == FenceAnswer::Stand::left) {
    if (answer.epoch < epoch) return true;  // from before this host had it
    told.warnings.push_back(host + " had handed volume " + volume.there + " off to " + answer.to + " (epoch " +
                            std::to_string(answer.epoch) + "); tell that host, too, with a ticket, -o reclaim=" +
                            volume.here + " -o force=true -o from=HOST[:PORT]");
    if (is_ready) FERRY_TRY(parts_.hand_offs.raise_epoch(volume.here, answer.epoch + 1));
    return true;
  }
  if (!is_ready) {
    if (record->hand_off.value("forced", false)) told.lost = lost(volume, host);
    return true;
  }
  if (answer.epoch <= epoch) {
    if (answer.epoch == epoch) FERRY_TRY(parts_.hand_offs.raise_epoch(volume.here, epoch + 1));
    return false;
  }
  FenceRequest fence;
  fence.volume = volume.here;
  fence.lineage = record->lineage;
  fence.epoch = answer.epoch;
  fence.target = volume.there;
  fence.id = random_hex(16);
  fence.host = host;
  fence.peer = who;
  FERRY_TRY(parts_.hand_offs.fence(fence));
  told.lost = lost(volume, host);
  return true;
}

void ForcedReclaims::end(const std::string& name, const Plan& plan, const Told& told) {
  const char* state = told.lost.empty() ? "done" : "failed";
  for (const auto& warning : told.warnings) spdlog::warn("ticket {}: {}", name, warning);
  if (told.lost.empty())
    spdlog::info("ticket {}: who had the volumes knows that it has them no more, as far as they can be fenced", name);
  else
    spdlog::error("ticket {} failed: {}", name, told.lost);
  const auto stored = parts_.catalogue.update(name, [&](volumes::VolumeRecord& record) {
    if (!is_of(record, plan)) return;  // another one of that name
    record.state = told.lost.empty() ? volumes::State::done : volumes::State::failed;
    record.migration["state"] = state;
    auto& migration = record.migration["migration"];
    migration["phase"] = state;
    migration["finished"] = now_rfc3339();
    migration["error"] = told.lost.empty() ? nlohmann::json(nullptr) : nlohmann::json(told.lost);
    migration["warnings"] = told.warnings;
  });
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name, stored.error().message);
}

nlohmann::json ForcedReclaims::status(const volumes::VolumeRecord& ticket) const {
  nlohmann::json status = ticket.migration;
  const std::lock_guard guard(mutex_);
  const auto it = open_.find(ticket.name);
  if (it != open_.end() && !it->second.trouble.empty()) status["migration"]["error"] = it->second.trouble;
  return status;
}

}  // namespace ferry::migration
