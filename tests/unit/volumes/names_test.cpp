#include "volumes/names.h"

#include <gtest/gtest.h>

namespace ferry::volumes {
namespace {

TEST(Names, AsTheEngineHasThem) {
  for (const auto* name : {"ab", "a.", "a-_.9", "9a", "Z9", "a..b"}) EXPECT_TRUE(check_name(name)) << name;
  EXPECT_TRUE(check_name(std::string(255, 'a')));
}

TEST(Names, NothingThatMeansSomethingInAPath) {
  for (const auto* name : {"", "a", ".", "..", ".a", "../a", "a/b", "a/", "/a", "-a", "_a", "a b", "a\n", "a:b", "ä"})
    EXPECT_EQ(check_name(name).error().code, Code::invalid_argument) << name;
  EXPECT_FALSE(check_name(std::string(256, 'a')));
  EXPECT_FALSE(check_name(std::string_view("ab\0c", 4)));
}

TEST(Names, AnonymousOnesAre64HexDigits) {
  EXPECT_TRUE(is_anonymous(std::string(64, 'f')));
  EXPECT_FALSE(is_anonymous(std::string(63, 'f')));
  EXPECT_FALSE(is_anonymous(std::string(65, 'f')));
  EXPECT_FALSE(is_anonymous(std::string(64, 'F')));
  EXPECT_FALSE(is_anonymous(std::string(63, 'f') + "g"));
}

}  // namespace
}  // namespace ferry::volumes
