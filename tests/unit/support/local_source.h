#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "sync/receiver.h"
#include "sync/sender.h"

namespace ferry::test {

/// A Sender in this process as the receiver's Source, with hooks at which a test can interfere. Bytes go through the
/// same encoders and decoders as over a network, in pieces of `piece` bytes.
class LocalSource : public sync::Source {
 public:
  explicit LocalSource(Fd root, std::string host = {}, std::shared_ptr<const sync::Baseline> baseline = {},
                       std::string lineage = {}, sync::TreeKind kind = sync::TreeKind::plain)
      : sender_(std::move(root), {std::move(host), std::move(lineage)}, std::move(baseline), kind) {}

  std::function<Result<>(std::string&)>
      on_manifest;  ///< the first piece comes after the syncfs and before any file is looked at
  std::function<void()> after_manifest;
  std::function<Result<>(std::string&)> on_content;  ///< may change a piece of the content stream, or fail
  std::size_t piece = 100'003;

  Result<> manifest(const sync::ByteSink& sink) override {
    FERRY_TRY(pump(*sender_.manifest(), sink, on_manifest));
    if (after_manifest) after_manifest();
    return {};
  }

  std::function<void()> on_request;  ///< of content

  Result<> content(const std::string& wants, const sync::ByteSink& sink) override {
    if (on_request) on_request();
    FERRY_ASSIGN(const auto source, sender_.content(wants));
    return pump(*source, sink, on_content);
  }

  std::function<Result<>()> on_seal;
  std::optional<bool> sealed_unchanged;  ///< what the last seal() was told

  Result<sync::Seal> seal(bool unchanged) override {
    if (on_seal) FERRY_TRY(on_seal());
    sealed_unchanged = unchanged;
    auto seal = unchanged ? sync::Seal{} : sender_.seal();
    seal.consistency = "idle";
    return seal;
  }

 private:
  Result<> pump(sync::ByteSource& source, const sync::ByteSink& sink,
                const std::function<Result<>(std::string&)>& hook) {
    std::string bytes;
    while (source.next(bytes)) {
      if (hook) FERRY_TRY(hook(bytes));
      for (std::size_t at = 0; at < bytes.size(); at += piece)
        FERRY_TRY(sink(std::string_view(bytes).substr(at, piece)));
      bytes.clear();
    }
    return {};
  }

  sync::Sender sender_;
};

}  // namespace ferry::test
