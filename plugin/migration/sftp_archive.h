#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "migration/archive_address.h"
#include "migration/archive_store.h"

namespace ferry::migration {

/// Archives behind the sshd of another host, for ArchiveStore; `ssh_directory` is that of transport::Sftp::connect(). A
/// connection that is lost is made anew, for as long as it takes, and the archive is read or written on from where it
/// was. Where that cannot be, above all because it is not the same file any more, read() and write() are
/// Code::unavailable: it has to begin anew.
Result<std::unique_ptr<ArchiveInput>> open_by_sftp(const ArchiveAddress& address,
                                                   const std::filesystem::path& ssh_directory, Deadline deadline);

/// `part` is its path until it is finished. Takes 14 MiB of memory. Code::already_exists:
/// there is one of its name, and `replace` is false.
Result<std::unique_ptr<ArchiveOutput>> create_by_sftp(const ArchiveAddress& address,
                                                      const std::filesystem::path& ssh_directory,
                                                      const std::string& part, bool replace, Deadline deadline);

}  // namespace ferry::migration
