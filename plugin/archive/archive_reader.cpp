#include "archive/archive_reader.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "archive/pax.h"

namespace ferry::archive {

namespace {

/// Of what is no content, so many bytes may come between two entries: libarchive keeps a sparse map in
/// many times as much memory.
constexpr std::uint64_t most_for_header = 16U << 20;

/// Behind the last entry: padding.
constexpr std::uint64_t most_behind = 1U << 30;

tl::unexpected<Error> not_an_archive(const std::string& why) {
  return fail(Code::corrupt,
              "this is no archive that Ferry can read (tar or cpio, compressed or not), or it is damaged: " + why);
}

}  // namespace

Result<std::unique_ptr<ArchiveReader>> ArchiveReader::open(Source& source, const Progress& progress) {
  std::unique_ptr<ArchiveReader> reader(new ArchiveReader(progress));
  FERRY_ASSIGN(reader->source_, DecompressedSource::open(source, progress));
  FERRY_TRY(reader->find_front_matter());
  FERRY_TRY(reader->configure());
  return reader;
}

Result<> ArchiveReader::find_front_matter() {
  std::size_t needed = 0;
  std::optional<std::string_view> found;
  while (found = archive::find_front_matter(begin_, needed), begin_.size() < needed) {
    FERRY_ASSIGN(const auto bytes, source_->next());
    if (bytes.empty()) return {};  // too short to be an archive
    begin_.append(bytes.data(), bytes.size());
  }
  if (!found) return {};
  front_text_ = *found;
  FERRY_ASSIGN(front_, decode(front_text_));
  return {};
}

Result<> ArchiveReader::configure() {
  handle_.reset(::archive_read_new());
  if (!handle_) throw std::bad_alloc();
  ::archive* const handle = handle_.get();
  bool good = ::archive_read_support_format_tar(handle) == ARCHIVE_OK;
  if (front_) {
    // The digests are in another archive behind the first.
    good = good && ::archive_read_set_format_option(handle, "tar", "read_concatenated_archives", "1") == ARCHIVE_OK;
  } else {
    good = good && ::archive_read_support_format_cpio(handle) == ARCHIVE_OK;
  }
  good = good && ::archive_read_open2(handle, this, nullptr, &fetch, nullptr, nullptr) == ARCHIVE_OK;
  if (good) return {};
  return error_ ? fail(error_->code, error_->message) : not_an_archive(error_of(handle));
}

la_ssize_t ArchiveReader::fetch(::archive* handle, void* self, const void** bytes) {
  auto& reader = *static_cast<ArchiveReader*>(self);
  const auto piece = reader.fetch();
  if (!piece) {
    reader.error_ = piece.error();
    ::archive_set_error(handle, EIO, "%s", piece.error().message.c_str());
    return -1;
  }
  *bytes = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

Result<std::span<const char>> ArchiveReader::fetch() {
  if (for_something_else_ > most_)
    return fail(Code::corrupt, "the archive has more than " + std::to_string(most_) + " bytes that are no entry's");
  std::span<const char> piece;
  if (!begun_) {
    begun_ = true;
    piece = begin_;
  }
  if (piece.empty()) {
    FERRY_ASSIGN(piece, source_->next());
  }
  for_something_else_ += in_content_ ? 0 : piece.size();
  return piece;
}

bool ArchiveReader::is_tar() const {
  return (::archive_format(handle_.get()) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
}

/// A name that is not ASCII is not of the C locale's character set, and stays as it is: bytes, as the kernel has it.
bool ArchiveReader::is_harmless_warning() const {
  return is_tar() && !front_ && error_of(handle_.get()).ends_with("can't be converted from UTF-8 to current locale.");
}

tl::unexpected<Error> ArchiveReader::failure() {
  return error_ ? fail(error_->code, error_->message)
                : fail(Code::corrupt, "the archive is damaged or incomplete: " + error_of(handle_.get()));
}

Result<::archive_entry*> ArchiveReader::next() {
  FERRY_TRY(progress_.check());
  in_content_ = false;
  for_something_else_ = 0;
  most_ = most_for_header;
  ::archive_entry* entry = nullptr;
  const int result = ::archive_read_next_header(handle_.get(), &entry);
  in_content_ = true;
  if (error_) return failure();
  if (result == ARCHIVE_OK || (result == ARCHIVE_WARN && is_harmless_warning())) return entry;
  if (result != ARCHIVE_EOF) return failure();
  FERRY_TRY(check_end());
  return nullptr;
}

/// libarchive takes the end of the bytes for the end of a tar archive.
Result<> ArchiveReader::check_end() {
  const auto end = ::archive_filter_bytes(handle_.get(), 0);
  const auto searched_from = ::archive_read_header_position(handle_.get());
  if (is_tar() && end - searched_from < static_cast<la_int64_t>(tar_block))
    return fail(Code::corrupt, "the archive ends without the mark of its end: it is incomplete");
  return skip_rest();
}

/// To find damage in what is compressed.
Result<> ArchiveReader::skip_rest() {
  in_content_ = false;
  most_ = most_behind;
  while (true) {
    FERRY_ASSIGN(const auto piece, fetch());
    if (piece.empty()) return {};
  }
}

Result<std::optional<ArchiveReader::Block>> ArchiveReader::read() {
  FERRY_TRY(progress_.check());
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  const int result = ::archive_read_data_block(handle_.get(), &bytes, &size, &offset);
  if (error_) return failure();
  if (result == ARCHIVE_EOF) return std::nullopt;
  if (result != ARCHIVE_OK || offset < 0) return failure();
  return Block{static_cast<std::uint64_t>(offset), {static_cast<const char*>(bytes), size}};
}

std::string ArchiveReader::format() const {
  const char* name = ::archive_format_name(handle_.get());
  return std::string(name != nullptr ? name : "unknown") + ", " + source_->compression();
}

}  // namespace ferry::archive
