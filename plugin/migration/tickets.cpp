#include "migration/tickets.h"

#include <algorithm>
#include <atomic>
#include <future>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/handed_off.h"
#include "migration/label_keeper.h"
#include "migration/migration_record.h"
#include "migration/service_steps.h"
#include "migration/ticket_kind.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

/// Below the 5 s that a create may take. Who the peer is takes longest, because that connects.
constexpr std::chrono::milliseconds check_time{4500};
constexpr std::chrono::milliseconds check_time_of_export{3500};
constexpr std::chrono::milliseconds identify_time{3000};
/// So many volumes are described at once: an exporting host has that many links for it (peer/offer.cpp).
constexpr std::size_t describers = 3;
constexpr std::chrono::milliseconds confirm_time{3000};
/// A source may count for a second how much a volume has.
constexpr std::chrono::milliseconds count_time{1500};
constexpr std::uint64_t most_bytes = INT64_MAX;

bool is_running(const volumes::VolumeRecord& record) {
  return is_ticket(record, TicketKind::volumes) && record.state == volumes::State::importing;
}

/// A copy of the volume that the peer has now, or of what it is a copy of.
bool same_lineage(const volumes::VolumeRecord& record, const TicketPlan& plan, const TicketVolume& volume) {
  if (!volume.source.lineage.empty()) return volume.source.lineage == record.lineage;
  // A local volume has none; then it is the one of that name at that host, unless that was made anew since.
  const auto& import = record.import;
  if (!import.is_object() || import.value("uuid", "") != plan.peer_uuid ||
      import.value("volume", "") != volume.source.volume)
    return false;
  const std::string before = import.value("instance", "");
  return before.empty() || volume.source.instance.empty() || before == volume.source.instance;
}

/// What was handed off from here: the peer has it, so the hand-off is over, whether or not anybody has said so.
bool has_arrived(const volumes::VolumeRecord& record, const TicketPlan& plan, const TicketVolume& volume) {
  return record.state == volumes::State::handed_off && same_lineage(record, plan, volume) && volume.source.owner &&
         volume.source.epoch >= record.hand_off.value("epoch", std::uint64_t{0});
}

std::string why(const volumes::VolumeRecord& record) {
  const auto error =
      record.migration.is_object() ? record.migration.value("error", nlohmann::json()) : nlohmann::json();
  return error.is_string() ? error.get<std::string>() : "the reason is not known";
}

}  // namespace

void Tickets::resume() {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_running(*record)) continue;
    auto plan = ticket_plan(record->import);
    if (!plan) {
      spdlog::error("ticket {}: {}", record->name, plan.error().message);
      continue;
    }
    spdlog::info("carrying on ticket {} from {}", record->name, plan->request.peer.text());
    start(record->name, std::move(*plan));
  }
}

/// From now on it holds its volumes.
Tickets::Job Tickets::add(const std::string& name, TicketPlan plan) {
  auto peer = parts_.peers.peer(plan.request.peer);
  const TicketJob::Environment environment{
      parts_.catalogue,
      [this](const std::string& volume) { return is_mounted(volume); },
      [this, name](volumes::VolumeRecord record) { return create_volume(name, std::move(record)); },
      parts_.committed,
      [this](const std::string& volume) { return parts_.hand_offs.holder(volume); },
      [this](const FenceRequest& request) { return parts_.hand_offs.fence(request); },
      parts_.port,
      parts_.pauses,
      [this, name](const TicketPlan& of) {
        return std::make_unique<ServiceEnd>(
            ServiceEnd::Parts{parts_.catalogue, parts_.client,
                              [this](const std::string& path) { return parts_.sources->visible_path(path); },
                              [this](const std::string& volume) { return parts_.sources->local_path(volume); },
                              [this](const std::string& volume) { return is_mounted(volume); }, parts_.returned},
            name, of);
      },
      [this, address = plan.request.peer] { return parts_.peers.peer(address); }};
  auto job = std::make_shared<TicketJob>(environment, name, std::move(plan), std::move(peer));
  const std::lock_guard guard(mutex_);
  jobs_[name] = job;
  return job;
}

/// One that was not started.
void Tickets::drop(const std::string& name) {
  if (auto removed = parts_.catalogue.remove(name); !removed) spdlog::error("{}", removed.error().message);
  const std::lock_guard guard(mutex_);
  jobs_.erase(name);
}

