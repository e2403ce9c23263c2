#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ferry::sync {

/// What the sender says at the end of a round.
struct Seal {
  static constexpr std::size_t most_examples = 20;

  std::uint64_t changed = 0;            ///< entries that are not what the manifest says any more; see Sender::seal
  std::vector<std::uint32_t> examples;  ///< the first of them, ascending, `most_examples` at most
  /// "idle" if nobody had the volume mounted read-write since the source was opened, else "live".
  std::string consistency;
  std::string warning;  ///< empty, or what stands behind the consistency
};

}  // namespace ferry::sync
