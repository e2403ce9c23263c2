#include "sync/pace.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace ferry::sync {
namespace {

double seconds_since(Deadline start) { return std::chrono::duration<double>(SteadyClock::now() - start).count(); }

TEST(Pace, HoldsTheRateOverAllThreadsTogether) {
  const std::atomic<bool> cancelled{false};
  Pace pace(10'000'000, cancelled);
  const auto start = SteadyClock::now();
  const auto spend = [&] {
    for (int i = 0; i < 100; ++i) pace.spend(70'000);
  };
  std::thread other(spend);
  spend();
  other.join();
  EXPECT_GT(seconds_since(start), 1.4 - 0.25) << "14 MB, of which 0.2 s are credit";
}

TEST(Pace, NoLimitNeverWaits) {
  const std::atomic<bool> cancelled{false};
  Pace pace(0, cancelled);
  pace.spend(UINT64_MAX);
  pace.spend(UINT64_MAX);
}

TEST(Pace, CancellingEndsTheWait) {
  std::atomic<bool> cancelled{false};
  Pace pace(100'000, cancelled);
  auto spending = std::async(std::launch::async, [&] { pace.spend(3'600ULL * 100'000); });  // an hour
  EXPECT_EQ(spending.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  cancelled = true;
  EXPECT_EQ(spending.wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

}  // namespace
}  // namespace ferry::sync
