#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::engine {

/// Cuts a tar archive (pax or GNU's, see tar(5)) that arrives in pieces of any size into its entries, so that some can
/// be left out of it. Keeps only headers, 1 MiB of them at most. Not thread-safe.
class TarEntries {
 public:
  /// A part of the archive that belongs to one entry.
  struct Part {
    const std::string& name;   ///< empty: what ends the archive
    std::string_view blocks;   ///< as they are in the archive, with headers and padding
    std::string_view content;  ///< what of them is content
  };
  using Taker = std::function<Result<>(const Part& part)>;

  /// Calls `taker` for each part that `piece` has or completes, in order. Stops at the taker's first error and returns
  /// it. Code::corrupt: it is no such archive.
  Result<> add(std::string_view piece, const Taker& taker);

 private:
  Result<> take_header(const Taker& taker);
  Result<> take_extension();

  std::string header_;           // that is not complete yet
  std::string held_;             // headers that belong to the next entry
  std::string extension_;        // content of the last one of these
  char kind_ = 0;                // of that
  std::string name_;             // of the entry
  std::string long_name_;        // for the next entry, in place of what its header has
  std::uint64_t long_size_ = 0;  // likewise, if has_long_size_
  bool has_long_size_ = false;
  bool in_extension_ = false;
  std::uint64_t content_left_ = 0;
  std::uint64_t padding_left_ = 0;
};

}  // namespace ferry::engine
