#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the two ends of a copy of volumes in use say to each other about the moment in which nobody writes to them;
/// plain values. See Freezes, the source's end, and FreezeClient, the destination's.
namespace ferry::migration {

/// How containers are kept from writing for a moment.
enum class FreezeKind {
  pause,  ///< by the freezer of their cgroup: what is on disk is what a crash would leave
  stop,   ///< they end, and are started again
  watch,  ///< they are not: it is found out whether nobody has written all the time
};

/// As the peer protocol and a record of Freezes have it.
inline const char* to_string(FreezeKind kind) {
  switch (kind) {
    case FreezeKind::pause: return "pause";
    case FreezeKind::stop: return "stop";
    case FreezeKind::watch: break;
  }
  return "watch";
}
inline std::optional<FreezeKind> freeze_kind_of(std::string_view name) {
  for (const auto kind : {FreezeKind::pause, FreezeKind::stop, FreezeKind::watch})
    if (name == to_string(kind)) return kind;
  return std::nullopt;
}

struct FreezeRequest {
  std::vector<std::string> volumes;  ///< of the source, at least one, different ones
  FreezeKind kind = FreezeKind::pause;
  std::chrono::milliseconds longest{10'000};  ///< from when it is asked for until they begin to go on; of
                                              ///< FreezeKind::watch without meaning
};

/// `begin` can be repeated, `beat` tells that it is still wanted.
enum class FreezeStep { begin, beat, end };

}  // namespace ferry::migration
