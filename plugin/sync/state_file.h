#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "sync/digest.h"
#include "sync/manifest.h"

/// Files of records (wire.h) with which a volume's tree is remembered. They end in a digest of all of them, so that a
/// torn or damaged one is never believed.
namespace ferry::sync {

/// Writes such a file beside its path, and puts it there durably when it is complete. Not thread-safe.
class StateWriter {
 public:
  static Result<StateWriter> create(const std::filesystem::path& path);
  Result<> record(std::string_view body);
  /// The records of a manifest, which a ManifestDecoder takes.
  Result<> manifest(const Manifest& manifest);
  enum class Durable { yes, no };
  /// Durable::no: after a crash it may not be there, or be damaged.
  Result<> finish(Durable durable = Durable::yes);

 private:
  StateWriter(std::filesystem::path path, Fd file) : path_(std::move(path)), file_(std::move(file)) {}
  Result<> add(std::string_view records);
  Result<> flush();

  std::filesystem::path path_;
  Fd file_;
  std::string pending_;
  std::uint64_t count_ = 0;
  Digest digest_{};
};

/// Calls the handler for each record. Code::corrupt if the file is not complete: then what the handler was given means
/// nothing.
Result<> read_state(const std::filesystem::path& path, const std::function<Result<>(std::string_view body)>& handler);

}  // namespace ferry::sync
