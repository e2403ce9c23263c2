#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sync/entry.h"

namespace ferry::sync {

/// A name in a directory as the sender finds it.
struct Inspected {
  Entry entry;  ///< but for `name`, `parent` and `link`; its type is that of the file, whatever other names that has
  std::uint64_t device = 0;  ///< st_dev; with the entry's inode it tells several names of one file
  bool shared = false;       ///< no directory, and it has several names
  bool left_out = false;     ///< a socket, which means nothing elsewhere
};

/// What a tree is to be read as.
enum class TreeKind {
  plain,
  /// The upper directory of an overlay: with its whiteouts and opaque directories, and without what means something to
  /// that overlay only, such as handles of files beneath it (fs/overlayfs/overlayfs.h, enum ovl_xattr; `protattr` is
  /// what chattr(1) was told, and goes along). Of a mount point the empty directory or file goes along. Names of which
  /// part is beneath it (redirect_dir, metacopy) are Code::unsupported.
  overlay_upper,
};

/// Reads the metadata of names, never content, and leaves atimes alone. Where st_blocks does not tell how much of a
/// file is data, it opens each file that may have holes and asks for them. Thread-safe.
class Inspector {
 public:
  /// Of the tree's file system, whose files have that st_dev. Of what is mounted in it nothing is known.
  Inspector(bool blocks_tell, std::uint64_t device, TreeKind kind = TreeKind::plain)
      : blocks_tell_(blocks_tell), device_(device), kind_(kind) {}

  /// `name` in an open directory, or with an empty name that directory itself; faster if that is the calling thread's
  /// working directory. Code::not_found: it is not there (any more), or became something else meanwhile.
  Result<Inspected> inspect(int directory, const std::string& name, bool is_working_directory = false) const;

 private:
  Result<> add_size(Entry& entry, const struct stat& info, int directory, const std::string& name) const;

  bool blocks_tell_;
  std::uint64_t device_;
  TreeKind kind_;
};

/// Makes an open directory the working directory of the calling thread and of no other one; false: the system does not
/// allow it. Threads that this one starts from then on share it.
bool work_in(int directory);

/// Whether st_blocks tells how much of a file is data, in the file system of an open directory. Elsewhere it may be
/// less, where the file system compresses (ZFS), or tell of another one beneath (overlayfs, FUSE). `type` is f_type of
/// statfs(2).
bool counts_data_in_blocks(std::int64_t type);

/// What of the past shows in the ctimes of a file system of that type that was written back (syncfs) from `synced_ns`
/// on: see ManifestInfo::stable_before_ns. Of file systems other than ext4, XFS and btrfs it is nothing: in memory
/// (tmpfs, ramfs) pages are never clean, and overlayfs and FUSE show what one beneath does.
std::uint64_t stable_before(std::int64_t synced_ns, std::int64_t type);

/// The stat(2) fields that tell whether a file may have changed, in an Entry's units.
std::uint64_t ctime_ns(const struct stat& info);

}  // namespace ferry::sync
