#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/baseline.h"
#include "sync/content.h"
#include "sync/inspect.h"
#include "sync/seal.h"
#include "sync/stream.h"

namespace ferry::sync {

/// The sending end of one migration of one tree; reads it and changes nothing in it. A round is: manifest to its end,
/// then any number of content requests, also in parallel, then seal. Thread-safe but for manifest(), during which
/// nothing else may be called.
class Sender {
 public:
  /// Takes an open directory, the tree's root. `host` is the UUID of this host's catalogue; `baseline` that of the
  /// tree, if it is a copy.
  explicit Sender(Fd root, Identity identity = {}, std::shared_ptr<const Baseline> baseline = {},
                  TreeKind kind = TreeKind::plain)
      : root_(std::move(root)), identity_(std::move(identity)), baseline_(std::move(baseline)), kind_(kind) {}

  /// Begins a round with a fresh walk. The source must be read to its end and must not outlive this object.
  std::unique_ptr<ByteSource> manifest();

  /// The content of wanted files of the last manifest; see ContentSource.
  Result<std::unique_ptr<ByteSource>> content(std::string_view wants) const;

  /// Which entries are not what the last manifest says any more: none means that what was sent is a faithful copy of
  /// one instant. The rest of the seal is not this object's to tell.
  Seal seal() const;

 private:
  const Fd root_;
  const Identity identity_;
  const std::shared_ptr<const Baseline> baseline_;
  const TreeKind kind_;
  Tree tree_;
  mutable CompressionChoice choice_;  // of the content of all rounds
};

}  // namespace ferry::sync
