#include "sync/name.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace ferry::sync {
namespace {

TEST(Name, KeepsWhatItWasGiven) {
  for (const std::string& given : {std::string(), std::string("a"), std::string("a\0b", 3), std::string("\xff\n"),
                                   std::string(255, 'x'), std::string(256, 'x'), std::string(65535, 'x')}) {
    const Name name = given;
    EXPECT_EQ(name.str(), given);
    EXPECT_EQ(name.size(), given.size());
    EXPECT_EQ(name.empty(), given.empty());
    EXPECT_EQ(name.c_str()[given.size()], '\0');
    Name copy = name;
    EXPECT_EQ(copy, name);
    const Name moved = std::move(copy);
    EXPECT_EQ(moved, given);
    copy = moved;
    EXPECT_EQ(copy, given);
  }
}

TEST(Name, ComparesBytewise) {
  const std::vector<Name> ascending = {"", "A", "a", "a\x01", "aa", "b", "\xff"};
  for (std::size_t i = 0; i < ascending.size(); ++i)
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(ascending[i] < ascending[j], i < j);
      EXPECT_EQ(ascending[i] < ascending[j].view(), i < j);
      EXPECT_EQ(ascending[i] == ascending[j], i == j);
    }
}

}  // namespace
}  // namespace ferry::sync
