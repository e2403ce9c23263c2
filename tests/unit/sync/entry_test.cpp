#include "sync/entry.h"

#include <gtest/gtest.h>

#include <limits>

namespace ferry::sync {

void PrintTo(const Timestamp& time, std::ostream* out) { *out << time.s << " s, " << time.ns << " ns"; }

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

TEST(Entry, HoldsAnyTime) {
  constexpr std::int64_t in_2262 = most / 1'000'000'000;
  Entry entry;
  EXPECT_EQ(entry.mtime(), Timestamp{});
  for (const std::int64_t s : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{-1'234'567'890}, in_2262 - 1, in_2262,
                               in_2262 + 1, -in_2262, -in_2262 - 1, -in_2262 - 2, most, least}) {
    for (const std::uint32_t ns : {0U, 1U, 999'999'999U, 1'000'000'000U, UINT32_MAX}) {
      entry.set_mtime({s, ns});
      EXPECT_EQ(entry.mtime(), (Timestamp{s, ns}));
    }
  }
}

TEST(Entry, HoldsAnyAmountOfData) {
  Entry entry;
  EXPECT_EQ(entry.data(), 0U);
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{512}, std::uint64_t{1} << 20, (std::uint64_t{1} << 20) + 511,
        (std::uint64_t{1} << 20) + 513, (std::uint64_t{1} << 26) + 7, std::uint64_t{1} << 62}) {
    for (const std::uint64_t data : {size, size - 1, size - 254, size - 255, size - 256, size - 511, size - 512,
                                     size - 65'535, size - 65'536, size - (32U << 20) + 512, size - (32U << 20),
                                     size - (32U << 20) - 512, size / 2, std::uint64_t{0}, size + 1, size + 512}) {
      entry.size = size;
      entry.set_data(data);
      EXPECT_EQ(entry.data(), data) << "of " << size;
    }
  }
}

TEST(Entry, TakesNoMemoryElsewhereForHoles) {
  Entry entry;
  entry.size = (20 << 20) + 7;
  for (const std::uint64_t data : {std::uint64_t{0}, std::uint64_t{4096}, entry.size - 60'000, entry.size}) {
    entry.set_data(data);
    EXPECT_EQ(entry.memory_elsewhere(), 0U) << data;
  }
}

TEST(Entry, TakesMemoryElsewhereForWhatIsRareOnly) {
  Entry entry;
  entry.size = 1 << 30;
  entry.set_data(entry.size - 100);
  entry.set_mtime({1'700'000'000, 999'999'999});
  entry.set_extra({});
  EXPECT_EQ(entry.memory_elsewhere(), 0U);

  entry.set_data(0);
  entry.set_mtime({most, 0});
  entry.set_extra({.xattrs = {{"user.a", std::string(1000, 'x')}}});
  EXPECT_GT(entry.memory_elsewhere(), 1000U);
  const Entry copy = entry;
  entry.set_extra({});
  EXPECT_GT(entry.memory_elsewhere(), 0U);
  EXPECT_EQ(entry.data(), 0U);
  EXPECT_EQ(entry.mtime(), (Timestamp{most, 0}));
  entry.set_data(entry.size);
  entry.set_mtime({});
  EXPECT_EQ(entry.memory_elsewhere(), 0U);

  EXPECT_EQ(copy.data(), 0U);
  EXPECT_EQ(copy.mtime(), (Timestamp{most, 0}));
  ASSERT_EQ(copy.extra().xattrs.size(), 1U);
  EXPECT_EQ(copy.extra().xattrs.begin()->name, "user.a");
}

}  // namespace
}  // namespace ferry::sync
