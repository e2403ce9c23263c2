#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/baseline.h"
#include "sync/entry.h"

namespace ferry::sync {

/// The version of a volume that an update begins with, as it was when it was looked at. Nobody should write to it while
/// the update is received, but nothing keeps an administrator from it: written() tells.
struct Version : Tree {  ///< its entries are what a walk of it finds
  Fd root;
  std::vector<LeftOut> left_out;     ///< and what that leaves out
  std::string host;                  ///< UUID of this host's catalogue
  std::optional<ManifestInfo> copy;  ///< of what it was copied from, if there is a baseline that tells
  bool untouched = false;            ///< it is that copy still
  std::string difference;            ///< else, and if there is a baseline, as difference() tells; empty: none
  /// By entry, if there is a baseline: what the sender had when it was copied.
  std::vector<Baseline::File> copied;

  /// Whether a regular file is known to have the content still that `copied` tells of.
  bool is_unwritten(std::uint32_t entry) const { return !copied.empty() && copied[entry].ctime_ns != 0; }

  /// Takes up to 3 s longer if it was written to just before, so that whatever follows shows in a ctime.
  static Result<Version> look(const std::filesystem::path& data, const std::filesystem::path& baseline,
                              const std::string& host);

  /// What of it is not what it was, as a path for people; empty if nothing was written, added or removed since. Needs
  /// only `root` and `entries`, and of those no xattrs. On a file system whose ctimes do not show writes through mmap
  /// (tmpfs) these are not found.
  Result<std::string> written() const;

  /// Forgets all that written() does not need.
  void shrink();
};

}  // namespace ferry::sync
