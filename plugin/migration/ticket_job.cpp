#include "migration/ticket_job.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "migration/frozen_copy.h"
#include "migration/import_job.h"
#include "migration/migration_record.h"
#include "sync/estimate.h"
#include "sync/plan.h"

namespace ferry::migration {

namespace {

/// A Mount that finds its volume held is taken back at once.
constexpr std::chrono::seconds mount_time{2};
constexpr unsigned most_attempts = 4;
constexpr unsigned most_holds = 4;  // of a service, which stands still each time
constexpr std::chrono::milliseconds ask_once_time{4000};

hand_off::Destination first_stand(const TicketPlan& plan) {
  using hand_off::Destination;
  if (!plan.committing.is_null()) return Destination::owner;
  return plan.prepared.is_null() ? Destination::asking : Destination::prepared;
}

nlohmann::json base_status(const volumes::Catalogue& catalogue, const std::string& name, const TicketPlan& plan) {
  const auto stored = stored_status(catalogue, name, "migration");
  return stored.is_null() ? new_ticket_status(plan) : stored["migration"];
}

tl::unexpected<Error> about(const TicketVolume& volume, const Error& error) {
  return fail(error.code, "volume " + volume.target + ": " + error.message);
}

}  // namespace

TicketJob::TicketJob(Environment environment, std::string name, TicketPlan ticket, std::shared_ptr<Peer> peer)
    : environment_(std::move(environment)),
      name_(std::move(name)),
      commit_(environment_.catalogue, environment_.create, name_, std::move(ticket)),
      peer_text_(plan().request.peer.text()),
      base_(base_status(environment_.catalogue, name_, plan())),
      peer_(std::move(peer)),
      content_peer_(plan().service ? environment_.another_peer() : peer_),
      resumed_(!plan().committing.is_null()),
      hand_off_({name_, plan().hand_off, hand_off_request(plan(), environment_.catalogue.uuid(), environment_.port),
                 peer_text_, environment_.pauses.question},
                peer_, first_stand(plan()), cancelled_, trouble_),
      decided_(resumed_),
      prepared_(!plan().prepared.is_null()),
      owned_(plan().owned) {
  const auto& catalogue = environment_.catalogue;
  if (const auto before = stored_status(catalogue, name_, "service"); !before.is_null())
    steps_ = ServiceSteps(before["service"]);
  for (const auto& volume : plan().volumes) {
    Item& item = items_.emplace_back();
    item.volume = volume;
    if (volume.is_update())
      item.update = sync::UpdateOf{catalogue.layout().data(volume.target), catalogue.uuid(),
                                   plan().request.replace ? sync::Replace::allowed : sync::Replace::refuse};
    if (!plan().prepared.is_null()) {
      item.outcome = plan().prepared[items_.size() - 1];
      item.state = "prepared";
    }
    // A service runs while the first round is made, and is stopped for the last one.
    const bool is_live = plan().service && plan().prepared.is_null() && plan().committing.is_null();
    const bool has_writers = is_live || volume.is_copy || freezes();
    item.transfer = make_transfer(item, has_writers ? Freeze::none : plan().request.terms.freeze);
  }
  if (plan().service) service_ = environment_.service(plan());
}

std::unique_ptr<Transfer> TicketJob::make_transfer(const Item& item, Freeze freeze, const std::string& frozen) const {
  auto request = request_of(plan(), item.volume);
  request.terms.freeze = freeze;
  request.frozen = frozen;
  return std::make_unique<Transfer>(environment_.catalogue.layout(), item.volume.target, std::move(request),
                                    content_peer_, sync::Identity{plan().peer_uuid, item.volume.source_lineage},
                                    item.update);
}

void TicketJob::start() {
  const std::lock_guard guard(thread_mutex_);
  thread_ = std::thread([this] { run(); });
}

TicketJob::~TicketJob() {
  abandon();
  stop_heart();
}

bool TicketJob::holds(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  return is_active() && !plan().request.dry_run &&
         std::any_of(items_.begin(), items_.end(), [&](const Item& item) { return item.volume.target == volume; });
}

bool TicketJob::wait(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return !is_active(); });
}

