#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"
#include "sync/digest.h"
#include "sync/entry.h"

namespace ferry::sync {

/// The version of a file that another one was compared with, at the receiver.
struct OldFile {
  std::uint64_t inode = 0;
  std::uint64_t ctime_ns = 0;
  bool operator==(const OldFile&) const = default;
};

/// How much of one regular file is in staging, and of which version of it.
struct FileProgress {
  std::uint64_t inode = 0;  ///< at the sender; inode, size and ctime identify the version
  std::uint64_t size = 0;
  std::uint64_t ctime_ns = 0;
  bool complete = false;
  bool stable = false;         ///< an equal ctime proves that the content is equal (ManifestInfo::stable_before_ns)
  Digest digest{};             ///< ContentDigest of what is there
  std::uint64_t bytes = 0;     ///< of what is there, without holes: that came, or were on this host
  std::optional<OldFile> old;  ///< only what differs from this one is there
  /// Those that are there (blocks.h), each with its patch if there is an `old` one; none of a file that is complete.
  /// The patches of a file may take 100 MiB, which copies share.
  std::map<std::uint32_t, Rare<std::string>> extents;

  bool operator==(const FileProgress&) const = default;
  bool same_version(const Entry& entry) const {
    return inode == entry.inode && size == entry.size && ctime_ns == entry.ctime_ns;
  }
};

/// A version of which nothing has come.
FileProgress version_of(const Entry& entry, std::uint64_t stable_before_ns);

/// One extent that has come.
struct ExtentProgress {
  std::uint32_t number = 0;
  Digest digest{};
  std::uint64_t bytes = 0;
  bool torn = false;  ///< it may be of another version than the rest, so that the file is not stable
  std::string patch;  ///< encode(patch.h), if there is an old version
};

/// Remembers what of an import is in staging, so that an interrupted one carries on. An append-only file of checksummed
/// records, keyed by the digest of a file's path. Whenever it is opened, only the records count that were before the
/// last mark_durable. Others may tell of pages that the kernel has lost since, even if the machine did not go down: it
/// tells of them once (syncfs(2)), and that may have been somebody else. Thread-safe.
class Journal {
 public:
  enum class Begin {
    anew,   ///< nothing is in staging
    again,  ///< there is something that a journal should know of
  };

  /// Opens or creates it. A damaged tail is cut off; a file that is no journal is started anew.
  static Result<std::unique_ptr<Journal>> open(const std::filesystem::path& path, Begin begin = Begin::anew);

  std::optional<FileProgress> find(std::string_view path) const;

  /// What a record told that does not count, of a file of one extent that was complete: it may be there. Whoever finds
  /// that the disk has content of that digest may record() it. None once something else is recorded of the file.
  std::optional<FileProgress> claimed(std::string_view path) const;
  bool has_claims() const;
  bool empty() const;

  /// Counts at once, but is written together with others.
  /// The extents of `progress` are none; record_extent() adds them.
  Result<> record(std::string_view path, const FileProgress& progress);

  /// As record, for one extent more of a file of which record() has told.
  Result<> record_extent(std::string_view path, const ExtentProgress& extent);

  /// Records that nothing of the file is there, before something else takes its name: what was recorded of it may come
  /// true again at the sender (a directory renamed away and back), but no more here. True if anything was known; then
  /// mark_durable is due before the file is written.
  Result<bool> forget(std::string_view path);

  /// How many records this object has appended; see mark_durable.
  std::uint64_t position() const;

  /// To be called after everything that was recorded up to `position` has been made durable; writes all records and
  /// does an fsync.
  Result<> mark_durable(std::uint64_t position);

  /// The same for all records, when nothing more is going to be written, neither records nor content.
  Result<> end();

  /// To be called when what was recorded could not be made durable: after it told so, the kernel takes the lost pages
  /// for written ones. Nothing since the last mark_durable counts when the journal is opened again, and nothing more
  /// can be recorded until then.
  void distrust(const Error& reason);

  /// The reason that distrust() was given, if it was called.
  Result<> check() const;

  /// Whether what can be read of what was written before this journal was opened is what the disk has: false, in this
  /// boot for good, after a session that did not come to its end(), or if there was no journal to tell, since the
  /// kernel keeps pages that it has lost.
  bool trusts_cache() const { return trusts_cache_; }

  ~Journal();

 private:
  struct KeyHash {
    std::size_t operator()(const Digest& key) const noexcept;
  };
  /// What only few files have at a time.
  struct Partial {
    std::optional<OldFile> old;
    std::map<std::uint32_t, Rare<std::string>> extents;
  };
  /// The rest of a FileProgress: there may be millions.
  struct Compact {
    std::uint64_t inode = 0;
    std::uint64_t ctime_ns = 0;
    std::uint64_t size : 63 = 0;
    std::uint64_t complete : 1 = 0;
    std::uint64_t bytes : 63 = 0;
    std::uint64_t stable : 1 = 0;
    Digest digest{};
  };
  Journal(Fd file, std::string boot_id) : file_(std::move(file)), boot_id_(std::move(boot_id)) {}
  Result<> load(const std::string& content, Begin begin);
  FileProgress get(const Digest& key, const Compact& file) const;  // with mutex_ held, as the following
  void set(const Digest& key, FileProgress progress);
  static Compact compact(const FileProgress& progress);
  void add_extent(const Digest& key, const ExtentProgress& extent);
  Result<> append(std::string_view body);
  Result<> write_pending();
  void append_durable(std::uint64_t position);
  Result<> sync_pending();
  class Loader;

  const Fd file_;
  const std::string boot_id_;
  bool trusts_cache_ = false;  // constant once it is open
  mutable std::mutex mutex_;
  std::unordered_map<Digest, Compact, KeyHash> files_;    // protected by mutex_
  std::unordered_map<Digest, Partial, KeyHash> partial_;  // protected by mutex_: what else is known of some of them
  std::unordered_map<Digest, Compact, KeyHash> claims_;   // protected by mutex_
  std::uint64_t position_ = 0;                            // protected by mutex_
  std::uint64_t length_ = 0;                              // protected by mutex_: of the file
  std::string pending_;                                   // protected by mutex_: records to be written
  std::size_t pending_records_ = 0;                       // protected by mutex_
  Result<> distrusted_;                                   // protected by mutex_
};

}  // namespace ferry::sync
