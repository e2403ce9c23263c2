#include "migration/rounds.h"

#include <gmock/gmock.h>

namespace ferry::migration {
namespace {

using std::chrono::milliseconds;
using Writes = Rounds::Writes;

Rounds after(RoundLimits limits, const std::vector<int>& took) {
  Rounds rounds(limits);
  for (const int ms : took) rounds.note(1000, milliseconds(ms), Writes::go_on);
  return rounds;
}

TEST(Rounds, FollowEachOtherUntilTheLastOneIsShort) {
  EXPECT_TRUE(after({}, {}).another());
  EXPECT_TRUE(after({}, {4000}).another());
  EXPECT_TRUE(after({}, {4000, 3200}).another());
  EXPECT_FALSE(after({}, {4000, 500}).another());
  EXPECT_TRUE(after({10, 400, false}, {4000, 500}).another());
}

TEST(Rounds, OrDoNotBecomeShorter) {
  EXPECT_FALSE(after({}, {4000, 3201}).another());
  EXPECT_TRUE(after({10, 400, false}, {4000, 3201}).another()) << "somebody has said how short";
}

TEST(Rounds, OrThereWereEnough) {
  EXPECT_FALSE(after({1, 0, false}, {4000}).another());
  EXPECT_FALSE(after({3, 400, false}, {4000, 4000, 4000}).another());
}

TEST(Rounds, OnlyIfTheirUserIsStrictIsThereNoLastOne) {
  EXPECT_TRUE(after({1, 400, false}, {4000}).check("unharmed"));
  EXPECT_TRUE(after({1, 400, true}, {400}).check("unharmed"));
  const auto refused = after({2, 400, true}, {4000, 3900}).check("unharmed");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy);
  for (const char* part : {"3900 ms", "2 of them", "as much is written", "max-downtime is 400 ms", "unharmed"})
    EXPECT_THAT(refused.error().message, testing::HasSubstr(part));
}

TEST(Rounds, SayWhatIsToBeExpected) {
  Rounds rounds;
  EXPECT_TRUE(rounds.status()["predicted_downtime_ms"].is_null());
  rounds.note(8000, milliseconds(4000), Writes::go_on);
  EXPECT_TRUE(rounds.status()["dirty_bytes"].is_null()) << "nobody knows yet how much is written";
  EXPECT_EQ(rounds.status()["predicted_downtime_ms"], 4000);
  rounds.note(2000, milliseconds(1000), Writes::go_on);
  EXPECT_EQ(rounds.status()["dirty_bytes"], 500);
  EXPECT_EQ(rounds.status()["predicted_downtime_ms"], 1000);
  rounds.note(10, milliseconds(20), Writes::held);
  const auto status = rounds.status();
  EXPECT_TRUE(status["predicted_downtime_ms"].is_null() && status["dirty_bytes"].is_null());
  EXPECT_EQ(status["rounds"][2], nlohmann::json({{"bytes_sent", 10}, {"ms", 20}, {"frozen", true}}));
}

TEST(Rounds, LimitsOfAPeerAreChecked) {
  EXPECT_TRUE(check(RoundLimits{}));
  for (const RoundLimits& bad :
       {RoundLimits{0, 0, false}, RoundLimits{101, 0, false}, RoundLimits{1, UINT64_MAX, false}})
    EXPECT_FALSE(check(bad));
}

}  // namespace
}  // namespace ferry::migration
