#include "archive/compressed_sink.h"

#include <new>
#include <string>
#include <utility>

namespace ferry::archive {

namespace {

constexpr int block = 256 << 10;

}  // namespace

CompressedSink::~CompressedSink() {
  ends_ = true;
  handle_.reset();  // passes on what it holds
}

Result<std::unique_ptr<CompressedSink>> CompressedSink::open(Sink& below, Compression compression) {
  std::unique_ptr<CompressedSink> sink(new CompressedSink(below));
  FERRY_TRY(sink->configure(compression));
  return sink;
}

Result<> CompressedSink::configure(Compression compression) {
  handle_.reset(::archive_write_new());
  if (!handle_) throw std::bad_alloc();
  ::archive* const handle = handle_.get();
  bool good = ::archive_write_set_format_raw(handle) == ARCHIVE_OK &&
              ::archive_write_set_bytes_per_block(handle, block) == ARCHIVE_OK &&
              ::archive_write_set_bytes_in_last_block(handle, 1) == ARCHIVE_OK;
  if (compression == Compression::zstd) {
    good = good && ::archive_write_add_filter_zstd(handle) == ARCHIVE_OK &&
           ::archive_write_set_filter_option(handle, "zstd", "compression-level", "3") == ARCHIVE_OK;
    // Without threads it is slower, and no worse.
    (void)::archive_write_set_filter_option(handle, "zstd", "threads", "2");
  } else if (compression == Compression::gzip) {
    good = good && ::archive_write_add_filter_gzip(handle) == ARCHIVE_OK;
  }
  const EntryHandle entry(::archive_entry_new());
  if (!entry) throw std::bad_alloc();
  ::archive_entry_set_filetype(entry.get(), AE_IFREG);
  good = good && ::archive_write_open2(handle, this, nullptr, &pass_on, nullptr, nullptr) == ARCHIVE_OK &&
         ::archive_write_header(handle, entry.get()) == ARCHIVE_OK;
  if (!good) return failure();
  return {};
}

/// Never fails as far as libarchive can see, which would not free what it has after that.
la_ssize_t CompressedSink::pass_on(::archive* /*handle*/, void* self, const void* bytes, std::size_t size) {
  auto& sink = *static_cast<CompressedSink*>(self);
  if (!sink.error_ && !sink.ends_) {
    auto written = sink.below_.write({static_cast<const char*>(bytes), size});
    if (!written) sink.error_ = std::move(written.error());
  }
  return static_cast<la_ssize_t>(size);
}

tl::unexpected<Error> CompressedSink::failure() {
  return error_ ? fail(error_->code, error_->message) : fail(Code::io, "compress: " + error_of(handle_.get()));
}

Result<> CompressedSink::write(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const la_ssize_t count = ::archive_write_data(handle_.get(), bytes.data(), bytes.size());
    if (count <= 0 || error_) return failure();
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<> CompressedSink::finish() {
  if (::archive_write_close(handle_.get()) != ARCHIVE_OK || error_) return failure();
  return {};
}

}  // namespace ferry::archive
