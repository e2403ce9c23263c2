#include "archive/decompressed_source.h"

#include <new>

namespace ferry::archive {

namespace {

constexpr std::size_t block = 256U << 10;

/// Not those of LzmaSource, nor those for which libarchive starts a program (lrzip, grzip, lzop), nor envelopes that
/// are no compression (uu, rpm).
bool support_filters(::archive* handle) {
  using Support = int (*)(::archive*);
  for (const Support support :
       {&::archive_read_support_filter_gzip, &::archive_read_support_filter_zstd, &::archive_read_support_filter_bzip2,
        &::archive_read_support_filter_lz4, &::archive_read_support_filter_compress})
    if (support(handle) != ARCHIVE_OK) return false;
  return ::archive_read_support_format_raw(handle) == ARCHIVE_OK;
}

}  // namespace

DecompressedSource::DecompressedSource(Source& below, const Progress& progress)
    : below_(below, progress), progress_(progress), buffer_(block) {}

Result<std::unique_ptr<DecompressedSource>> DecompressedSource::open(Source& below, const Progress& progress) {
  std::unique_ptr<DecompressedSource> source(new DecompressedSource(below, progress));
  FERRY_TRY(source->configure());
  return source;
}

Result<> DecompressedSource::configure() {
  handle_.reset(::archive_read_new());
  if (!handle_) throw std::bad_alloc();
  ::archive* const handle = handle_.get();
  if (!support_filters(handle)) return failure();
  ::archive_entry* ignored = nullptr;
  const bool opened = ::archive_read_open2(handle, this, nullptr, &fetch, nullptr, nullptr) == ARCHIVE_OK &&
                      ::archive_read_next_header(handle, &ignored) == ARCHIVE_OK;
  if (!opened && !error_ && at_end_ && ::archive_filter_bytes(handle, -1) == 0)
    return fail(Code::corrupt, "the archive is empty");
  if (!opened) return failure();
  // One of them is the source itself.
  const int filters = ::archive_filter_count(handle) - 1 + (below_.compression().empty() ? 0 : 1);
  if (filters > 1) return fail(Code::corrupt, "the archive is compressed more than once, which is refused");
  compression_ = below_.compression().empty() ? ::archive_filter_name(handle, 0) : below_.compression();
  return {};
}

la_ssize_t DecompressedSource::fetch(::archive* handle, void* self, const void** bytes) {
  auto& source = *static_cast<DecompressedSource*>(self);
  if (source.at_end_) return 0;
  auto checked = source.progress_.check();
  auto count = checked ? source.below_.read(source.buffer_) : Result<std::size_t>(pass(checked));
  if (!count) {
    source.error_ = count.error();
    ::archive_set_error(handle, EIO, "%s", count.error().message.c_str());
    return -1;
  }
  source.at_end_ = *count == 0;
  *bytes = source.buffer_.data();
  return static_cast<la_ssize_t>(*count);
}

tl::unexpected<Error> DecompressedSource::failure() {
  return error_ ? fail(error_->code, error_->message)
                : fail(Code::corrupt, "the archive is damaged or incomplete: " + error_of(handle_.get()));
}

Result<std::span<const char>> DecompressedSource::next() {
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  while (size == 0) {
    FERRY_TRY(progress_.check());
    const int result = ::archive_read_data_block(handle_.get(), &bytes, &size, &offset);
    if (result == ARCHIVE_EOF) return std::span<const char>();
    if (result != ARCHIVE_OK || error_) return failure();
  }
  return std::span(static_cast<const char*>(bytes), size);
}

}  // namespace ferry::archive
