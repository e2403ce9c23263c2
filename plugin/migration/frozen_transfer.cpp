#include "migration/frozen_transfer.h"

#include <utility>

namespace ferry::migration {

FrozenTransfer::FrozenTransfer(const volumes::Layout& layout, std::string name, ImportRequest request,
                               PeerFactory& peers)
    : layout_(layout),
      name_(std::move(name)),
      request_(std::move(request)),
      peers_(peers),
      transfer_(std::make_shared<Transfer>(layout_, name_, request_, peers_.peer(request_.peer))),
      copy_(
          {[this] { return peers_.peer(request_.peer); },
           [this](Freeze writers, const std::string& frozen) { return read(writers, frozen); }, [this] { give_up(); }},
          freeze_request(request_.terms, {request_.volume}), request_.terms.rounds) {}

Result<Brought> FrozenTransfer::run() {
  FERRY_TRY(copy_.run());
  return std::move(brought_);
}

/// Each round has a connection of its own, since what is given up takes its connection along.
Result<FrozenCopy::Read> FrozenTransfer::read(Freeze writers, const std::string& frozen) {
  ImportRequest request = request_;
  request.terms.freeze = writers;
  request.frozen = frozen;
  const auto transfer = std::make_shared<Transfer>(layout_, name_, std::move(request), peers_.peer(request_.peer));
  {
    const std::lock_guard guard(mutex_);
    transfer_ = transfer;
  }
  if (cancelled_) transfer->cancel();
  FERRY_ASSIGN(brought_, transfer->run());
  return FrozenCopy::Read{brought_.receipt.consistency == "idle" && brought_.receipt.changed == 0,
                          transfer->status().at("bytes_sent").get<std::uint64_t>()};
}

std::shared_ptr<Transfer> FrozenTransfer::now() const {
  const std::lock_guard guard(mutex_);
  return transfer_;
}

void FrozenTransfer::give_up() { now()->cancel(); }

void FrozenTransfer::cancel() {
  cancelled_ = true;
  copy_.cancel();
  give_up();
}

void FrozenTransfer::set_phase(const char* phase) { now()->set_phase(phase); }

nlohmann::json FrozenTransfer::status() const {
  nlohmann::json status = now()->status();
  status.update(copy_.status());
  return status;
}

}  // namespace ferry::migration
