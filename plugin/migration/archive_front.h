#pragma once

#include <optional>
#include <string>

#include "archive/facts.h"
#include "base/result.h"
#include "base/time.h"
#include "migration/archive_store.h"

namespace ferry::migration {

/// How an archive begins, before the deadline. None: it is a foreign one. Errors are those of ArchiveStore::open and
/// archive::read_front_matter.
Result<std::optional<archive::FrontMatter>> read_front(const ArchiveStore& store, const ArchiveAddress& address,
                                                       Deadline deadline);

/// archive::FrontMatter::digests, by which one archive is told from another; empty: a foreign one.
Result<std::string> read_archive_id(const ArchiveStore& store, const ArchiveAddress& address, Deadline deadline);

}  // namespace ferry::migration
