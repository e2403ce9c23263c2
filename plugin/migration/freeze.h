#pragma once

#include <chrono>
#include <string>
#include <vector>

/// What the two ends of a copy of volumes in use say to each other about the moment in which nobody writes to them;
/// plain values. See Freezes, the source's end, and FreezeClient, the destination's.
namespace ferry::migration {

/// How containers are kept from writing for a moment.
enum class FreezeKind {
  pause,  ///< by the freezer of their cgroup: what is on disk is what a crash would leave
  stop,   ///< they end, and are started again
};

/// As the peer protocol and a record of Freezes have it.
inline const char* to_string(FreezeKind kind) { return kind == FreezeKind::pause ? "pause" : "stop"; }

struct FreezeRequest {
  std::vector<std::string> volumes;  ///< of the source, at least one, different ones
  FreezeKind kind = FreezeKind::pause;
  std::chrono::milliseconds longest{10'000};  ///< from when the first container is asked until the last one runs again
};

/// `begin` can be repeated, `beat` tells that it is still wanted.
enum class FreezeStep { begin, beat, end };

}  // namespace ferry::migration
