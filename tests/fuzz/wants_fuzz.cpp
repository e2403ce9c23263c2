#include <cstdlib>

#include "fuzz.h"
#include "sync/content.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::sync;
  std::vector<Entry> entries(20);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].type = i % 3 == 0 ? Type::directory : Type::regular;
    entries[i].size = i << 20;
  }
  const auto wants = read_wants(ferry::test::text(data, size), entries);
  if (!wants) return 0;
  for (std::size_t i = 0; i < wants->size(); ++i) {
    const Want& want = (*wants)[i];
    if (want.entry >= entries.size() || entries[want.entry].type != Type::regular ||
        want.offset > entries[want.entry].size)
      std::abort();
    if (i > 0 && want.entry <= (*wants)[i - 1].entry) std::abort();
  }
  return 0;
}
