#include "sync/name.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace ferry::sync {
namespace {

TEST(Name, KeepsWhatItWasGiven) {
  const std::vector<std::string> all = {
      "", "a", std::string("a\0b", 3), "\xff\n", std::string(255, 'x'), std::string(256, 'x'), std::string(65535, 'x')};
  Names names;
  std::vector<Name> made;
  made.reserve(all.size());
  for (const auto& given : all) made.push_back(names.add(given));
  const Names elsewhere = std::move(names);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Name name = made[i];
    EXPECT_EQ(name.str(), all[i]);
    EXPECT_EQ(name.size(), all[i].size());
    EXPECT_EQ(name.empty(), all[i].empty());
    EXPECT_EQ(name.c_str()[all[i].size()], '\0');
  }
}

TEST(Name, StaysWhereItIsHoweverManyFollow) {
  Names names;
  std::vector<Name> made;
  for (int i = 0; i < 100'000; ++i) made.push_back(names.add(std::to_string(i)));
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(made[i], std::to_string(i));
}

TEST(Name, ComparesBytewise) {
  Names names;
  std::vector<Name> ascending;
  for (const char* each : {"", "A", "a", "a\x01", "aa", "b", "\xff"}) ascending.push_back(names.add(each));
  for (std::size_t i = 0; i < ascending.size(); ++i)
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(ascending[i] < ascending[j], i < j);
      EXPECT_EQ(ascending[i] < ascending[j].view(), i < j);
      EXPECT_EQ(ascending[i] == ascending[j], i == j);
    }
}

}  // namespace
}  // namespace ferry::sync