/// Containers may have it from before the plugin was disabled, when the Engine takes away Ferry's binds but not theirs.
/// Unknown only where there is no Engine's socket; one that does not answer is booting or busy, while containers run.
Result<engine::Mounted> Tickets::is_mounted(const std::string& volume) const {
  if (!parts_.mounts.mountpoint(volume).empty()) return engine::Mounted::yes;
  const auto mounts = parts_.client.container_mounts();
  if (!mounts) {
    FERRY_ASSIGN(const bool there, ferry::exists(parts_.client.socket()));
    if (!there) return engine::Mounted::unknown;
    return fail(Code::unavailable, "the Docker Engine does not tell whether containers have volume " + volume + ": " +
                                       mounts.error().message);
  }
  return engine::running_mount(*mounts, volume) != nullptr ? engine::Mounted::yes : engine::Mounted::no;
}

/// The name that the Engine has for Ferry. Of a ticket that was made through the Engine it is answered once that has
/// ended its own Create. Of another one it must not be asked: it would note a volume without a name, for ever, and look
/// for that at each start (moby, volume/service/store.go, getVolume and restore).
Result<std::string> Tickets::driver_of(const std::string& ticket) const {
  if (!ticket.starts_with(volumes::arrival_prefix)) {
    FERRY_ASSIGN(const engine::Volume known, parts_.client.volume(ticket));
    return known.driver;
  }
  FERRY_ASSIGN(const auto listed, parts_.client.volumes());
  for (const auto& volume : listed)
    if (volume.name == ticket) return volume.driver;
  return fail(Code::not_found, "the Docker Engine does not list " + ticket);
}

/// Through the Engine, which then knows labels and options from the first moment on: a volume that it learns of by
/// looking has none, and a later POST does not change that. Without an Engine LabelKeeper catches up.
Result<> Tickets::create_volume(const std::string& ticket, volumes::VolumeRecord record) {
  const std::string name = record.name;
  const auto driver = driver_of(ticket);
  if (!driver) return parts_.catalogue.create(std::move(record));
  {
    const std::lock_guard guard(mutex_);
    expected_[name] = record;
  }
  const auto created =
      parts_.client.create_volume(name, *driver, LabelKeeper::wanted_options(record, {}), record.labels);
  {
    const std::lock_guard guard(mutex_);
    expected_.erase(name);
  }
  if (parts_.catalogue.find(name)) return {};
  if (!created && created.error().code == Code::already_exists) return tl::unexpected(created.error());
  return parts_.catalogue.create(std::move(record));
}

std::optional<Result<>> Tickets::create_expected(const std::string& name) {
  volumes::VolumeRecord record;
  {
    const std::lock_guard guard(mutex_);
    const auto found = expected_.find(name);
    if (found == expected_.end()) return std::nullopt;
    record = found->second;
  }
  return parts_.catalogue.create(std::move(record));
}

Result<> Tickets::begin(const std::string& name, const TicketRequest& request) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const Deadline deadline = after(check_time);
  FERRY_ASSIGN(TicketPlan plan, check(request));
  Job job;
  {
    const std::lock_guard guard(beginning_);  // two tickets may want one volume
    FERRY_TRY(complete(plan));
    // The source of an export knows that ID already.
    if (request.hands_off()) plan.hand_off = request.peer.export_id.empty() ? random_hex(16) : request.peer.export_id;
    FERRY_TRY(check_room(plan));
    FERRY_TRY(parts_.catalogue.create(
        new_ticket(name, to_json(plan), {{"state", "importing"}, {"migration", new_ticket_status(plan)}})));
    job = add(name, plan);
  }
  if (auto held = check_held(plan, deadline); !held) {
    drop(name);
    return held;
  }
  job->start();
  return {};
}

Result<> Tickets::complete(TicketPlan& plan) const {
  for (auto& volume : plan.volumes) {
    if (volume.action.empty()) {
      FERRY_ASSIGN(volume.action, choose_action(plan, volume));
    }
    volume.source_lineage = volume.source.lineage;
    if (volume.action != "update" && volume.source.lineage.empty()) volume.source.lineage = random_uuid();
  }
  return {};
}

