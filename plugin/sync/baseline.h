#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/manifest.h"

namespace ferry::sync {

/// What a volume was when it was last copied from elsewhere: the sender's manifest, and which file here is which of its
/// files. So an update knows without reading what is still equal, at either end, and whether the copy has been written
/// to since. Stored beside the volume; without it an update has to be told that changes may be
/// lost, and compares everything.
struct Baseline {
  /// What an entry is here; nothing of hard links.
  struct File {
    std::uint64_t inode = 0;  ///< 0: it did not arrive
    std::uint64_t ctime_ns : 63 = 0;
    std::uint64_t stable : 1 = 0;  ///< the sender's inode, size and ctime prove that its content is `digest`
    Digest digest{};               ///< of regular files, as is `stable`: the ContentDigest
    bool operator==(const File&) const = default;

    void set_ctime(std::uint64_t nanoseconds) { ctime_ns = nanoseconds & (UINT64_MAX >> 1); }
  };

  Manifest manifest;
  /// Files whose ctime is older cannot be written without their ctime showing it; as ManifestInfo::stable_before_ns.
  std::uint64_t stable_before_ns = 0;
  std::vector<File> files;  ///< by entry of the manifest
};

/// Whether nothing was added to, removed from or changed in the tree below `root` since its baseline was written. False
/// also if that does not show in ctimes. What was written must be written back (syncfs).
bool is_untouched(const Baseline& baseline, int root);

/// Of a tree as a walk found it: equal if and only if no inode of it has been changed, added or removed since.
Digest stamp_of(const std::vector<Entry>& entries);

/// What an inode is on this host, as far as stat(2) tells whether it has been changed.
struct Here {
  std::uint64_t inode = 0;  ///< 0: not known
  std::uint64_t ctime_ns = 0;
  bool known() const { return inode != 0; }
};

/// Of what somebody has changed before it could be recorded: it is never that, so the next update finds out.
constexpr Here changed_meanwhile{UINT64_MAX, 0};

/// What is known of an entry of a manifest: see Baseline::File.
struct Arrived {
  Digest digest{};
  bool stable = false;
  Here here{};  ///< what is recorded of it, whatever it is now; unknown: what it is now
};

/// Looks up what the entries of a manifest are below `root` now that they are complete and written back (syncfs), and
/// stores it with what `arrived` tells of each, and an index (sync/candidates.h). What has another size or time of
/// modification than the manifest says is recorded as changed meanwhile. Otherwise nobody else may be able to write to
/// them before it returns: 20 ms later, and the time that writing takes.
Result<> write_baseline(const std::filesystem::path& path, int root, const Manifest& manifest,
                        const std::function<Arrived(std::uint32_t entry)>& arrived);

/// Code::not_found: there is none.
Result<Baseline> read_baseline(const std::filesystem::path& path);

/// The path of the first entry in which a tree differs from the copy that was made of its baseline's; empty if it was
/// not changed since. `now` is a walk of it.
std::string difference(const Baseline& baseline, const std::vector<Entry>& now);

/// Whether the file `index` of the baseline is, here, still what it was: `now` is the entry that a walk found.
bool is_unwritten(const Baseline& baseline, std::uint32_t index, const Entry& now);

/// Whether everything of two entries of the same path, that of the source and that of its copy, is equal but for
/// content, place and time of change. An SELinux label that only the copy has is its host's.
bool same_metadata(const Entry& source, const Entry& copy);

}  // namespace ferry::sync
