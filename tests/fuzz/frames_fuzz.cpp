#include <cstdlib>

#include "fuzz.h"
#include "sync/content.h"

namespace {

using namespace ferry::sync;

constexpr std::uint64_t sizes[] = {100, 0, 3 << 20};  // one extent each

/// Aborts if more comes through than was asked for.
class Judge : public FrameHandler {
 public:
  ferry::Result<> data(std::uint32_t entry, std::uint64_t offset, std::string_view payload) override {
    return check(entry, {offset, offset + payload.size()});
  }
  ferry::Result<> hole(std::uint32_t entry, Extent hole) override { return check(entry, hole); }
  ferry::Result<> check(std::uint32_t entry, const Extent& range) {
    if (entry != done_ + 1 || range.begin < end_ || range.end <= range.begin || range.end > sizes[entry - 1])
      std::abort();
    end_ = range.end;
    return {};
  }
  ferry::Result<> end(const Want& want, Outcome, const Digest&) override {
    if (want.entry != ++done_) std::abort();
    end_ = 0;
    return {};
  }

 private:
  std::uint32_t done_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Entry> entries(1);
  entries[0].type = Type::directory;
  std::vector<Want> wants;
  for (const std::uint64_t bytes : sizes) {
    wants.push_back({static_cast<std::uint32_t>(entries.size()), 0, std::vector<std::uint64_t>(bytes / page_size, 1)});
    entries.emplace_back().size = bytes;
  }
  Judge judge;
  FrameDecoder decoder(entries, wants, judge);
  if (ferry::test::feed_in_pieces(decoder, data, size)) (void)decoder.finish();
  return 0;
}
