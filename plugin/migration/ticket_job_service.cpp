#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/ticket_job.h"

// What a ticket does more, or otherwise, if a whole service comes.
namespace ferry::migration {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds beat_time{4000};

}  // namespace

/// Whether the source has ended the hand-off, and runs its service again: it has not heard of this host for too long,
/// or was restarted and cannot vouch for its volumes. If its user did so, it refuses the next one.
Result<bool> TicketJob::was_lost() {
  using hand_off::Destination;
  if (!service_ || cancelled_) return false;
  stop_heart();
  if (lost_.exchange(false)) return true;
  if (hand_off_.stands() == Destination::over) return !hand_off_.was_reclaimed();
  if (hand_off_.stands() != Destination::receiving) return false;
  // What is not held any more may be the reason why this has failed, before the heart knew.
  while (true) {
    const auto answer = peer_->hand_off(hand_off_.id(), hand_off::Request::beat, hand_off_.request(), beat_time);
    if (answer) return *answer == hand_off::Answer::gone;
    if (answer.error().code != Code::unavailable) return false;
    FERRY_TRY(wait_because(answer.error()));
  }
}

/// The service runs at its source as if nothing had been, and what has come of it so far is not in vain.
Result<> TicketJob::begin_again() {
  spdlog::warn(
      "ticket {}: the source has ended the hand-off, and runs its service again; so it is "
      "brought once more",
      name_);
  const std::string id = random_hex(16);
  FERRY_TRY(until_done([&] { return commit_.begin_again(id); }));
  hand_off_.begin_again(id);
  prepared_ = false;
  unclear_ = false;
  trouble_.clear();
  begin_round(Freeze::none);
  return {};
}

/// While the service runs: most of it, and then what has changed meanwhile, as long as that makes it less, so that
/// little is left for when it does not run.
Result<> TicketJob::bring_live() {
  {
    const std::lock_guard guard(mutex_);
    rounds_ = Rounds(plan().request.terms.rounds);
  }
  FERRY_TRY(bring_live_round("bring volumes", "bring layer"));
  while (rounds_.another()) {
    begin_round(Freeze::none);
    FERRY_TRY(bring_live_round("follow", "follow"));
  }
  return rounds_.check("the service was not stopped");
}

Result<> TicketJob::bring_live_round(const char* volumes_step, const char* layer_step) {
  const auto began = SteadyClock::now();
  set_step(volumes_step);
  FERRY_TRY(transfer_all());
  set_step(layer_step);
  FERRY_TRY(while_unavailable([this] { return service_->bring(Freeze::none, plan().service->came, content_peer_); }));
  note_round(began, Rounds::Writes::go_on);
  return {};
}

/// It has ended now.
void TicketJob::note_round(SteadyClock::time_point began, Rounds::Writes writes) {
  const auto took = std::chrono::duration_cast<milliseconds>(SteadyClock::now() - began);
  const std::uint64_t bytes = bytes_sent();
  const std::lock_guard guard(mutex_);
  rounds_.note(bytes, took, writes);
}

/// For what is being brought since begin_round().
std::uint64_t TicketJob::bytes_sent() const {
  std::uint64_t bytes = 0;
  const std::lock_guard guard(mutex_);
  for (const auto& item : items_) bytes += item.transfer->status().value("bytes_sent", std::uint64_t{0});
  for (const auto& piece : service_ ? service_->statuses() : std::vector<nlohmann::json>())
    bytes += piece.value("bytes_sent", std::uint64_t{0});
  return bytes;
}

/// The source holds everything, for as long as it hears of this host.
Result<> TicketJob::begin_last_round() {
  set_step("last round");
  begin_round(Freeze::refuse);
  {
    const std::lock_guard guard(mutex_);
    heart_peer_ = environment_.another_peer();
    if (cancelled_) heart_peer_->abort();
  }
  heart_ = std::make_unique<Periodic>(environment_.pauses.heartbeat, [this] { beat(); });
  return {};
}

void TicketJob::begin_round(Freeze freeze, const std::string& frozen) {
  const std::lock_guard guard(mutex_);
  content_peer_ = environment_.another_peer();  // what is cancelled takes its connection along
  for (auto& item : items_) {
    item.transfer = make_transfer(item, item.volume.is_copy ? Freeze::none : freeze, frozen);
    if (cancelled_) item.transfer->cancel();
    item.before.reset();
    item.outcome = nullptr;
    item.state = "waiting";
  }
}

/// What is held hears it, and nothing is held anew by it: what was read would not be read again.
void TicketJob::beat() {
  if (lost_) return;
  const auto answer = heart_peer_->hand_off(plan().hand_off, hand_off::Request::beat, hand_off_.request(), beat_time);
  if (!answer || *answer == hand_off::Answer::held) return;
  lost_ = true;
  {
    const std::lock_guard guard(mutex_);
    cancel_transfers();
  }
  service_->interrupt();
  trouble_.wake();
}

void TicketJob::stop_heart() {
  if (heart_peer_) heart_peer_->abort();
  heart_.reset();
}

/// All but the word of the source that it is this host's.
Result<> TicketJob::complete_service() {
  set_step("place layer");
  FERRY_ASSIGN(const auto came, service_->identify());
  FERRY_TRY(commit_.note_pieces(came));
  return while_unavailable([&]() -> Result<> {
    FERRY_TRY(service_->place(came));
    FERRY_TRY(service_->take_name());
    return service_->check_untouched();  // by that name somebody may have been waiting for it
  });
}

/// An Engine that is away now is no reason to give up; nor is one that this process does not ask any more because it
/// ends.
Result<> TicketJob::while_unavailable(const std::function<Result<>()>& action) {
  while (true) {
    auto done = action();
    const bool passes = !done && (done.error().code == Code::unavailable || done.error().code == Code::cancelled);
    if (!passes || cancelled_ || lost_) return done;
    FERRY_TRY(wait_because(done.error()));
  }
}

/// There is no way back any more: it is tried for as long as it takes.
Result<> TicketJob::run_service() {
  set_step("start");
  for (bool is_over = false; !is_over;) {
    std::string warning;
    FERRY_TRY(until_done([&]() -> Result<> {
      FERRY_ASSIGN(is_over, service_->run(warning));
      return {};
    }));
    trouble_.clear();
    note_running(warning);
    if (!is_over) trouble_.wait(environment_.pauses.health, [this] { return cancelled_.load(); });
    if (cancelled_) return fail(Code::cancelled, "cancelled");
  }
  if (auto cleaned = service_->clean_up(); !cleaned) spdlog::warn("ticket {}: {}", name_, cleaned.error().message);
  set_step("done");
  return {};
}

void TicketJob::note_running(const std::string& warning) {
  const std::lock_guard guard(mutex_);
  service_warning_ = warning;
  const bool is_known = hold_began_ != SteadyClock::time_point{} && plan().service->options.start;
  if (is_known && !downtime_ms_)
    downtime_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - hold_began_).count();
}

/// Half a service must not stay, whatever keeps the Engine from removing it.
Result<> TicketJob::undo_service(const Error& why) {
  if (auto noted = commit_.note_failure(why.message); !noted)
    spdlog::error("ticket {}: {}", name_, noted.error().message);
  return until_done([&]() -> Result<> {
    auto undone = undo();
    if (undone) return undone;
    return fail(undone.error().code,
                why.message + "; what was made here cannot be taken back yet: " + undone.error().message);
  });
}

}  // namespace ferry::migration
