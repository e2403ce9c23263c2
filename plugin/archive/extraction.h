#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "archive/facts.h"
#include "archive/progress.h"
#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// What an archive may take.
struct Limits {
  std::uint64_t bytes = UINT64_MAX;    ///< that are written to files: those that are free, for example
  std::uint64_t entries = UINT64_MAX;  ///< names: the inodes that are free, for example
  std::uint64_t memory = UINT64_MAX;   ///< bytes, for what has to be known of entries until the end
};

/// What came out of an archive.
struct Extracted {
  std::optional<Facts> facts;  ///< none: of a foreign archive
  std::string id;              ///< FrontMatter::digests: no other archive has it; empty: of a foreign one
  bool verified = false;       ///< all of it is what its writer read; a foreign archive has nothing to tell that by
  bool has_root = false;       ///< the archive had the volume's root; if not, that is left as it was
  std::uint64_t entries = 0;   ///< names, the root among them if it was there
  std::uint64_t files = 0;     ///< regular files, each once
  std::uint64_t bytes = 0;     ///< of those, holes included
  std::string format;          ///< for people, e.g. "GNU tar format, zstd"
  std::vector<std::string> warnings;
};

/// What the begin of an archive says, of which no more is read than that takes: some hundred KiB, a MiB at most if it
/// is of Ferry's. None: it is a foreign one. Nothing of it is verified yet. Code::corrupt: this is no archive.
Result<std::optional<FrontMatter>> read_front_matter(Source& source, const Progress& progress);

/// Makes the open, empty directory `staging` what the archive has, content and all metadata, and the directory's own as
/// well. Nothing outside of it is ever written to or read, whatever the archive says, as long as nobody else has access
/// to it. An archive of Ferry's is verified, or it is an error. After an error the directory has a part of the archive.
/// What is there afterwards is not durable yet (syncfs(2)).
///
/// Code::corrupt: the archive is damaged, incomplete or tries something that is refused; Code::no_space: it takes more
/// than `limits`; Code::unsupported: it has something that cannot be made here. The message names the entry. Memory
/// grows with the number of entries and the xattrs of directories, as far as `limits` let it. Any number of them may
/// run at once. The process's locale has to be "C".
Result<Extracted> extract_archive(Source& source, int staging, const Limits& limits, Progress& progress);

}  // namespace ferry::archive
