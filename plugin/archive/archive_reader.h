#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "archive/decompressed_source.h"
#include "archive/facts.h"
#include "archive/handles.h"
#include "archive/progress.h"
#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// Reads archives of a few formats that can hold a volume: those of tar, which may be Ferry's, and of cpio. Not those
/// that need to be read from the end (7-Zip; zip, which has modes and symlinks only there), hold no tree (raw, mtree,
/// ar, warc), or are another system's and rarely read code. Trusts nothing in an archive; what it hands on may be
/// anything. Not thread-safe.
class ArchiveReader {
 public:
  struct Block {
    std::uint64_t offset = 0;
    std::string_view bytes;  ///< valid until the next call
  };

  /// Both must outlive this object.
  static Result<std::unique_ptr<ArchiveReader>> open(Source& source, const Progress& progress);

  /// What an archive of Ferry's begins with; none: it is a foreign one.
  const std::optional<FrontMatter>& front_matter() const { return front_; }
  /// The text of that.
  const std::string& front_text() const { return front_text_; }

  /// The next entry, valid until the next call; null behind the last, when the whole source has been read. The content
  /// of the one before must have been read. Code::corrupt if something is damaged or missing.
  Result<::archive_entry*> next();

  /// What comes next of the entry's content; none at its end.
  Result<std::optional<Block>> read();

  /// An error was the Source's, and says nothing about an entry.
  bool failed_below() const { return source_->failed_below(); }

  /// For people, e.g. "GNU tar format, zstd".
  std::string format() const;

 private:
  explicit ArchiveReader(const Progress& progress) : progress_(progress) {}
  Result<> find_front_matter();
  Result<> configure();
  Result<> check_end();
  Result<> skip_rest();
  bool is_tar() const;
  bool is_harmless_warning() const;
  tl::unexpected<Error> failure();
  Result<std::span<const char>> fetch();
  static la_ssize_t fetch(::archive* handle, void* self, const void** bytes);

  const Progress& progress_;
  std::unique_ptr<DecompressedSource> source_;
  std::string begin_;   // what was looked at for a front matter
  bool begun_ = false;  // it was handed on
  std::string front_text_;
  std::optional<FrontMatter> front_;
  std::optional<Error> error_;  // of fetch()
  bool in_content_ = false;
  std::uint64_t for_something_else_ = 0;  // bytes that were handed on since the last content
  std::uint64_t most_ = 1U << 20;         // of those
  ReadHandle handle_;                     // last: it ends before what it uses
};

}  // namespace ferry::archive
