#include "sync/patch.h"

#include "sync/wire.h"

namespace ferry::sync {

void Patch::add(const Extent& range, bool hole) {
  if (!changes_.empty() && changes_.back().range.end == range.begin && changes_.back().hole == hole)
    changes_.back().range.end = range.end;
  else
    changes_.push_back({range, hole});
}

/// A change is the number of bytes since the one before, then its length, of which the lowest bit more tells a hole.
std::string Patch::encode() const {
  std::string bytes;
  Writer writer(bytes);
  std::uint64_t at = 0;
  for (const auto& change : changes_) {
    writer.number(change.range.begin - at);
    writer.number((change.range.end - change.range.begin) << 1 | (change.hole ? 1 : 0));
    at = change.range.end;
  }
  return bytes;
}

Result<Patch> Patch::decode(std::string_view bytes, const Extent& extent) {
  Patch patch;
  Reader reader(bytes);
  std::uint64_t at = 0;
  while (!reader.at_end()) {
    const std::uint64_t skipped = reader.number();
    const std::uint64_t length = reader.number();
    const bool fits = reader.ok() && skipped <= extent.end - at && at + skipped >= extent.begin && length >> 1 != 0 &&
                      length >> 1 <= extent.end - at - skipped;
    if (!fits) return fail(Code::corrupt, "a patch is malformed");
    patch.changes_.push_back({{at + skipped, at + skipped + (length >> 1)}, (length & 1) != 0});
    at = patch.changes_.back().range.end;
  }
  return patch;
}

}  // namespace ferry::sync
