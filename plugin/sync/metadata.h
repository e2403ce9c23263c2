#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "sync/entry.h"

namespace ferry::sync {

/// The file type as inode(7) has it in st_mode; 0 for a hard link, which has that of what it links to.
mode_t format_of(Type type);

/// What every file that this process creates in one directory is born with. It depends on the directory's set-group-ID
/// bit and default ACL, the mount and security modules: so it is looked at, once for each directory (see inode(7)).
struct Inherited {
  uid_t uid = 0;
  gid_t gid = 0;
  bool xattrs = false;  ///< any, an inherited ACL among them
};

/// Takes a file that was just created.
Result<Inherited> inherited_by(int fd);

/// Gives an open regular file or directory the entry's owner, mode, xattrs (no other ones stay) and mtime, in the order
/// in which none undoes another: chown(2) clears suid bits and file capabilities, every change moves the ctime only.
/// `inherited`: the file is as new, and what it has already is not set again.
Result<> apply_metadata(int fd, const Entry& entry, const Inherited* inherited = nullptr);

/// The same for a symlink, FIFO or device node `entry.name` in an open directory that nobody else can reach.
Result<> apply_metadata_at(int directory, const Entry& entry);

/// Creates the symlink, FIFO or device node with its metadata.
Result<> create_special(int directory, const Entry& entry);

/// Fails with Code::unsupported, naming entry and feature, if the file system of `directory` cannot hold some of the
/// entries: tries xattrs (of those that are few and small each kind, of those of which somebody may check the value
/// each value, of the others each combination of names and sizes), the extreme modification times, the longest symlink
/// and the largest size on probes, which it removes, and counts the names of each file. Where xattrs are few or alike
/// that takes no time; where each file has others it takes as long as to set them.
Result<> check_features(const std::filesystem::path& directory, const std::vector<Entry>& entries);

}  // namespace ferry::sync
