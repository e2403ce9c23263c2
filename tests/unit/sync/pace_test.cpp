#include "sync/pace.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "sync/migration_fixture.h"

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

/// An import with a limit.
class LimitedImport : public MigrationTest {};

TEST_F(LimitedImport, KeepsToItWithinFivePercent) {
  constexpr std::uint64_t seconds = 5;
  options_.limit = 16'000'000;
  for (std::uint64_t i = 0; i < 20; ++i)
    write(source_ / std::to_string(i), std::string(seconds * options_.limit / 20, static_cast<char>('a' + i)));
  let_ctimes_settle();
  auto source = open_source();
  Deadline began{};
  std::uint64_t before = 0;
  double rate = 0;
  source.after_manifest = [&] {
    before = progress_.bytes_sent;
    began = SteadyClock::now();
  };
  source.on_seal = [&]() -> Result<> {
    rate = static_cast<double>(progress_.bytes_sent - before) / seconds_since(began);
    return {};
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_GT(rate, 0.95 * static_cast<double>(options_.limit));
  EXPECT_LT(rate, 1.05 * static_cast<double>(options_.limit));
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
