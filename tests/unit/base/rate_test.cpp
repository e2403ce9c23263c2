#include "base/rate.h"

#include <gmock/gmock.h>

namespace ferry {
namespace {

using ::testing::HasSubstr;

TEST(Rate, UnitsArePowersOfThousandOrOf1024) {
  EXPECT_EQ(parse_rate("100000"), 100'000U);
  EXPECT_EQ(parse_rate("50M"), 50'000'000U);
  EXPECT_EQ(parse_rate("50mb"), 50'000'000U);
  EXPECT_EQ(parse_rate("200k"), 200'000U);
  EXPECT_EQ(parse_rate("1000G"), 1'000'000'000'000U);
  EXPECT_EQ(parse_rate("2MiB"), 2U << 20);
  EXPECT_EQ(parse_rate("1GiB"), 1U << 30);
}

TEST(Rate, EverythingElseIsRefusedWithWhatWouldBeRight) {
  for (const auto* text : {"", "M", "0", "99K", "-5", "+5M", "5 M", "5MM", "1.5M", "0x10000000", "1001G", "5T",
                           "99999999999999999999", "18446744073709551615G", "5M\n", "inf"}) {
    const auto rate = parse_rate(text);
    ASSERT_FALSE(rate) << text;
    EXPECT_EQ(rate.error().code, Code::invalid_argument);
    EXPECT_THAT(rate.error().message, HasSubstr("100K to 1000G"));
  }
}

}  // namespace
}  // namespace ferry
