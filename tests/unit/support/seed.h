#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace ferry::test {

/// The seed of a test with random cases: FERRY_TEST_SEED, else another one each time. Say it with each failure
/// (SCOPED_TRACE, or SeededRandom), because with it the same cases come again.
inline std::uint64_t seed() {
  if (const char* given = std::getenv("FERRY_TEST_SEED")) return std::stoull(given);
  return std::random_device{}();
}

/// Random numbers that are the same for the same seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// A number from 0 to `limit` - 1.
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(engine_() % limit); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class Container>
  auto& pick(Container& from) {
    return from[below(from.size())];
  }
  std::string bytes(std::size_t count) {
    std::string text(count, '\0');
    for (auto& c : text) c = static_cast<char>(engine_());
    return text;
  }

 private:
  std::mt19937_64 engine_;
};

/// Random numbers of a test, whose failures say the seed for as long as this object lives.
class SeededRandom : public Random {
 public:
  SeededRandom() : SeededRandom(seed()) {}

 private:
  explicit SeededRandom(std::uint64_t seed)
      : Random(seed), trace_(__FILE__, __LINE__, "FERRY_TEST_SEED=" + std::to_string(seed)) {}
  const testing::ScopedTrace trace_;
};

}  // namespace ferry::test
