#pragma once

#include <memory>
#include <optional>
#include <span>

#include "archive/compression.h"
#include "archive/handles.h"
#include "archive/stream.h"
#include "base/result.h"

namespace ferry::archive {

/// Passes on what comes, compressed, in pieces of some hundred KiB. Not thread-safe.
class CompressedSink : public Sink {
 public:
  /// `below` must outlive this object.
  static Result<std::unique_ptr<CompressedSink>> open(Sink& below, Compression compression);

  Result<> write(std::span<const char> bytes) override;

  /// Passes on what is left.
  Result<> finish();

  /// Passes on nothing more, so that what is not finished does not look as if it were.
  ~CompressedSink() override;

 private:
  explicit CompressedSink(Sink& below) : below_(below) {}
  Result<> configure(Compression compression);
  tl::unexpected<Error> failure();
  static la_ssize_t pass_on(::archive* handle, void* self, const void* bytes, std::size_t size);

  Sink& below_;
  std::optional<Error> error_;  // of below_
  bool ends_ = false;           // what still comes is dropped
  WriteHandle handle_;
};

}  // namespace ferry::archive
