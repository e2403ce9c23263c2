#pragma once

#include <string>
#include <vector>

#include "base/mount_table.h"
#include "base/result.h"

namespace ferry::volumes {

/// The 64 hex digits of this plugin's ID, from the root of its propagated mount `…/plugins/<id>/propagated-mount`.
/// Code::not_found if `target` is not such a mount, or its directory has been renamed or deleted, which is what the
/// Engine does with it when the plugin is removed (moby daemon/pkg/plugin/backend_linux.go: rename to `<id>-removing`).
Result<std::string> plugin_id(const std::string& target);

/// Whether the Engine sees what is mounted at `target`, this plugin's propagated mount, by what was mounted when the
/// plugin was started: `mounts`, from before unpin_mounts(). An Engine that starts after a crash may unmount what it
/// has just mounted there for the new process, because the former one has ended (moby daemon/pkg/plugin/manager.go,
/// HandleExitEvent against enable); then binds stay where they are made, and containers would get empty directories.
/// True where nobody can know: `data_root` is not the Engine's.
bool is_seen_by_engine(const std::vector<MountPoint>& mounts, const std::string& target, const std::string& data_root);

/// is_seen_by_engine() of this process. If not, Code::unavailable: the process is to end, so that the Engine starts
/// another one, with mounts of its own. Three times a minute at most; after that only the log says so.
Result<> check_seen_by_engine(const std::string& target, const std::string& data_root);

/// In this process's mount namespace only, lazily unmounts everything below `directory` but what leads to one of the
/// directories `keep` below it. A plugin sees a snapshot of the host's mounts from its start and would pin them. Does
/// nothing where `directory` is a shared mount, because there the host would lose the mounts as well.
Result<> unpin_mounts(const std::string& directory, const std::vector<std::string>& keep);

}  // namespace ferry::volumes