/// One of which the volumes are neither the old nor the new ones is, even when its thread was stopped.
bool TicketJob::is_active() const {
  const bool is_between = decided_ || unclear_ || prepared_;
  return !owned_ && outcome_.is_null() && (!ended_ || is_between);
}

/// With mutex_ held.
void TicketJob::cancel_transfers() {
  for (auto& item : items_) item.transfer->cancel();
}

void TicketJob::cancel() {
  {
    const std::lock_guard guard(mutex_);
    cancelled_ = true;
    cancel_transfers();
    if (heart_peer_) heart_peer_->abort();
    if (frozen_copy_) frozen_copy_->cancel();
  }
  if (service_) {
    service_->cancel();
    peer_->abort();
  }
  changed_.notify_all();
  trouble_.wake();
}

void TicketJob::abandon() {
  cancel();
  const std::lock_guard guard(thread_mutex_);
  if (thread_.joinable()) thread_.join();
}

void TicketJob::set_state(Item& item, const char* state) {
  const std::lock_guard guard(mutex_);
  item.state = state;
}

bool TicketJob::has_outcome() const {
  const std::lock_guard guard(mutex_);
  return !outcome_.is_null();
}

void TicketJob::run() {
  const Result<> done = plan().request.dry_run ? estimate_all() : bring();
  const Result<> told = done && plan().is_move() ? finish() : Result<>();
  if (done && told && !cancelled_)
    end("done", nullptr);
  else if (!cancelled_ && (done || !decided_))
    end("failed", done ? &told.error() : &done.error());
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

Result<> TicketJob::bring() {
  if (owned_) return {};
  if (!plan().failing.empty()) return fail(Code::io, plan().failing);  // which an earlier process could not undo
  if (!decided_ && !prepared_) FERRY_TRY(prepare_all());
  for (unsigned hold = 1; !decided_; ++hold) {
    auto received = receive();
    if (received) break;
    FERRY_ASSIGN(const bool lost, was_lost());
    if (!lost) return received;
    if (hold == most_holds)
      return fail(Code::busy, "the source has ended the hand-off " + std::to_string(most_holds) +
                                  " times, since it had not heard of this host for too long, or was restarted; its "
                                  "service runs there");
    FERRY_TRY(begin_again());
  }
  if (resumed_) FERRY_TRY(until_done([this] { return commit_.confirm(); }));
  // What is decided is carried out, however long a full disk may keep it from that.
  FERRY_TRY(until_done([this] { return commit(); }));
  return plan().is_move() ? until_done([this] { return be_owner(); }) : Result<>();
}

/// Until it is decided.
Result<> TicketJob::receive() {
  if (!prepared_) {
    if (service_) FERRY_TRY(bring_live());
    if (plan().is_move()) FERRY_TRY(hold_source());
    if (service_) FERRY_TRY(begin_last_round());
    FERRY_TRY(receive_round());
  }
  return decided_ ? Result<>() : give();
}

Result<> TicketJob::receive_round() {
  const auto began = SteadyClock::now();
  for (unsigned attempt = 1; !decided_ && !prepared_; ++attempt) {
    FERRY_TRY(freezes() ? transfer_frozen() : transfer_all());
    if (service_)
      FERRY_TRY(
          while_unavailable([this] { return service_->bring(Freeze::refuse, plan().service->came, content_peer_); }));
    FERRY_TRY(check_unmounted());
    FERRY_ASSIGN(const bool stayed, has_stayed(attempt));
    if (!stayed) continue;
    if (service_) {
      note_round(began, Rounds::Writes::held);
      FERRY_TRY(complete_service());
    }
    FERRY_TRY(plan().is_move() ? be_prepared() : decide(outcomes()));
  }
  return {};
}

/// As the owner. What was taken back by force at the source must not run in two places, if that can be known.
Result<> TicketJob::finish() {
  if (service_) hand_off_.ask_once(ask_once_time);
  if (service_ && hand_off_.stands() != hand_off::Destination::fenced) FERRY_TRY(run_service());
  return tell_owner();
}

void TicketJob::set_step(const char* step) {
  const std::lock_guard guard(mutex_);
  if (service_) steps_.begin(step);
}

/// From now on the volumes are nobody else's, and only the source has to be told.
Result<> TicketJob::be_owner() {
  FERRY_TRY(commit_.be_owner());
  environment_.committed();
  const std::lock_guard guard(mutex_);
  owned_ = true;
  changed_.notify_all();
  return {};
}

/// From now on nobody can change the volumes there, until they are given or not.
Result<> TicketJob::hold_source() {
  set_step("hold");
  hold_began_ = SteadyClock::now();
  FERRY_TRY(hand_off_.ask_until_answered());
  if (hand_off_.stands() == hand_off::Destination::receiving) return {};
  return not_given();
}

/// What is here becomes durable before the source is asked: once that has given, there is no way back.
Result<> TicketJob::be_prepared() {
  unclear_ = true;
  auto prepared = commit_.be_prepared(outcomes());
  if (!prepared) {
    stop_heart();
    lost_ = false;
    hand_off_.drop();  // whatever is on disk: what the source has taken back it does not give
    FERRY_TRY(until_done([this] { return commit_.take_back(); }));
    unclear_ = false;
    return prepared;
  }
  prepared_ = true;
  unclear_ = false;
  stop_heart();  // from now on it is asked all the time
  hand_off_.complete();
  for (auto& item : items_) item.before.reset();
  return {};
}

tl::unexpected<Error> TicketJob::not_given() const {
  if (hand_off_.was_reclaimed()) return fail(Code::denied, "its source has taken it back by force");
  return fail(Code::cancelled, "the hand-off was cancelled at the source, which has kept its volumes");
}

/// Nothing but the source's answer ends this: what is here may be all that there is.
Result<> TicketJob::give() {
  set_step("commit");
  FERRY_TRY(until_done([this] { return commit_.check_prepared(); }));
  FERRY_TRY(hand_off_.ask_until_answered());
  if (hand_off_.stands() != hand_off::Destination::owner) return not_given();
  nlohmann::json given = plan().prepared;
  return until_done([&] { return decide(given); });
}

/// The source may forget the hand-off, and its user the volumes. Or it has taken them back by force.
Result<> TicketJob::tell_owner() {
  if (!hand_off_.ask_until_answered()) return {};
  if (hand_off_.stands() != hand_off::Destination::fenced) return {};
  for (const auto& volume : plan().volumes)
    if (volume.source.driver != "local" && !volume.is_copy) FERRY_TRY(until_done([&] { return fence(volume); }));
  return fail(Code::denied, "the volumes were taken back by force at " + peer_text_ +
                                "; what is here is kept, and cannot be mounted any more");
}

Result<> TicketJob::fence(const TicketVolume& volume) {
  const auto& source = volume.source;
  FenceRequest request{
      volume.target, source.lineage, source.epoch + 2, source.volume, plan().hand_off, 0, peer_text_, {}};
  if (peer().way != transport::PeerAddress::Way::turned) request.peer = peer();
  FERRY_TRY(environment_.fence(request));
  return {};
}

void TicketJob::take_by_force() {
  if (waits_for_source()) hand_off_.take_by_force();
}

Result<> TicketJob::until_done(const std::function<Result<>()>& action) {
  while (true) {
    auto done = action();
    if (done) return done;
    FERRY_TRY(wait_because(done.error()));
  }
}

/// Says so in Status, and waits a while.
Result<> TicketJob::wait_because(const Error& error) {
  if (trouble_.set(error.message)) spdlog::error("ticket {}: {}; tried again every 5 s", name_, error.message);
  const auto is_lost = [this] { return lost_ && !decided_; };
  trouble_.wait(environment_.pauses.trouble, [&] { return cancelled_ || is_lost(); });
  if (is_lost()) return fail(Code::cancelled, "the source has ended the hand-off");
  return cancelled_ ? fail(Code::cancelled, "cancelled") : Result<>();
}

/// A dry run.
Result<> TicketJob::estimate_all() {
  for (auto& item : items_) {
    set_state(item, "importing");
    auto estimated = estimate(item);
    if (!estimated) return about(item.volume, estimated.error());
    const std::lock_guard guard(mutex_);
    item.outcome = std::move(*estimated);
    item.state = "planned";
  }
  return {};
}

Result<nlohmann::json> TicketJob::estimate(Item& item) {
  const auto& layout = environment_.catalogue.layout();
  const auto scratch = layout.incoming() / random_hex(8);  // of which a crash leaves nothing
  FERRY_TRY(make_directories(scratch));
  auto estimated = [&]() -> Result<sync::Estimate> {
    auto request = request_of(plan(), item.volume);
    if (holds_writers(request.terms.freeze)) request.terms.freeze = Freeze::none;  // nothing stands still for it
    FERRY_ASSIGN(const auto source, peer_->open(request));
    sync::ReceiverOptions options;
    options.limit = plan().request.terms.limit;
    options.baseline = layout.baseline(item.volume.target);
    options.update = item.update;
    return sync::estimate(*source, options, scratch, cancelled_);
  }();
  (void)remove_tree(scratch);
  if (!estimated) return pass(estimated);
  return nlohmann::json{
      {"files_total", estimated->files_total},         {"bytes_total", estimated->bytes_total},
      {"files_to_send", estimated->files_to_send},     {"bytes_to_send", estimated->bytes_to_send},
      {"names_to_remove", estimated->names_to_remove}, {"predicted_s", std::ceil(estimated->seconds * 10) / 10}};
}

/// From now on a Mount finds the volumes held.
Result<> TicketJob::prepare_all() {
  for (const auto& item : items_)
    if (const std::string ticket = environment_.departing(item.volume.target); !ticket.empty())
      return about(item.volume, {Code::busy, "it is being handed off, by ticket " + ticket});
  FERRY_TRY(check_unmounted());
  for (auto& item : items_) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (auto prepared = commit_.prepare(item.volume); !prepared) return about(item.volume, prepared.error());
  }
  return {};
}

