#pragma once

#include <archive.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "archive/handles.h"
#include "archive/lzma_source.h"
#include "archive/progress.h"
#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// Bytes of a Source as they were before they were compressed, in whatever way libarchive recognises without the help
/// of other programs, or as they are. Not thread-safe.
class DecompressedSource {
 public:
  /// Both must outlive this object. Code::corrupt: there are no bytes, or they are compressed more than once.
  static Result<std::unique_ptr<DecompressedSource>> open(Source& below, const Progress& progress);

  /// The next bytes, valid until the next call; none at the end. Code::corrupt: they are damaged or cut.
  Result<std::span<const char>> next();

  /// An error was the Source's, and says nothing about the archive.
  bool failed_below() const { return error_.has_value(); }

  /// "zstd", or "none".
  const std::string& compression() const { return compression_; }

 private:
  DecompressedSource(Source& below, const Progress& progress);
  Result<> configure();
  tl::unexpected<Error> failure();
  static la_ssize_t fetch(::archive* handle, void* self, const void** bytes);

  LzmaSource below_;
  const Progress& progress_;
  std::vector<char> buffer_;
  bool at_end_ = false;
  std::optional<Error> error_;  // of below_
  std::string compression_;
  ReadHandle handle_;  // last: it ends before what it uses
};

}  // namespace ferry::archive
