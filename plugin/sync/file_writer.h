#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/fd.h"
#include "sync/content.h"
#include "sync/directories.h"
#include "sync/journal.h"
#include "sync/metadata.h"
#include "sync/receiver.h"

namespace ferry::sync {

/// What the writers of one round have found out. Thread-safe.
class Findings {
 public:
  explicit Findings(std::size_t entries) : digests_(entries) {}
  void complete(std::uint32_t entry, const Digest& digest);
  void torn(std::uint32_t entry, const Digest& digest);
  void lost(std::uint32_t entry);

  /// Moves the results out; to be called when no writer runs any more.
  void take(std::vector<Digest>& digests, std::set<std::uint32_t>& torn, std::set<std::uint32_t>& lost);

 private:
  std::mutex mutex_;
  std::vector<Digest> digests_;  // protected by mutex_, as are the following
  std::set<std::uint32_t> torn_;
  std::set<std::uint32_t> lost_;
};

/// Writes the content of one connection's frames into staging, hashing what it writes, and completes each file with its
/// metadata. Not thread-safe: one object per connection, on disjoint files.
class FileWriter : public FrameHandler {
 public:
  struct Shared {  ///< what all writers of a round share; must outlive them
    int root;
    const Manifest& manifest;
    Writers writers;  ///< none: a file may have little more content than the manifest announced
    Journal& journal;
    Progress& progress;
    const std::atomic<bool>& cancelled;
    Findings& findings;
  };

  FileWriter(Shared shared, std::span<const Want> wants);
  Result<> data(std::uint32_t entry, std::uint64_t offset, const Digest& digest, std::string_view payload) override;
  Result<> end(std::uint32_t entry, Outcome outcome, const Digest& digest) override;

 private:
  Result<> open(std::uint32_t entry);
  Result<> start(std::uint32_t entry, const Want& want);
  Result<> open_file(std::uint32_t entry, const Want& want);
  Result<> learn_inherited(std::uint32_t directory);
  Result<> set_size(std::uint32_t entry);
  Result<> check_announced(std::uint32_t entry, std::uint64_t more) const;
  Result<> note_progress(std::uint32_t entry);
  Result<> complete(std::uint32_t entry, Outcome outcome);
  Result<> drop(std::uint32_t entry);
  tl::unexpected<Error> at(std::uint32_t entry, const Error& error) const;

  Shared shared_;
  const std::vector<Entry>& entries_;
  const std::span<const Want> wants_;
  Directories directories_;
  std::size_t next_want_ = 0;
  bool started_ = false;  // the file of wants_[next_want_] is open
  Fd file_;
  bool created_ = false;     // the open file is new
  FileProgress known_;       // of the open file
  Digest answer_{};          // chain over this answer's frames, to compare with the sender's
  std::uint64_t noted_ = 0;  // offset of the last journal record of the open file
  Inherited inherited_{};    // by every file that is created in inherited_in_
  std::optional<std::uint32_t> inherited_in_;
};

}  // namespace ferry::sync
