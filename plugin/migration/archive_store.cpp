#include "migration/archive_store.h"

#include "migration/file_archive.h"
#include "migration/sftp_archive.h"

namespace ferry::migration {

namespace {

/// What an archive is called while it is written. Hidden, and never taken for a whole one.
std::string part_of(const std::string& path, const std::string& id) {
  const auto slash = path.rfind('/') + 1;
  return path.substr(0, slash) + ".ferry-" + id + ".part";
}

}  // namespace

Result<std::unique_ptr<ArchiveInput>> ArchiveStore::open(const ArchiveAddress& address, Deadline deadline) const {
  return address.way == ArchiveAddress::Way::sftp ? open_by_sftp(address, ssh_directory_, deadline)
                                                  : open_file(address, files_);
}

Result<std::unique_ptr<ArchiveOutput>> ArchiveStore::create(const ArchiveAddress& address, const std::string& id,
                                                            bool replace, Deadline deadline) const {
  const std::string part = part_of(address.path, id);
  return address.way == ArchiveAddress::Way::sftp ? create_by_sftp(address, ssh_directory_, part, replace, deadline)
                                                  : create_file(address, files_, part, replace);
}

}  // namespace ferry::migration