/// Of what is not here yet.
Result<> TicketJob::transfer_all() {
  for (auto& item : items_) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (!item.outcome.is_null()) continue;
    if (auto done = transfer(item); !done)
      return done.error().code == Code::cancelled ? pass(done) : about(item.volume, done.error());
  }
  return {};
}

Result<> TicketJob::transfer(Item& item) {
  set_state(item, "importing");
  FERRY_ASSIGN(auto brought, item.transfer->run());
  nlohmann::json outcome = item.transfer->status();
  outcome["warnings"] = nlohmann::json::array();
  if (!item.volume.source.labels_known)
    outcome["warnings"].push_back("the source's Docker Engine could not be asked, so its labels did not come along");
  add_receipt(outcome, brought);
  item.before = std::move(brought.receipt.before);
  const std::lock_guard guard(mutex_);
  item.outcome = std::move(outcome);
  item.state = "prepared";
  return {};
}

Result<> TicketJob::check_unmounted() {
  for (auto& item : items_) {
    if (!item.volume.is_update() && !service_) continue;
    FERRY_ASSIGN(const engine::Mounted mounted, ask_mounted(item.volume.target));
    if (mounted == engine::Mounted::yes)
      return fail(Code::busy, "volume " + item.volume.target + " is mounted here; stop the containers that use it");
    item.mounts_unknown = item.mounts_unknown || mounted == engine::Mounted::unknown;
  }
  return {};
}

