#pragma once

#include <lzma.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "archive/progress.h"
#include "archive/stream.h"

namespace ferry::archive {

/// Decompresses a file of xz, lzip or lzma, and passes any other on as it is. libarchive would do so without any limit
/// of memory, which these take for as large a dictionary as the file announces, 4 GiB at most.
class LzmaSource final : public Source {
 public:
  /// That may be taken: a dictionary of 256 MiB, and what comes with it; `xz -9` needs 65 MiB.
  static constexpr std::uint64_t most_memory = 257U << 20;

  /// Both must outlive this object.
  LzmaSource(Source& below, const Progress& progress);
  LzmaSource(const LzmaSource&) = delete;
  LzmaSource& operator=(const LzmaSource&) = delete;
  ~LzmaSource() override { ::lzma_end(&stream_); }

  /// Code::corrupt: the file is damaged or cut; unsupported: it needs more memory than that.
  Result<std::size_t> read(std::span<char> buffer) override;

  /// "xz", "lzip" or "lzma" once something was read; empty: none of them.
  const std::string& compression() const { return compression_; }

 private:
  enum class Kind { unknown, none, some };

  Result<> look();
  Result<> fetch();
  Result<> check_rest();
  Error explain(::lzma_ret result) const;

  Source& below_;
  const Progress& progress_;
  Kind kind_ = Kind::unknown;
  std::string compression_;
  std::vector<char> input_;
  std::size_t at_ = 0;    // of input_
  std::size_t size_ = 0;  // of input_
  bool at_end_ = false;   // of below_
  bool ended_ = false;
  ::lzma_stream stream_ = LZMA_STREAM_INIT;
};

}  // namespace ferry::archive
