#include <cstdlib>

#include "fuzz.h"
#include "sync/content.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::sync;
  std::vector<Entry> entries(20);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].type = i % 3 == 0 ? Type::directory : Type::regular;
    entries[i].size = i << 22;
  }
  const auto read = read_wants(ferry::test::text(data, size), entries);
  if (!read) return 0;
  const auto& wants = read->wants;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const Want& want = wants[i];
    if (want.entry >= entries.size() || entries[want.entry].type != Type::regular ||
        want.extent >= extent_count(entries[want.entry].size))
      std::abort();
    const Extent extent = extent_of(entries[want.entry].size, want.extent);
    if (want.held.size() > (extent.end - extent.begin + page_size - 1) / page_size) std::abort();
    if (i > 0 && std::pair(want.entry, want.extent) <= std::pair(wants[i - 1].entry, wants[i - 1].extent)) std::abort();
  }
  return 0;
}