Result<> Tickets::carry_on(const std::string& name, TicketPlan plan, const nlohmann::json& status) {
  Job job;
  {
    const std::lock_guard guard(beginning_);
    FERRY_TRY(complete(plan));
    FERRY_TRY(check_room(plan));
    auto migration = new_ticket_status(plan);
    for (const char* kept : {"id", "started"}) migration[kept] = status["migration"][kept];
    FERRY_TRY(parts_.catalogue.update(name, [&](volumes::VolumeRecord& record) {
      record.import = to_json(plan);
      record.migration = {{"state", "importing"}, {"migration", migration}, {"service", status["service"]}};
    }));
    job = add(name, std::move(plan));
  }
  job->start();
  return {};
}

Result<> Tickets::begin_return(const std::string& name, TicketPlan plan) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  plan.hand_off = random_hex(16);
  Job job;
  {
    const std::lock_guard guard(beginning_);
    FERRY_TRY(complete(plan));
    FERRY_TRY(check_room(plan));
    FERRY_TRY(parts_.catalogue.create(new_ticket(name, to_json(plan),
                                                 {{"state", "importing"},
                                                  {"migration", new_ticket_status(plan)},
                                                  {"service", ServiceSteps().status(plan.service->options)}})));
    job = add(name, std::move(plan));
  }
  job->start();
  return {};
}

/// Why the source does not hand its volumes off, if it says so in time; otherwise the ticket finds out.
Result<> Tickets::check_held(const TicketPlan& plan, Deadline deadline) const {
  if (!plan.is_move()) return {};
  auto held = parts_.peers.peer(plan.request.peer)
                  ->hand_off(plan.hand_off, hand_off::Request::hold,
                             hand_off_request(plan, parts_.catalogue.uuid(), parts_.port), left_until(deadline));
  if (!held && held.error().code != Code::unavailable) return pass(held);
  return {};
}

tl::unexpected<Error> Tickets::refuse_itself(const TicketPlan& plan, const std::string& volume) const {
  const auto& peer = plan.request.peer;
  if (peer.way == transport::PeerAddress::Way::turned)
    return fail(Code::invalid_argument, "volume " + volume +
                                            " cannot be exported to the host that it is on; give it another name with "
                                            "as=NAME");
  return fail(Code::invalid_argument, "from=" + peer.text() + " is this host: volume " + volume +
                                          " cannot be imported from itself; give it another name with as=NAME");
}

Result<TicketPlan> Tickets::check(const TicketRequest& request) const {
  TicketPlan plan;
  plan.request = request;
  const auto peer = parts_.peers.peer(request.peer);
  const bool is_export = request.peer.way == transport::PeerAddress::Way::turned;
  const Deadline deadline = after(is_export ? check_time_of_export : check_time);
  FERRY_ASSIGN(plan.peer_uuid, peer->identify(std::min(identify_time, left_until(deadline))));
  for (const auto& volume : request.volumes)
    if (plan.peer_uuid == parts_.catalogue.uuid() && volume.source == volume.target)
      return refuse_itself(plan, volume.source);
  FERRY_ASSIGN(auto descriptions, describe_all(request, *peer, deadline));
  for (std::size_t i = 0; i < descriptions.size(); ++i)
    plan.volumes.push_back({request.volumes[i].target, {}, std::move(descriptions[i]), {}});
  return plan;
}

/// The first error, in the order of the volumes.
Result<std::vector<VolumeDescription>> Tickets::describe_all(const TicketRequest& request, Peer& peer,
                                                             Deadline deadline) const {
  FERRY_ASSIGN(const std::uint64_t free, free_bytes(parts_.catalogue.layout().volumes()));
  std::vector<Result<VolumeDescription>> answers(request.volumes.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < answers.size(); i = next++) {
      const auto& volume = request.volumes[i];
      const auto left = left_until(deadline);
      // An update needs room for what differs, which the size of the whole does not tell.
      const bool counts = left > count_time && !parts_.catalogue.find(volume.target);
      answers[i] = peer.describe({request.peer, volume.source, request.terms}, counts ? free : most_bytes, left);
    }
  };
  std::vector<std::future<void>> others;
  while (others.size() + 1 < std::min(describers, answers.size()))
    others.push_back(std::async(std::launch::async | std::launch::deferred, work));
  work();
  for (auto& other : others) other.get();
  std::vector<VolumeDescription> descriptions;
  for (auto& answer : answers) {
    if (!answer) return pass(answer);
    descriptions.push_back(std::move(*answer));
  }
  return descriptions;
}

