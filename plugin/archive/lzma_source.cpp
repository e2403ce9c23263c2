#include "archive/lzma_source.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

namespace ferry::archive {

namespace {

constexpr std::size_t block = 256U << 10;
/// How much of a file tells what it is.
constexpr std::size_t header = 13;

/// A file of lzma has no magic number: properties, the dictionary's size, and that of the content or all ones (xz's
/// doc/lzma-file-format.txt). No encoder makes smaller dictionaries, and no name of a tar's first entry looks like one.
bool is_lzma(std::string_view begin) {
  constexpr std::uint8_t most_properties = 224;
  constexpr std::uint32_t least_dictionary = 4096;
  if (begin.size() < header || static_cast<std::uint8_t>(begin[0]) > most_properties) return false;
  std::uint32_t dictionary = 0;
  std::uint64_t content = 0;
  std::memcpy(&dictionary, begin.data() + 1, sizeof dictionary);
  std::memcpy(&content, begin.data() + 5, sizeof content);
  static_assert(std::endian::native == std::endian::little);
  const bool is_size = std::has_single_bit(dictionary) ||
                       (dictionary % 3 == 0 && std::has_single_bit(dictionary / 3)) || dictionary == UINT32_MAX;
  constexpr std::uint64_t most_content = std::uint64_t{1} << 48;
  return dictionary >= least_dictionary && is_size && (content == UINT64_MAX || content < most_content);
}

std::string compression_of(std::string_view begin) {
  if (begin.starts_with(std::string_view("\xfd"
                                         "7zXZ\0",
                                         6)))
    return "xz";
  if (begin.starts_with("LZIP")) return "lzip";
  return is_lzma(begin) ? "lzma" : "";
}

}  // namespace

LzmaSource::LzmaSource(Source& below, const Progress& progress) : below_(below), progress_(progress), input_(block) {}

Error LzmaSource::explain(::lzma_ret result) const {
  if (result == LZMA_MEMLIMIT_ERROR)
    return {Code::unsupported, "the archive needs " + std::to_string(::lzma_memusage(&stream_) >> 20) +
                                   " MiB of memory to be decompressed (" + compression_ + "), and no more than " +
                                   std::to_string(most_memory >> 20) + " may be used"};
  if (result == LZMA_MEM_ERROR) return {Code::io, "there is no memory to decompress the archive"};
  return {Code::corrupt, "the archive is damaged or incomplete (" + compression_ + ")"};
}

Result<> LzmaSource::fetch() {
  FERRY_TRY(progress_.check());
  at_ = 0;
  FERRY_ASSIGN(size_, below_.read(input_));
  at_end_ = size_ == 0;
  return {};
}

/// What it is.
Result<> LzmaSource::look() {
  while (size_ < header && !at_end_) {
    FERRY_TRY(progress_.check());
    FERRY_ASSIGN(const std::size_t n, below_.read(std::span(input_).subspan(size_)));
    size_ += n;
    at_end_ = n == 0;
  }
  compression_ = compression_of({input_.data(), size_});
  kind_ = compression_.empty() ? Kind::none : Kind::some;
  ::lzma_ret begun = LZMA_OK;
  if (compression_ == "xz") begun = ::lzma_stream_decoder(&stream_, most_memory, LZMA_CONCATENATED);
  if (compression_ == "lzip") begun = ::lzma_lzip_decoder(&stream_, most_memory, LZMA_CONCATENATED);
  if (compression_ == "lzma") begun = ::lzma_alone_decoder(&stream_, most_memory);
  if (begun != LZMA_OK) return tl::unexpected(explain(begun));
  return {};
}

/// Behind an end that liblzma does not look behind: zeros, as on a tape, or nothing.
Result<> LzmaSource::check_rest() {
  while (true) {
    if (std::any_of(input_.begin() + static_cast<std::ptrdiff_t>(at_),
                    input_.begin() + static_cast<std::ptrdiff_t>(size_), [](char byte) { return byte != 0; }))
      return fail(Code::corrupt, "the archive has something behind its end (" + compression_ + ")");
    at_ = size_;
    if (at_end_) return {};
    FERRY_TRY(fetch());
  }
}

Result<std::size_t> LzmaSource::read(std::span<char> buffer) {
  if (kind_ == Kind::unknown) FERRY_TRY(look());
  if (kind_ == Kind::none) {
    if (at_ == size_ && !at_end_) return below_.read(buffer);
    const std::size_t n = std::min(buffer.size(), size_ - at_);
    std::copy_n(input_.data() + at_, n, buffer.data());
    at_ += n;
    return n;
  }
  stream_.next_out = reinterpret_cast<std::uint8_t*>(buffer.data());
  stream_.avail_out = buffer.size();
  while (!ended_ && stream_.avail_out == buffer.size()) {
    if (at_ == size_ && !at_end_) FERRY_TRY(fetch());
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(input_.data()) + at_;
    stream_.avail_in = size_ - at_;
    const ::lzma_ret result = ::lzma_code(&stream_, at_end_ ? LZMA_FINISH : LZMA_RUN);
    at_ = size_ - stream_.avail_in;
    ended_ = result == LZMA_STREAM_END;
    if (result != LZMA_OK && !ended_) return tl::unexpected(explain(result));
    if (ended_) FERRY_TRY(check_rest());
  }
  return buffer.size() - stream_.avail_out;
}

}  // namespace ferry::archive
