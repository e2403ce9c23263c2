#pragma once

#include <atomic>
#include <optional>

namespace ferry::sync {

/// syncfs(2) of the file system of an open file or directory: 0 or its errno. None if it has been cancelled for two
/// seconds: nothing can interrupt the call, so it goes on without anybody then.
std::optional<int> sync_file_system(int fd, const std::atomic<bool>& cancelled);

}  // namespace ferry::sync