Result<std::string> Tickets::choose_action(const TicketPlan& plan, const TicketVolume& volume) const {
  const std::string& name = volume.target;
  if (const std::string ticket = holder(name); !ticket.empty())
    return fail(Code::busy, "volume " + name + " is being made or changed by ticket " + ticket);
  const auto record = parts_.catalogue.find(name);
  if (!record) {
    const auto known = parts_.client.volume(name);
    if (known && !known->status.contains("lineage"))
      return fail(Code::already_exists, "the Docker Engine has a volume " + name + " of driver " +
                                            quote(known->driver) +
                                            "; remove it, or give this one another name with as= or rename=");
    return "create";
  }
  if (record->kind == volumes::Kind::ticket)
    return fail(Code::already_exists, name + " is a ticket here; give the volume another name with as= or rename=");
  if (has_arrived(*record, plan, volume)) FERRY_TRY(parts_.hand_offs.confirm(name));
  if (const std::string ticket = parts_.hand_offs.holder(name); !ticket.empty())
    return fail(Code::busy, "volume " + name + " is being handed off, by ticket " + ticket);
  switch (record->state) {
    case volumes::State::ready: break;
    case volumes::State::handed_off: return take_over(plan, volume, *record);
    case volumes::State::failed:
      return fail(Code::already_exists, "the import of volume " + name + " failed: " + why(*record) +
                                            "; remove the volume, or start that import again with -o retry=" + name);
    case volumes::State::quarantined: return fail(Code::already_exists, why(*record));
    default: return fail(Code::busy, "volume " + name + " is being imported; wait for that");
  }
  if (is_mounted(name).value_or(engine::Mounted::unknown) ==
      engine::Mounted::yes)  // else the ticket waits until it knows
    return fail(Code::busy, "volume " + name + " is mounted here; stop the containers that use it");
  if (same_lineage(*record, plan, volume)) {
    if (plan.request.move && volume.source.epoch < record->epoch)
      return fail(Code::denied, "volume " + name + " has epoch " + std::to_string(record->epoch) +
                                    " here, newer than the " + std::to_string(volume.source.epoch) + " of " +
                                    plan.request.peer.text() + "; leave out move=true to get its content only");
    return "update";
  }
  if (plan.request.replace) return "replace";
  return fail(Code::already_exists, "volume " + name + " exists here and is no copy of that of " +
                                        plan.request.peer.text() +
                                        "; pass -o replace=true to lose its content, or use as= or rename=");
}

/// A volume that was handed off comes back by another hand-off only, and from who has got it, directly or not.
Result<std::string> Tickets::take_over(const TicketPlan& plan, const TicketVolume& volume,
                                       const volumes::VolumeRecord& record) const {
  if (!plan.request.move || !same_lineage(record, plan, volume)) return tl::unexpected(explain_handed_off(record));
  if (!volume.source.owner)
    return fail(Code::denied, "volume " + volume.source.volume + " of " + plan.request.peer.text() +
                                  " is a copy; that of this host was handed off to " +
                                  record.hand_off.value("to", "another host") + ", bring it back from there");
  const auto handed = record.hand_off.value("epoch", std::uint64_t{0});
  if (plan.request.epoch != 0 && volume.source.epoch > plan.request.epoch)
    return fail(Code::denied, "volume " + volume.source.volume + " of " + plan.request.peer.text() + " has epoch " +
                                  std::to_string(volume.source.epoch) + ", newer than the " + std::to_string(handed) +
                                  " with which it was handed off: it has been elsewhere since; bring it with "
                                  "from=HOST[:PORT], volume=" +
                                  volume.source.volume + " and move=true");
  if (volume.source.epoch < handed)
    return fail(Code::denied, "volume " + volume.source.volume + " of " + plan.request.peer.text() + " has epoch " +
                                  std::to_string(volume.source.epoch) +
                                  ", but that of this host was handed off with epoch " + std::to_string(handed) +
                                  " to " + record.hand_off.value("to", "another host") + "; bring it back from there");
  return "update";
}

