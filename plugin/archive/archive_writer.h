#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "archive/compression.h"
#include "archive/facts.h"
#include "archive/progress.h"
#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// What is in an archive that was written.
struct Written {
  std::string id;                     ///< FrontMatter::digests: no other archive has it
  std::uint64_t entries = 0;          ///< names, the volume's root among them
  std::uint64_t files = 0;            ///< regular files, each once, whatever names it has
  std::uint64_t bytes = 0;            ///< of those, holes included
  std::uint64_t sockets = 0;          ///< left out
  std::uint64_t changed = 0;          ///< files that were written to meanwhile: they may be of no one version
  std::uint64_t vanished = 0;         ///< files that went away meanwhile, and are left out
  std::vector<std::string> warnings;  ///< a sentence for each of the last three that is not 0, with the first names
};

/// Writes the volume whose root is the open directory `volume` as one archive: docs/archive.md. Follows no symlink and
/// leaves atimes alone, so whoever writes to the volume meanwhile can only spoil his own files. Memory grows with the
/// number of entries only. Any number of them may run at once. After an error `sink` has got a part of an archive that
/// no reader takes for a whole one.
Result<Written> write_archive(int volume, const Facts& facts, Compression compression, Sink& sink, Progress& progress);

}  // namespace ferry::archive
