#include "sync/estimate.h"

#include <gtest/gtest.h>

#include "base/time.h"
#include "support/mounts.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

class EstimateTest : public MigrationTest {
 protected:
  void SetUp() override {
    MigrationTest::SetUp();
    fs::create_directories(scratch_);
    for (int i = 0; i < 16; ++i) write(source_ / std::to_string(i), std::string(4U << 20, static_cast<char>('a' + i)));
  }

  Result<Estimate> estimate() {
    auto source = open_source();
    source.on_content = [this](std::string& piece) -> Result<> {
      came_ += piece.size();
      return {};
    };
    return sync::estimate(source, options_, scratch_, cancelled_);
  }

  fs::path scratch_ = directory_ / "scratch";
  std::uint64_t came_ = 0;
};

TEST_F(EstimateTest, KeepsToTheLimitAndPredictsByIt) {
  options_.limit = 8'000'000;
  const auto began = SteadyClock::now();
  const auto estimated = estimate();
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - began).count();
  ASSERT_TRUE(estimated) << estimated.error().message;
  EXPECT_LE(static_cast<double>(came_), 1.06 * static_cast<double>(options_.limit) * (seconds + 0.1));
  EXPECT_LE(came_, options_.limit + (5U << 20));
  const double least = static_cast<double>(estimated->bytes_to_send) / static_cast<double>(options_.limit);
  EXPECT_EQ(estimated->bytes_to_send, 64U << 20);
  EXPECT_GE(estimated->seconds, 0.95 * least);
  EXPECT_LE(estimated->seconds, 1.05 * least + seconds);
}

TEST_F(EstimateTest, HolesAreNotSent) {
  fs::remove_all(source_);
  fs::create_directories(source_);
  write(source_ / "sparse", std::string(64U << 10, 'x'));
  fs::resize_file(source_ / "sparse", 100ULL << 30);
  const auto estimated = estimate();
  ASSERT_TRUE(estimated) << estimated.error().message;
  EXPECT_EQ(estimated->bytes_to_send, 64U << 10);
}

TEST_F(EstimateTest, SaysThatThereIsTooLittleSpace) {
  const auto small = test::PrivateMount::tmpfs(scratch_, "size=8m");
  const auto estimated = estimate();
  ASSERT_FALSE(estimated);
  EXPECT_EQ(estimated.error().code, Code::no_space);
  EXPECT_THAT(estimated.error().message, testing::HasSubstr(std::to_string(64U << 20) + " more bytes are needed"));
  EXPECT_EQ(came_, 0U);
}

TEST_F(EstimateTest, SaysThatThereAreTooFewInodes) {
  const auto small = test::PrivateMount::tmpfs(scratch_, "size=1g,nr_inodes=10");
  const auto estimated = estimate();
  ASSERT_FALSE(estimated);
  EXPECT_EQ(estimated.error().code, Code::no_space);
  EXPECT_THAT(estimated.error().message, testing::HasSubstr("too few inodes"));
}

}  // namespace
}  // namespace ferry::sync
