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

  /// Passes on what is left. Without it nothing more is, so that what is incomplete does not look as if it were not.
  Result<> finish();

 private:
  struct Free {
    void operator()(::archive* handle) const;
  };
  explicit CompressedSink(Sink& below) : below_(below) {}
  Result<> configure(Compression compression);
  tl::unexpected<Error> failure();
  static la_ssize_t pass_on(::archive* handle, void* self, const void* bytes, std::size_t size);

  Sink& below_;
  std::optional<Error> error_;               // of below_
  std::unique_ptr<::archive, Free> handle_;  // last: it ends before what it uses
};

}  // namespace ferry::archive
