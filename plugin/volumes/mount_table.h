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

/// In this process's mount namespace only, lazily unmounts everything below `directory` but what leads to one of the
/// directories `keep` below it. A plugin sees a snapshot of the host's mounts from its start and would pin them. Does
/// nothing where `directory` is a shared mount, because there the host would lose the mounts as well.
Result<> unpin_mounts(const std::string& directory, const std::vector<std::string>& keep);

}  // namespace ferry::volumes
