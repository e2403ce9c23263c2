#include "sync/xattr_sets.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ferry::sync {
namespace {

Entry labelled(const std::string& label, const std::string& target = "") {
  Entry entry;
  entry.set_extra({.target = target, .xattrs = {{"security.selinux", label}, {"user.long", std::string(1000, 'x')}}});
  return entry;
}

TEST(XattrSets, EqualOnesAreThereOnce) {
  XattrSets sets;
  Entry first = labelled("a");
  EXPECT_GT(sets.share(first), 1000U);
  Entry same = labelled("a");
  EXPECT_EQ(sets.share(same), 0U);
  EXPECT_EQ(&*first.extra().xattrs.begin(), &*same.extra().xattrs.begin());
  Entry other = labelled("b");
  EXPECT_GT(sets.share(other), 1000U);
  EXPECT_NE(other.extra().xattrs, same.extra().xattrs);
}

TEST(XattrSets, WhatElseAnEntryHasIsItsOwn) {
  XattrSets sets;
  Entry link = labelled("a", "target");
  EXPECT_GT(sets.share(link), 1000U);
  Entry file = labelled("a");
  EXPECT_EQ(sets.share(file), 0U);
  Entry late = labelled("a");
  late.set_mtime({INT64_MAX, 0});
  EXPECT_LT(sets.share(late), 200U);
  EXPECT_GT(late.memory_elsewhere(), 1000U);
  EXPECT_EQ(link.extra().target, "target");
  EXPECT_EQ(file.extra().target, "");
  EXPECT_EQ(late.mtime(), (Timestamp{INT64_MAX, 0}));
  for (const auto* entry : {&link, &file, &late}) EXPECT_EQ(entry->extra().xattrs, labelled("a").extra().xattrs);
}

TEST(XattrSets, WhatChangesIsNotWhatOthersHave) {
  XattrSets sets;
  std::vector<Entry> entries(3, labelled("a"));
  for (auto& entry : entries) sets.share(entry);
  entries[0].set_extra({});
  entries[1].set_extra(labelled("b").extra());
  EXPECT_EQ(entries[0].memory_elsewhere(), 0U);
  EXPECT_EQ(entries[1].extra(), labelled("b").extra());
  EXPECT_EQ(entries[2].extra(), labelled("a").extra());
}

TEST(XattrSets, ManyDifferentOnesDoNoHarm) {
  XattrSets sets;
  std::vector<Entry> entries;
  for (int i = 0; i < 10'000; ++i) {
    entries.push_back(labelled(std::to_string(i)));
    EXPECT_GT(sets.share(entries.back()), 1000U);
    entries.push_back(labelled("of many"));
    sets.share(entries.back());
  }
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(entries[2 * i].extra(), labelled(std::to_string(i)).extra());
  Entry last = labelled("of many");
  EXPECT_EQ(sets.share(last), 0U);
}

TEST(XattrSets, AnEntryWithoutAnyTakesNothing) {
  XattrSets sets;
  Entry entry;
  EXPECT_EQ(sets.share(entry), 0U);
  entry.set_extra({.target = "target"});
  EXPECT_EQ(sets.share(entry), entry.memory_elsewhere());
}

}  // namespace
}  // namespace ferry::sync
