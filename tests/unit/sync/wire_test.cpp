#include "sync/wire.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/seed.h"

namespace ferry::sync {
namespace {

std::string number(std::uint64_t value) {
  std::string bytes;
  Writer(bytes).number(value);
  return bytes;
}

TEST(Wire, NumbersComeBack) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128}, std::uint64_t{1} << 32, most - 1, most}) {
    const std::string bytes = number(value);
    Reader reader(bytes);
    EXPECT_EQ(reader.number(), value);
    EXPECT_TRUE(reader.at_end());
  }
  for (const std::int64_t value :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1}, std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max()}) {
    std::string bytes;
    Writer(bytes).signed_number(value);
    Reader reader(bytes);
    EXPECT_EQ(reader.signed_number(), value);
  }
}

TEST(Wire, WhatIsNoNumberReadsAsZeroForEver) {
  for (const std::string& bytes :
       {std::string(), std::string("\x80"), std::string(10, '\xff'), std::string(9, '\x80') + '\x02'}) {
    Reader reader(bytes);
    EXPECT_EQ(reader.number(), 0U);
    EXPECT_FALSE(reader.ok());
    EXPECT_EQ(reader.byte(), 0);
    EXPECT_EQ(reader.string(10), "");
    EXPECT_EQ(reader.rest(), "");
    EXPECT_EQ(reader.digest(), Digest{});
    EXPECT_FALSE(reader.at_end());
  }
}

TEST(Wire, NumbersThatDoNotFitAreRefused) {
  const std::string bytes = number(std::uint64_t{1} << 32);
  Reader reader(bytes);
  EXPECT_EQ(reader.number32(), 0U);
  EXPECT_FALSE(reader.ok());
}

TEST(Wire, StringsAreBounded) {
  std::string bytes;
  Writer(bytes).string("abcd");
  EXPECT_EQ(Reader(bytes).string(4), "abcd");
  Reader too_long(bytes);
  EXPECT_EQ(too_long.string(3), "");
  EXPECT_FALSE(too_long.ok());
  const std::string lying = number(std::numeric_limits<std::uint64_t>::max()) + "abc";
  Reader reader(lying);
  EXPECT_EQ(reader.string(std::numeric_limits<std::size_t>::max()), "");
  EXPECT_FALSE(reader.ok());
}

std::vector<std::string> decode(std::string_view bytes, std::size_t piece, bool* whole = nullptr) {
  std::vector<std::string> records;
  RecordDecoder decoder(100, [&](std::string_view record) -> Result<> {
    records.emplace_back(record);
    return {};
  });
  bool good = true;
  for (std::size_t at = 0; at < bytes.size() && good; at += piece)
    good = decoder.feed(bytes.substr(at, piece)).has_value();
  if (whole != nullptr) *whole = good && decoder.finish();
  return records;
}

TEST(RecordDecoder, PiecesOfAnySizeMakeTheSameRecords) {
  std::string bytes;
  std::vector<std::string> records;
  test::Random random(1);
  for (int i = 0; i < 50; ++i) append_record(bytes, records.emplace_back(random.bytes(random.below(101))));
  for (std::size_t piece = 1; piece <= 210; ++piece) EXPECT_EQ(decode(bytes, piece), records) << piece;
}

TEST(RecordDecoder, ATruncatedStreamIsNoticed) {
  std::string bytes;
  append_record(bytes, std::string(100, 'x'));
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    bool whole = true;
    EXPECT_TRUE(decode(std::string_view(bytes).substr(0, cut), 7, &whole).empty());
    EXPECT_FALSE(whole) << cut;
  }
}

TEST(RecordDecoder, OverlongRecordsAreRefusedByTheirLength) {
  for (const std::string& bytes :
       {number(101), number(1U << 31), number(std::numeric_limits<std::uint64_t>::max()), std::string(5, '\x80')}) {
    bool whole = true;
    EXPECT_TRUE(decode(bytes, 1, &whole).empty());
    EXPECT_FALSE(whole);
  }
}

TEST(RecordDecoder, TheHandlersErrorIsTheResult) {
  RecordDecoder decoder(100, [](std::string_view) -> Result<> { return fail(Code::denied, "no"); });
  std::string bytes;
  append_record(bytes, "x");
  EXPECT_EQ(decoder.feed(bytes).error().code, Code::denied);
}

}  // namespace
}  // namespace ferry::sync
