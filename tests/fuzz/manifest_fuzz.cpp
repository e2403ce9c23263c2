#include <cstdlib>

#include "fuzz.h"
#include "sync/manifest.h"

/// Whatever is accepted is a tree in which nothing leads out.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::sync;
  ManifestDecoder decoder(10'000);
  if (!ferry::test::feed_in_pieces(decoder, data, size)) return 0;
  const auto manifest = decoder.finish();
  if (!manifest) return 0;
  for (std::size_t i = 1; i < manifest->entries.size(); ++i) {
    const Entry& entry = manifest->entries[i];
    if (entry.name.empty() || entry.name == "." || entry.name == ".." ||
        entry.name.view().find('/') != std::string_view::npos)
      std::abort();
    if (entry.parent >= i || manifest->entries[entry.parent].type != Type::directory) std::abort();
    if (entry.type == Type::hard_link && (entry.link >= i || manifest->entries[entry.link].type == Type::directory))
      std::abort();
  }
  return 0;
}
