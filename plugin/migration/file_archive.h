#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "migration/archive_address.h"
#include "migration/archive_store.h"

namespace ferry::migration {

/// Archives in the directory `files` of this host and below, for ArchiveStore. Nothing outside is reached, by whatever
/// symlinks (openat2(2), RESOLVE_IN_ROOT). Code::denied: `files` is empty, there is no such directory.
Result<std::unique_ptr<ArchiveInput>> open_file(const ArchiveAddress& address, const std::filesystem::path& files);

/// `part` is its path until it is finished. Code::already_exists: there is one of its name, and `replace` is false.
Result<std::unique_ptr<ArchiveOutput>> create_file(const ArchiveAddress& address, const std::filesystem::path& files,
                                                   const std::string& part, bool replace);

}  // namespace ferry::migration
