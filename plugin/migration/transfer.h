#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/time.h"
#include "migration/content_transfer.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "sync/receiver.h"
#include "volumes/layout.h"

namespace ferry::migration {

/// Brings the content of one volume from a peer into staging, or what differs of it beside a volume that is there,
/// however often the peer goes away meanwhile. Thread-safe.
class Transfer final : public ContentTransfer {
 public:
  /// Into volume `name` of this host. `expected`: what the source has to be, where it is not empty. `update`: what it
  /// is an update of; none: a new volume.
  Transfer(const volumes::Layout& layout, std::string name, ImportRequest request, std::shared_ptr<Peer> peer,
           sync::Identity expected = {}, std::optional<sync::UpdateOf> update = {});

  Result<Brought> run() override;
  void cancel() override;
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void set_phase(const char* phase) override { progress_.phase = phase; }
  nlohmann::json status() const override;

 private:
  Result<sync::Receipt> attempt();
  std::vector<sync::Neighbour> neighbours() const;
  bool pause(std::chrono::milliseconds duration);
  void note(const Error& error);
  std::uint64_t rate() const;

  const volumes::Layout& layout_;
  const std::string name_;
  const ImportRequest request_;
  const std::shared_ptr<Peer> peer_;
  const sync::Identity expected_;
  const std::optional<sync::UpdateOf> update_;
  sync::Progress progress_;
  std::atomic<bool> cancelled_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string trouble_;  // protected by mutex_, as are the following: why the last attempt failed, while the next runs
  SteadyClock::time_point content_began_;
  std::uint64_t content_before_ = 0;  // bytes that were there before this attempt
};

/// Puts what was received into a status.
void add_receipt(nlohmann::json& status, const Brought& brought);

/// "37 % done, ETA 12 s", for whoever has to wait.
std::string progress_text(const nlohmann::json& status);

}  // namespace ferry::migration
