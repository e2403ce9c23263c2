#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "migration/content_transfer.h"
#include "migration/frozen_copy.h"
#include "migration/transfer.h"

namespace ferry::migration {

/// Brings the content of one volume that is in use, of one instant. See Transfer, and FrozenCopy.
class FrozenTransfer final : public ContentTransfer {
 public:
  /// As of Transfer, into a new volume. `request.terms.freeze` is one that holds writers.
  FrozenTransfer(const volumes::Layout& layout, std::string name, ImportRequest request, PeerFactory& peers);

  Result<Brought> run() override;
  void cancel() override;
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void set_phase(const char* phase) override;
  nlohmann::json status() const override;

 private:
  Result<FrozenCopy::Read> read(Freeze writers, const std::string& frozen);
  std::shared_ptr<Transfer> now() const;
  void give_up();

  const volumes::Layout& layout_;
  const std::string name_;
  const ImportRequest request_;
  PeerFactory& peers_;
  std::atomic<bool> cancelled_{false};
  Brought brought_;  // of the thread
  mutable std::mutex mutex_;
  std::shared_ptr<Transfer> transfer_;  // protected by mutex_: the last one, never null
  FrozenCopy copy_;                     // last: it uses the others
};

}  // namespace ferry::migration