Result<> Tickets::begin_reclaim(const std::string& name, const ReclaimRequest& reclaim) {
  const auto record = parts_.catalogue.find(reclaim.volume);
  if (!record || record->kind == volumes::Kind::ticket)
    return fail(Code::not_found, "no volume named " + reclaim.volume);
  if (record->state != volumes::State::handed_off) return tl::unexpected(explain_own(*record));
  TicketRequest request;
  if (reclaim.peer)
    request.peer = *reclaim.peer;
  else if (const auto known = peer_that_has(*record))
    request.peer = *known;
  else
    return fail(Code::invalid_argument, "it is not known how " + record->hand_off.value("to", "the other host") +
                                            " can be reached from here; add from=HOST[:PORT]");
  request.volumes = {{record->hand_off.value("volume", reclaim.volume), reclaim.volume}};
  request.terms = reclaim.terms;
  request.move = true;
  request.epoch = record->hand_off.value("epoch", std::uint64_t{0});
  // Nobody could write to what was kept here, whether or not its times prove that; but who was fenced by force had it.
  request.replace = reclaim.replace || !record->hand_off.value("forced", false);
  return begin(name, request);
}

Result<> Tickets::check_room(const TicketPlan& plan) const {
  std::uint64_t bytes = 0;
  for (const auto& volume : plan.volumes)
    if (!volume.is_update()) bytes += volume.source.bytes;
  return migration::check_room(parts_.catalogue.layout().volumes(), bytes);
}

Result<> Tickets::begin_retry(const std::string& name, const std::string& volume) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  FERRY_TRY(parts_.imports.restart(volume));
  volumes::VolumeRecord record = new_ticket(name, nlohmann::json::object({{"retry", volume}}), nullptr);
  record.state = volumes::State::done;  // the import is the volume's own
  return parts_.catalogue.create(std::move(record));
}

Result<> Tickets::cancel(const std::string& name) {
  const auto one_at_a_time = names_.lock(name);
  Job job;
  {
    const std::lock_guard guard(mutex_);
    const auto it = jobs_.find(name);
    if (it != jobs_.end()) job = it->second;
  }
  if (!job) return check_undecided(name);
  const auto too_late = [&] {
    return fail(Code::busy,
                "ticket " + name + " has everything and cannot be cancelled any more; try again when it is done");
  };
  const auto is_decided = [&] { return job->is_decided() && !job->is_owner() && !job->has_outcome(); };
  const auto go_on = [&]() -> Result<> {
    const auto record = parts_.catalogue.find(name);
    FERRY_ASSIGN(TicketPlan plan, ticket_plan(record ? record->import : nlohmann::json()));
    start(name, std::move(plan));
    return {};
  };
  if (is_decided()) return too_late();
  job->abandon();
  if (is_decided()) {  // half of the volumes may be the new ones
    FERRY_TRY(go_on());
    return too_late();
  }
  if (job->is_move() && !job->is_owner() && !job->has_outcome()) {
    auto withdrawn = job->withdraw(*parts_.peers.peer(job->peer()));
    if (!withdrawn || !*withdrawn) {
      FERRY_TRY(go_on());
      if (!withdrawn) return pass(withdrawn);
      return too_late();
    }
  }
  if (job->is_move() && job->is_owner() && !job->has_outcome()) job->confirm(*parts_.peers.peer(job->peer()));
  if (!job->has_outcome()) FERRY_TRY(job->undo());
  const std::lock_guard guard(mutex_);
  jobs_.erase(name);
  return {};
}

/// One of which no job runs: this process is stopping, or could not read it.
Result<> Tickets::check_undecided(const std::string& name) const {
  const auto record = parts_.catalogue.find(name);
  if (!record || !is_running(*record)) return {};
  const auto plan = ticket_plan(record->import);
  if (!plan || (plan->committing.is_null() && plan->prepared.is_null())) return {};
  return fail(Code::busy,
              "ticket " + name + " is not done, and some of its volumes may be half updated; try again later");
}

void Tickets::abandon_all() {
  std::map<std::string, Job> jobs;
  {
    const std::lock_guard guard(mutex_);
    jobs = jobs_;  // they hold their volumes to the end
  }
  for (const auto& [name, job] : jobs) job->cancel();
  for (const auto& [name, job] : jobs) job->abandon();
}

