#pragma once

#include <sys/stat.h>

#include <string>

#include "base/result.h"

/// What would keep a plan (plan.h) from being carried out for ever, although nothing shows it but attributes.
namespace ferry::sync {

/// Code::denied if something is mounted at or below the open directory `tree`: no file can be renamed across that
/// (rename(2), EXDEV), nor can what it is mounted on be taken away.
Result<> check_no_mounts(int tree);

/// What has to become of something that exists.
enum class Alteration {
  other,    ///< of its metadata or names, or it goes
  content,  ///< its content is written to
};

/// Code::denied if `name` in an open directory (with an empty name that itself), shown as `path`, cannot be altered so,
/// or cannot get names of files from beside the open directory `tree`, in which it is.
Result<> check_alterable(int tree, int directory, const std::string& name, const std::string& path, Alteration how);

/// Whether the content of a file can never be written to again, although it can be replaced (fs-verity).
bool is_sealed(int directory, const std::string& name);

/// Gives an open file the project (of quotas) that the open directory demands of what gets a name in it. ext4 and XFS
/// refuse rename(2) and link(2) with EXDEV otherwise.
Result<> adopt_project(int file, int directory);

/// Lets files of every project be renamed into an open directory.
Result<> accept_all_projects(int directory);

}  // namespace ferry::sync
