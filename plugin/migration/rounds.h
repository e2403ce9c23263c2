#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace ferry::migration {

/// How often what containers write meanwhile is read before they stand still for the last round.
struct RoundLimits {
  unsigned most = 10;                 ///< rounds while they write; 1 to 100, see check()
  std::uint64_t max_downtime_ms = 0;  ///< for which the last round should last at most; 0: nobody has said so, 500
  bool strict = false;                ///< if it would last longer, there is none

  bool operator==(const RoundLimits&) const = default;
};

/// As a record and the peer protocol have them.
nlohmann::json to_json(const RoundLimits& limits);
/// Throws nlohmann::json::exception. What is none of Ferry's is refused by check(), which a peer's have to pass.
RoundLimits round_limits_of(const nlohmann::json& json);
Result<> check(const RoundLimits& limits);

/// Rounds while containers write, each of which reads what has changed since the one before has read it, and whether
/// one more makes the last one shorter, for which they stand still. A plain value.
class Rounds {
 public:
  Rounds() = default;
  explicit Rounds(RoundLimits limits) : limits_(limits) {}

  /// What containers did meanwhile.
  enum class Writes { go_on, none, held };
  /// One has ended, in which so many bytes have come, manifests included.
  void note(std::uint64_t bytes, std::chrono::milliseconds took, Writes writes) {
    if (all_.size() == most_kept) all_.erase(all_.begin());  // of those that were made while the source was waited for
    all_.push_back({bytes, took, writes});
  }

  /// Whether one more is of use: the last one would last too long yet, and the rounds become shorter, or their user has
  /// said how short it has to be; and there may be more.
  bool another() const;
  /// Once another() says no: Code::busy, with `strict`, if the last one would last too long; `unharmed`: what its user
  /// wants to hear then. Without it, that is logged.
  Result<> check(const std::string& unharmed) const;

  /// `rounds`: `bytes_sent`, `ms` and `frozen` of each; `dirty_bytes`: about as many have changed since the last one
  /// began, null before there were two; `predicted_downtime_ms`: as long as the last one would last now, null before
  /// there was one.
  nlohmann::json status() const;

 private:
  struct Round {
    std::uint64_t bytes;
    std::chrono::milliseconds took;
    Writes writes;
  };
  static constexpr std::size_t most_kept = 200;
  std::chrono::milliseconds wanted() const;
  bool shrinks() const;

  RoundLimits limits_{};
  std::vector<Round> all_{};
};

}  // namespace ferry::migration
