#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "archive/digest.h"
#include "sync/entry.h"

namespace ferry::archive {

/// What an archive's last member says of all that comes before: docs/archive.md, "Digests". Writer and reader each make
/// one of what they have seen, and the archive is good if both are the same text.
struct DigestList {
  struct File {
    std::uint32_t entry = 0;  ///< index of its first name
    FileDigest digest;
  };
  std::uint64_t entries = 0;  ///< names, the root among them
  std::uint64_t bytes = 0;    ///< of regular files, holes included
  std::vector<File> files;    ///< in the order in which they are in the archive
  std::string metadata;       ///< see MetadataHash
};

/// The text, line by line, so that it is never in memory as a whole. Not thread-safe.
class DigestLines {
 public:
  /// Both must outlive this object.
  DigestLines(const DigestList& list, const std::vector<sync::Entry>& entries) : list_(list), entries_(entries) {}

  /// The next line with its end; empty behind the last.
  std::string next();

  /// The file of which the last line is the digest; -1: it is of something else.
  std::int64_t file() const { return file_; }

 private:
  std::string line_of(const DigestList::File& file) const;

  const DigestList& list_;
  const std::vector<sync::Entry>& entries_;
  std::uint64_t at_ = 0;  // lines that came
  std::int64_t file_ = -1;
};

/// The path of an entry as an archive has it: "./a/b", and with a '/' behind it if it is a directory.
std::string member_path(const std::vector<sync::Entry>& entries, std::uint32_t index);

}  // namespace ferry::archive
