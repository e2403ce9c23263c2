#include <cstdlib>

#include "fuzz.h"
#include "volumes/record.h"

/// A record that is read can be written, and read again as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::volumes;
  const auto record = decode(std::string(ferry::test::text(data, size)), "pgdata");
  if (!record) return 0;
  const auto again = decode(encode(*record), "pgdata");
  if (!again || encode(*again) != encode(*record)) std::abort();
  return 0;
}
