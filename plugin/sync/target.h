#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/candidates.h"
#include "sync/content.h"
#include "sync/journal.h"
#include "sync/manifest.h"
#include "sync/places.h"

namespace ferry::sync {

/// What one round of a receiver writes to: a new tree, or the changes of one that is there. Not thread-safe. Once the
/// receiver is cancelled, prepare() and finish() end after the next entry with Code::cancelled.
class Target {
 public:
  virtual ~Target() = default;

  /// Whether what can be read of what was written before is, or will be, on the disk; if not, it has to be read from
  /// there.
  enum class Cache { reliable, may_lie };

  /// What is still to be written.
  struct Room {
    std::uint64_t new_files = 0;  ///< each needs an inode
    std::int64_t bytes = 0;       ///< more than what the files to be replaced occupy; less than zero if they shrink
  };

  /// Before prepare(): what is needed at least, as far as it can be told before anything is made.
  virtual Result<Room> least_room() const = 0;

  /// Makes it ready for content and returns what is wanted: everything but what is known to be there in the same
  /// version.
  virtual Result<std::vector<FileExtent>> prepare() = 0;

  /// After prepare(): adds what of the version that is there may have the content of files that are wanted.
  virtual void suggest(const std::vector<FileExtent>& wants, Candidates& candidates) const = 0;

  /// After prepare().
  virtual const Room& room() const = 0;
  /// After prepare(): the journal was told to forget something, which must be durable before anything is written.
  virtual bool forgot() const = 0;
  /// After prepare(): of which wanted files there is something that was not verified: what was coming when an attempt
  /// ended, or another version. It is compared, so that only what differs has to come.
  virtual const std::set<std::uint32_t>& unverified() const = 0;
  /// After prepare(), when there is room: makes the files that several threads are going to write, with their final
  /// size.
  virtual Result<> make_large_files() = 0;
  /// After the content. Entries in `lost` (files that vanished at the sender before their content was read) and links
  /// to them are left out.
  virtual Result<> finish(const std::set<std::uint32_t>& lost) = 0;

  /// After finish(): what is there is what the sender has, and has had from an earlier copy of it until this round's
  /// walk, at every instant between the two walks.
  virtual bool changes_nothing() const = 0;
  /// After finish(), when all is durable, once: stores what was made of what. `digests` by entry, of all regular files;
  /// those in `torn` may be of no one version.
  virtual Result<> conclude(const std::vector<Digest>& digests, const std::set<std::uint32_t>& torn) = 0;

  /// After conclude(): something that was there before is going to be changed or to go, so that nobody else must have
  /// changed it.
  virtual bool overwrites() const = 0;

  /// The ContentDigest of a regular file that was not wanted.
  virtual Digest known_digest(std::uint32_t entry) const = 0;

  /// Where content goes; see Places and OldTree.
  virtual Places::Shape shape() const = 0;
  virtual int root() const = 0;
  virtual const OldTree* old() const = 0;
};

/// What a copy of a whole tree needs below a root that is there.
Target::Room room_of(const std::vector<Entry>& entries);

/// Whether there is room for that in the file system of an open directory; Code::no_space names it as `shown`.
Result<> check_room(int directory, const std::string& shown, const Target::Room& wanted);

/// Whether what is under a file's name, of `size` bytes, is to be compared with the sender's rather than sent again.
/// Not what is little, nor what is mostly holes: of an extent that is compared any page may come, so that a sender
/// could send more than it has announced.
bool is_worth_comparing(const Entry& entry, std::uint64_t size);

/// Makes reads of what is under a name, of `size` bytes, come from the disk. False: some of it may come from memory
/// still, as in a file system that is nowhere else.
bool drop_cached(int directory, const std::string& name, std::uint64_t size);

/// Whether the disk has, under a name in an open directory, the content that a record of the journal tells of which
/// does not count (Journal::claimed), of the version of `entry`. Then it has its metadata, too, and the record counts
/// from the next mark_durable on. What is to be found was written back (syncfs) before.
Result<bool> confirm_claim(Journal& journal, const std::string& path, const Entry& entry, int directory,
                           const std::string& name);

/// Calls `want` for each extent that is not there of a file of which some are. Unless it is to be compared, what has
/// come of those goes away.
enum class Unverified { compare, drop };
Result<> for_missing_extents(int file, std::uint64_t size, const FileProgress& known, Unverified unverified,
                             const std::function<void(std::uint32_t extent)>& want);

}  // namespace ferry::sync
