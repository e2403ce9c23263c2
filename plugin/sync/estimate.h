#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "sync/receiver.h"

namespace ferry::sync {

/// What a Receiver would have to do.
struct Estimate {
  std::uint64_t files_total = 0;
  std::uint64_t bytes_total = 0;    ///< of content without holes
  std::uint64_t files_to_send = 0;  ///< wholly or in part
  std::uint64_t bytes_to_send = 0;  ///< at most: of files of which pages are compared, all of it
  std::uint64_t names_to_remove = 0;
  double seconds = 0;  ///< predicted, from the walk and from how fast a first piece came, not compressed
};

/// Walks the source and compares, but writes nothing below the data that would be updated. `scratch` is an empty
/// directory. Errors as a Receiver with those options gives them before the first content byte.
Result<Estimate> estimate(Source& source, const ReceiverOptions& options, const std::filesystem::path& scratch,
                          const std::atomic<bool>& cancelled);

}  // namespace ferry::sync
