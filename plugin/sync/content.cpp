#include "sync/content.h"

#include "base/log.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

constexpr std::size_t longest_frame = block_size + 64;

}  // namespace

void append_wants(std::string& out, std::span<const Want> wants) {
  Writer writer(out);
  writer.number(wants.size());
  for (const auto& want : wants) {
    writer.number(want.entry);
    writer.number(want.offset);
  }
}

Result<std::vector<Want>> read_wants(std::string_view bytes, const std::vector<Entry>& entries) {
  Reader reader(bytes);
  const std::uint64_t count = reader.number();
  std::vector<Want> wants;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    const Want want{reader.number32(), reader.number()};
    const bool fits = want.entry < entries.size() && entries[want.entry].type == Type::regular &&
                      want.offset <= entries[want.entry].size && want.offset % block_size == 0 &&
                      (wants.empty() || want.entry > wants.back().entry);
    if (!fits)
      return fail(Code::corrupt, "want " + std::to_string(i) + " of the content request names no file of the manifest");
    wants.push_back(want);
  }
  if (!reader.at_end()) return fail(Code::corrupt, "the content request is malformed");
  return wants;
}

FrameDecoder::FrameDecoder(const std::vector<Entry>& entries, std::span<const Want> wants, FrameHandler& handler)
    : entries_(entries),
      wants_(wants),
      handler_(handler),
      records_(longest_frame, [this](std::string_view body) { return record(body); }) {
  if (!wants_.empty()) offset_ = wants_[0].offset;
}

Result<> FrameDecoder::record(std::string_view body) {
  Reader reader(body);
  switch (static_cast<FrameKind>(reader.byte())) {
    case FrameKind::data: return data(reader);
    case FrameKind::end: return end(reader);
    case FrameKind::failure: return read_failure(reader);
  }
  return fail(Code::corrupt, "the peer sent a frame of an unknown kind");
}

Result<> FrameDecoder::data(Reader& reader) {
  const std::uint64_t offset = reader.number();
  const Digest digest = reader.digest();
  const std::string_view payload = reader.rest();
  const bool fits = reader.ok() && at_ < wants_.size() && !payload.empty() && payload.size() <= block_size &&
                    offset >= offset_ && offset <= entries_[wants_[at_].entry].size &&
                    payload.size() <= entries_[wants_[at_].entry].size - offset;
  if (!fits) return fail(Code::corrupt, "the peer sent content that was not asked for");
  offset_ = offset + payload.size();
  return handler_.data(wants_[at_].entry, offset, digest, payload);
}

Result<> FrameDecoder::end(Reader& reader) {
  const std::uint8_t outcome = reader.byte();
  const Digest digest = reader.digest();
  const bool known = outcome >= static_cast<std::uint8_t>(Outcome::complete) &&
                     outcome <= static_cast<std::uint8_t>(Outcome::vanished);
  if (!reader.at_end() || !known || at_ >= wants_.size())
    return fail(Code::corrupt, "the peer ended a file that was not asked for");
  const std::uint32_t entry = wants_[at_].entry;
  ++at_;
  if (at_ < wants_.size()) offset_ = wants_[at_].offset;
  return handler_.end(entry, static_cast<Outcome>(outcome), digest);
}

Result<> FrameDecoder::finish() const {
  FERRY_TRY(records_.finish());
  if (at_ != wants_.size()) return fail(Code::corrupt, "the peer's answer lacks content that was asked for");
  return {};
}

}  // namespace ferry::sync