Tickets::Job Tickets::holder_job(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  const auto found =
      std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job.second->holds(volume); });
  return found == jobs_.end() ? nullptr : found->second;
}

std::string Tickets::holder(const std::string& volume) const {
  const Job job = holder_job(volume);
  return job ? job->name() : std::string();
}

std::optional<Tickets::Waiting> Tickets::waiting_for_source(const std::string& volume) const {
  const Job job = holder_job(volume);
  if (!job || !job->waits_for_source()) return std::nullopt;
  return Waiting{job->peer(), job->peer_uuid(), job->hand_off(), job->handed_off_volumes()};
}

void Tickets::take_by_force(const std::string& volume, const std::string& hand_off) {
  if (const Job job = holder_job(volume); job && job->hand_off() == hand_off) job->take_by_force();
}

void Tickets::confirm_hand_off(const std::string& ticket) {
  const auto given = parts_.hand_offs.given(ticket);
  if (!given || !given->peer || given->volumes.empty()) return;
  const auto& volume = given->volumes.front();
  ImportRequest request{*given->peer, volume.target, {}};
  request.terms.freeze = Freeze::none;
  const auto there = parts_.peers.peer(*given->peer)->describe(request, most_bytes, confirm_time);
  if (!there || !there->owner || there->epoch <= volume.epoch || there->lineage != volume.lineage) return;
  if (auto confirmed = parts_.hand_offs.confirm(volume.source); !confirmed)
    spdlog::warn("ticket {}: {}", ticket, confirmed.error().message);
}

Result<> Tickets::wait(const std::string& volume, Deadline deadline) const {
  const Job job = holder_job(volume);
  // A container that is started keeps the Engine from telling anybody of it, while its service waits for just that.
  if (!job || job->wait(job->is_service() ? SteadyClock::now() : deadline)) return {};
  if (job->waits_for_source())
    return fail(Code::busy, "volume " + volume + " has come, but ticket " + job->name() + " waits for " +
                                job->peer().text() + " to hand it off" +
                                (job->trouble().empty() ? "" : ": " + job->trouble()));
  return fail(Code::busy, "volume " + volume + " is still being brought by ticket " + job->name() + ": " +
                              progress_text(job->volume_status(volume)) + "; try again then");
}

nlohmann::json Tickets::status(const volumes::VolumeRecord& ticket) const {
  if (ticket.import.is_object() && ticket.import.contains("retry")) return retry_status(ticket);
  Job job;
  {
    const std::lock_guard guard(mutex_);
    if (const auto it = jobs_.find(ticket.name); it != jobs_.end()) job = it->second;
  }
  if (job) return job->status();
  if (ticket.migration.is_object()) return ticket.migration;
  return {{"state", to_string(ticket.state)}};
}

/// That of the import as it is now.
nlohmann::json Tickets::retry_status(const volumes::VolumeRecord& ticket) const {
  const auto volume = ticket.import["retry"].get<std::string>();
  const auto record = parts_.catalogue.find(volume);
  if (!record) return {{"state", "failed"}, {"migration", {{"error", "volume " + volume + " was removed"}}}};
  const bool running = record->state == volumes::State::importing;
  auto migration = running ? parts_.imports.status(volume) : record->migration;
  if (!migration.is_object()) migration = record->migration;
  if (!migration.is_object()) migration = nlohmann::json::object();  // another volume has the name now
  const std::string state = running                                  ? "importing"
                            : record->state == volumes::State::ready ? "done"
                                                                     : std::string(to_string(record->state));
  nlohmann::json listed = {{"name", volume},
                           {"source", migration.value("volume", volume)},
                           {"action", "create"},
                           {"state", to_string(record->state)}};
  for (const char* member : {"bytes_total", "bytes_done", "bytes_sent", "files_total", "files_done", "digest",
                             "consistency", "warnings", "verified"})
    if (migration.contains(member)) listed[member] = migration[member];
  return {{"state", state}, {"migration", migration}, {"volumes", nlohmann::json::array({listed})}};
}

nlohmann::json Tickets::volume_status(const std::string& volume) const {
  const Job job = holder_job(volume);
  return job ? job->volume_status(volume) : nlohmann::json(nullptr);
}

}  // namespace ferry::migration
