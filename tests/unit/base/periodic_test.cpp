#include "base/periodic.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/time.h"

namespace ferry {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Periodic, RunsAgainAndAgain) {
  std::atomic<int> runs{0};
  const Periodic periodic(milliseconds(1), [&] { ++runs; });
  const Deadline deadline = after(seconds(20));
  while (runs < 3 && SteadyClock::now() < deadline) std::this_thread::yield();
  EXPECT_GE(runs, 3);
}

TEST(Periodic, EndsAtOnceWithoutHavingRun) {
  std::atomic<int> runs{0};
  const auto start = SteadyClock::now();
  {
    const Periodic periodic(hours(1), [&] { ++runs; });
  }
  EXPECT_LT(SteadyClock::now() - start, seconds(5));
  EXPECT_EQ(runs, 0);
}

}  // namespace
}  // namespace ferry
