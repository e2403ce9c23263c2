#include "sync/content.h"

#include "base/log.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

constexpr std::size_t longest_frame = block_size + 64;

std::uint64_t pages_in(const Extent& extent) { return (extent.end - extent.begin + page_size - 1) / page_size; }

bool names_an_extent(const Want& want, const std::vector<Entry>& entries) {
  return want.entry < entries.size() && entries[want.entry].type == Type::regular &&
         want.extent < extent_count(entries[want.entry].size);
}

bool comes_after(const Want& want, const Want& before) {
  return want.entry > before.entry || (want.entry == before.entry && want.extent > before.extent);
}

/// False if there are more than the extent has pages.
bool read_held(Reader& reader, Want& want, const Extent& extent) {
  const std::uint64_t count = reader.number();
  if (count > pages_in(extent) || (count != 0 && extent.end - extent.begin > largest_held_extent)) return false;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) want.held.push_back(reader.fixed64());
  return true;
}

}  // namespace

std::vector<Want> wants_of(std::span<const FileExtent> extents) {
  std::vector<Want> wants;
  wants.reserve(extents.size());
  for (const auto& each : extents) wants.push_back({each.entry, each.extent, {}});
  return wants;
}

void append_wants(std::string& out, std::uint64_t seed, std::span<const Want> wants, Compression compression) {
  Writer writer(out);
  writer.fixed64(seed);
  writer.byte(static_cast<std::uint8_t>(compression));
  writer.number(wants.size());
  for (const auto& want : wants) {
    writer.number(want.entry);
    writer.number(want.extent);
    writer.number(want.held.size());
    for (const std::uint64_t digest : want.held) writer.fixed64(digest);
  }
}

Result<Wants> read_wants(std::string_view bytes, const std::vector<Entry>& entries) {
  Reader reader(bytes);
  Wants read;
  read.seed = reader.fixed64();
  const std::uint8_t compression = reader.byte();
  if (compression > static_cast<std::uint8_t>(Compression::automatic))
    return fail(Code::unsupported, "the content request asks for a compression that this Ferry does not have");
  read.compression = static_cast<Compression>(compression);
  const std::uint64_t count = reader.number();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    Want want{reader.number32(), reader.number32(), {}};
    const bool fits = reader.ok() && names_an_extent(want, entries) &&
                      (read.wants.empty() || comes_after(want, read.wants.back())) &&
                      read_held(reader, want, extent_of(entries[want.entry].size, want.extent));
    if (!fits)
      return fail(Code::corrupt, "want " + std::to_string(i) + " of the content request names no file of the manifest");
    read.wants.push_back(std::move(want));
  }
  if (!reader.at_end()) return fail(Code::corrupt, "the content request is malformed");
  return read;
}

FrameDecoder::FrameDecoder(const std::vector<Entry>& entries, std::span<const Want> wants, FrameHandler& handler)
    : entries_(entries),
      wants_(wants),
      handler_(handler),
      records_(longest_compressed, [this](std::string_view body) { return record(body); }) {
  begin_want();
}

void FrameDecoder::begin_want() {
  left_ = {};
  if (at_ < wants_.size()) left_ = extent_of(entries_[wants_[at_].entry].size, wants_[at_].extent);
}

Result<> FrameDecoder::record(std::string_view body) {
  Reader reader(body);
  const auto kind = static_cast<FrameKind>(reader.byte());
  if (kind == FrameKind::compressed) return compressed(reader);
  return frame(kind, reader);
}

/// Whole frames, of the other kinds.
Result<> FrameDecoder::compressed(Reader& reader) {
  FERRY_ASSIGN(const std::string_view frames, decompressor_.decompress(reader.rest()));
  RecordDecoder records(longest_frame, [this](std::string_view body) {
    Reader inner(body);
    const auto kind = static_cast<FrameKind>(inner.byte());
    return frame(kind, inner);
  });
  FERRY_TRY(records.feed(frames));
  return records.finish();
}

Result<> FrameDecoder::frame(FrameKind kind, Reader& reader) {
  switch (kind) {
    case FrameKind::data: return data(reader);
    case FrameKind::hole: return hole(reader);
    case FrameKind::end: return end(reader);
    case FrameKind::failure: return read_failure(reader);
    case FrameKind::compressed: break;
  }
  return fail(Code::corrupt, "the peer sent a frame of an unknown kind");
}

Result<> FrameDecoder::data(Reader& reader) {
  const std::uint64_t offset = reader.number();
  const std::string_view payload = reader.rest();
  const bool fits = reader.ok() && at_ < wants_.size() && !payload.empty() && offset >= left_.begin &&
                    offset < left_.end && payload.size() <= left_.end - offset &&
                    payload.size() <= block_size - offset % block_size && fits_pages(offset, payload.size());
  if (!fits) return fail(Code::corrupt, "the peer sent content that was not asked for");
  left_.begin = offset + payload.size();
  return handler_.data(wants_[at_].entry, offset, payload);
}

/// Where pages are held, frames are of whole ones.
bool FrameDecoder::fits_pages(std::uint64_t offset, std::uint64_t length) const {
  return wants_[at_].held.empty() ||
         (offset % page_size == 0 && (length % page_size == 0 || offset + length == left_.end));
}

Result<> FrameDecoder::hole(Reader& reader) {
  const std::uint64_t offset = reader.number();
  const std::uint64_t length = reader.number();
  const bool fits = reader.at_end() && at_ < wants_.size() && !wants_[at_].held.empty() && length != 0 &&
                    offset >= left_.begin && offset < left_.end && length <= left_.end - offset &&
                    fits_pages(offset, length);
  if (!fits) return fail(Code::corrupt, "the peer sent a hole that was not asked for");
  left_.begin = offset + length;
  return handler_.hole(wants_[at_].entry, {offset, offset + length});
}

Result<> FrameDecoder::end(Reader& reader) {
  const std::uint8_t outcome = reader.byte();
  const Digest digest = reader.digest();
  const bool known = outcome >= static_cast<std::uint8_t>(Outcome::complete) &&
                     outcome <= static_cast<std::uint8_t>(Outcome::vanished);
  if (!reader.at_end() || !known || at_ >= wants_.size())
    return fail(Code::corrupt, "the peer ended a file that was not asked for");
  const Want& want = wants_[at_];
  ++at_;
  begin_want();
  return handler_.end(want, static_cast<Outcome>(outcome), digest);
}

Result<> FrameDecoder::finish() const {
  FERRY_TRY(records_.finish());
  if (at_ != wants_.size()) return fail(Code::corrupt, "the peer's answer lacks content that was asked for");
  return {};
}

}  // namespace ferry::sync
