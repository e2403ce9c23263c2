#include "peer/turns.h"

#include <gtest/gtest.h>

#include <thread>

namespace ferry::peer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Deadline soon() { return after(milliseconds(20)); }

TEST(Turns, ManyReadAndOneWalks) {
  Turns turns;
  auto first = turns.read(soon());
  auto second = turns.read(soon());
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(turns.walk(soon()));
  first.reset();
  EXPECT_FALSE(turns.walk(soon()));
  second.reset();
  const auto walk = turns.walk(soon());
  EXPECT_TRUE(walk);
  EXPECT_FALSE(turns.walk(soon()));
  EXPECT_FALSE(turns.read(soon()));
}

TEST(Turns, AWaitEndsWithTheTurnThatItWaitsForWhateverThreadEndsIt) {
  Turns turns;
  auto walk = turns.walk(soon());
  std::thread other([&] { walk.reset(); });
  EXPECT_TRUE(turns.read(after(seconds(20))));
  other.join();
}

}  // namespace
}  // namespace ferry::peer
