#include <utility>

#include "migration/frozen_copy.h"
#include "migration/ticket_job.h"

// What a ticket does otherwise if it copies volumes that are in use.
namespace ferry::migration {

bool TicketJob::freezes() const {
  return !plan().is_move() && !plan().request.dry_run && holds_writers(plan().request.terms.freeze);
}

Result<> TicketJob::transfer_frozen() {
  std::vector<std::string> volumes;
  for (const auto& item : items_) volumes.push_back(item.volume.source.volume);
  const auto read = [this](Freeze writers, const std::string& frozen) -> Result<FrozenCopy::Read> {
    begin_round(writers, frozen);
    FERRY_TRY(transfer_all());
    // What each of several was says nothing of all of them at once.
    const auto& first = items_.front().outcome;
    const bool idle = items_.size() == 1 && first.at("consistency") == "idle" && first.at("changed") == 0;
    return FrozenCopy::Read{idle, bytes_sent()};
  };
  const auto give_up = [this] {
    const std::lock_guard guard(mutex_);
    cancel_transfers();
  };
  const auto copy = std::make_shared<FrozenCopy>(
      FrozenCopy::Parts{environment_.another_peer, read, give_up, environment_.pauses.heartbeat},
      freeze_request(plan().request.terms, std::move(volumes)), plan().request.terms.rounds);
  {
    const std::lock_guard guard(mutex_);
    frozen_copy_ = copy;
    if (cancelled_) copy->cancel();
  }
  return copy->run();
}

}  // namespace ferry::migration
