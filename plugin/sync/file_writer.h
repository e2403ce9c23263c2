#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/fd.h"
#include "sync/blocks.h"
#include "sync/candidates.h"
#include "sync/content.h"
#include "sync/directories.h"
#include "sync/held.h"
#include "sync/journal.h"
#include "sync/metadata.h"
#include "sync/places.h"
#include "sync/receiver.h"

namespace ferry::sync {

/// What the writers of one round have got of the files that were wanted. Thread-safe.
class Assembly {
 public:
  /// `digests`, by entry, receives those of complete files; it must outlive this object.
  explicit Assembly(std::vector<Digest>& digests) : digests_(digests) {}

  struct File {
    std::uint32_t missing = 1;            ///< extents
    std::uint64_t bytes = 0;              ///< that have come for it
    Digest digest{};                      ///< of what is there
    Outcome outcome = Outcome::complete;  ///< the worst of those of its extents
  };

  /// Before the writers begin: for files of several extents, of which some may be there.
  void expect(std::uint32_t entry, const File& file) { files_[entry] = file; }

  /// Counts bytes of a file; returns how many there are now.
  std::uint64_t count(std::uint32_t entry, std::uint64_t bytes);

  /// Adds an extent and returns what is known of its file then.
  File add(std::uint32_t entry, const Digest& digest, Outcome outcome);

  /// To be called when no writer runs any more.
  const std::set<std::uint32_t>& torn() const { return torn_; }
  const std::set<std::uint32_t>& lost() const { return lost_; }

 private:
  std::mutex mutex_;
  std::map<std::uint32_t, File> files_;  // protected by mutex_, as are the following: of those that are not complete
  std::vector<Digest>& digests_;
  std::set<std::uint32_t> torn_;
  std::set<std::uint32_t> lost_;
};

/// Writes the content of one connection's frames, hashing what it writes, and completes each file with its metadata.
/// Not thread-safe: one object per connection, on disjoint extents.
class FileWriter : public FrameHandler {
 public:
  struct Shared {  ///< what all writers of a round share; must outlive them
    const Manifest& manifest;
    Places::Shape shape;  ///< of what is below `root`
    int root;
    const OldTree* old;                         ///< null: none
    const std::set<std::uint32_t>& unverified;  ///< see Target
    const Candidates& candidates;
    Writers writers;  ///< none: a file may have little more content than the manifest announced
    Journal& journal;
    Progress& progress;
    const std::atomic<bool>& cancelled;
    Assembly& assembly;
  };

  explicit FileWriter(const Shared& shared);

  /// The answer to these wants comes next. Fills in which of their pages are held.
  Result<> begin(std::uint64_t seed, std::span<Want> wants);

  Result<> data(std::uint32_t entry, std::uint64_t offset, std::string_view payload) override;
  Result<> hole(std::uint32_t entry, Extent hole) override;
  Result<> end(const Want& want, Outcome outcome, const Digest& digest) override;

 private:
  Result<HeldExtent> hold_old(const Want& want, std::uint64_t seed);
  Result<std::optional<HeldExtent>> hold_unverified(const Want& want, std::uint64_t seed);
  Result<std::optional<HeldExtent>> hold_copy(const Want& want, std::uint64_t seed);
  Result<> open(std::uint32_t entry);
  Result<> create_file(const Place& place);
  Result<> write(std::uint32_t entry, std::uint64_t offset, std::string_view payload);
  Result<> check_announced(std::uint32_t entry, std::uint64_t more);
  Result<> finish_extent(const Want& want, Outcome outcome, const Digest& digest);
  Result<> note_extent(const Want& want, const Digest& digest, Outcome outcome);
  Result<> complete(std::uint32_t entry, const Assembly::File& file);
  Result<> drop(std::uint32_t entry);
  bool has_several_extents(std::uint32_t entry) const { return extent_count(entries_[entry].size) > 1; }
  bool is_patched(std::uint32_t entry) const;
  /// What comes are changes to what is in the file itself, such as a copy of a candidate.
  bool is_copied(std::uint32_t entry) const { return held_.front() && !is_patched(entry); }
  tl::unexpected<Error> at(std::uint32_t entry, const Error& error) const;

  const Shared& shared_;
  const std::vector<Entry>& entries_;
  Places places_;
  std::optional<Directories> old_directories_;
  std::deque<std::optional<HeldExtent>> held_;  // of the wants that are still to be answered
  Fd file_;                                     // of file_entry_
  std::uint32_t file_entry_ = 0;
  bool created_ = false;           // the open file is new
  std::uint64_t written_end_ = 0;  // of the open file
  ContentDigest digest_;           // of the extent that is coming
  std::uint64_t received_ = 0;     // bytes of it
  std::uint64_t kept_ = 0;         // bytes of it that were here
  Inherited inherited_{};          // by every file that is created in inherited_in_
  std::optional<std::uint32_t> inherited_in_;
};

}  // namespace ferry::sync