/// Waits for an Engine that does not answer: what it would say must not be guessed.
Result<engine::Mounted> TicketJob::ask_mounted(const std::string& volume) {
  Deadline deadline = after(mount_time);
  while (true) {
    const auto mounted = environment_.mounted(volume);
    if (!mounted) {
      FERRY_TRY(wait_because(mounted.error()));
      deadline = after(mount_time);
      continue;
    }
    if (*mounted != engine::Mounted::yes || SteadyClock::now() > deadline) {
      trouble_.clear();
      return *mounted;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// Whether every volume is still the version that its update is for. One that is not is to be brought once more, if
/// what was written to it may be lost.
Result<bool> TicketJob::has_stayed(unsigned attempt) {
  bool stayed = true;
  for (auto& item : items_) {
    if (!item.before) continue;
    auto written = item.before->written();
    if (!written) return about(item.volume, written.error());
    if (written->empty()) continue;
    const std::string what = *written + " was written to here while the update was received";
    if (!plan().request.replace)
      return about(item.volume, {Code::busy, what + ", and the volume is as it was left; look at it, and make another "
                                                    "ticket, with -o replace=true if such changes may be lost"});
    if (attempt == most_attempts)
      return about(item.volume, {Code::busy, what + ", " + std::to_string(most_attempts) +
                                                 " times in a row; stop what writes to it"});
    spdlog::info("ticket {}: volume {}: {}; compared once more", name_, item.volume.target, what);
    stayed = false;
    item.before.reset();
    const std::lock_guard guard(mutex_);
    item.outcome = nullptr;
    item.state = "waiting";
  }
  return stayed;
}

/// What Status says of each volume once it is what has come.
nlohmann::json TicketJob::outcomes() const {
  auto outcomes = nlohmann::json::array();
  for (const auto& item : items_) {
    auto status = new_import_status(request_of(plan(), item.volume));
    for (const char* kept : {"id", "started"}) status[kept] = base_[kept];
    status.update(item.outcome);
    if (item.mounts_unknown)
      status["warnings"].push_back(
          "without the Docker Engine's socket Ferry could not know whether a container had the volume mounted here "
          "while it was updated");
    status["phase"] = "done";
    status["finished"] = now_rfc3339();
    if (plan().is_move() && item.volume.source.driver == "local" && !item.volume.is_copy)
      status["warnings"].push_back("not fenced: local driver; the source's volume can still be mounted there");
    outcomes.push_back(std::move(status));
  }
  return outcomes;
}

Result<> TicketJob::decide(nlohmann::json outcomes) {
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  unclear_ = true;
  auto decided = commit_.decide(std::move(outcomes));
  if (!decided) {  // what undo() takes away must not be what another process is going to carry out
    FERRY_TRY(until_done([this] { return commit_.take_back(); }));
    unclear_ = false;
    return pass(decided);
  }
  decided_ = true;
  unclear_ = false;
  for (auto& item : items_) item.before.reset();
  return {};
}

/// Each step may have been done before.
Result<> TicketJob::commit() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    if (auto done = commit_.commit(i); !done) return about(item.volume, done.error());
    const std::lock_guard guard(mutex_);
    item.state = "ready";
    item.outcome = plan().committing[i];
  }
  return {};
}

/// To be called when the thread is not running, or by it.
Result<> TicketJob::undo() {
  if (decided_) return {};
  stop_heart();
  if (service_) FERRY_TRY(service_->undo());  // first: it refers to the volumes
  FERRY_TRY(commit_.undo());
  unclear_ = false;
  prepared_ = false;
  return {};
}

/// Writes the outcome into the ticket's record; after a failure it has taken back everything before.
void TicketJob::end(const char* state, const Error* error) {
  if (error != nullptr) {
    spdlog::error("ticket {} from {} failed: {}", name_, peer_text_, error->message);
    hand_off_.drop();
    auto undone = service_ ? undo_service(*error) : undo();
    if (!undone) spdlog::error("ticket {}: {}", name_, undone.error().message);
    if (!undone && cancelled_ && service_) return;  // whoever has cancelled it undoes it, or another process
  } else {
    spdlog::info("ticket {} from {} is done", name_, peer_text_);
  }
  nlohmann::json status;
  {
    const std::lock_guard guard(mutex_);
    has_failed_ = error != nullptr;
    if (has_failed_)
      for (auto& item : items_) item.state = "failed";
    status = status_locked();
  }
  status["state"] = state;
  auto& migration = status["migration"];
  migration["phase"] = state;
  migration["finished"] = now_rfc3339();
  migration["eta_s"] = error == nullptr ? nlohmann::json(0) : nlohmann::json(nullptr);
  migration["verified"] = error == nullptr && !plan().request.dry_run;
  migration["error"] = error == nullptr ? nlohmann::json(nullptr) : nlohmann::json(error->message);
  const auto store = [&] {
    return environment_.catalogue.update(name_, [&](volumes::VolumeRecord& record) {
      record.state = error == nullptr ? volumes::State::done : volumes::State::failed;
      record.migration = status;
      if (error != nullptr && plan().is_move()) record.import["prepared"] = nullptr;
    });
  };
  auto stored = store();
  {
    const std::lock_guard guard(mutex_);
    outcome_ = status;
  }
  changed_.notify_all();
  // Or another process would do it all again, at a time when nobody expects it.
  if (!stored && !cancelled_ && stored.error().code != Code::not_found) stored = until_done(store);
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name_, stored.error().message);
  environment_.committed();
}

}  // namespace ferry::migration
