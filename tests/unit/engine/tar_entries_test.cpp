#include "engine/tar_entries.h"

#include <gmock/gmock.h>

#include <array>
#include <cstdio>
#include <random>
#include <set>

#include "tar.h"

namespace ferry::engine {
namespace {

using testing::Files;
using ::testing::HasSubstr;
using testing::pack;
using testing::unpack;

class TarEntriesTest : public ::testing::Test {
 protected:
  /// What is left without some, fed in pieces of random sizes; notes what content was told of.
  std::string without(const std::string& packed, const std::set<std::string>& left_out) {
    std::string rest;
    TarEntries entries;
    told_.clear();
    for (std::size_t at = 0, size = 0; at < packed.size(); at += size) {
      size = std::uniform_int_distribution<std::size_t>(1, largest_piece_)(random_);
      const auto added = entries.add(std::string_view(packed).substr(at, size), [&](const TarEntries::Part& part) {
        if (!part.name.empty()) told_[part.name] += part.content;
        if (!left_out.contains(part.name)) rest += part.blocks;
        return Result<>();
      });
      EXPECT_TRUE(added) << added.error().message;
    }
    return rest;
  }

  std::mt19937 random_{20261130};
  std::size_t largest_piece_ = 5000;
  Files told_;
};

TEST_F(TarEntriesTest, WhatIsLeftOutIsAllThatIsMissing) {
  for (int round = 0; round < 300; ++round) {
    const char* const format = std::array{"pax", "gnutar", "ustar"}[static_cast<std::size_t>(round) % 3];
    largest_piece_ = round % 2 == 0 ? 5000 : 3;
    Files files;
    std::set<std::string> left_out;
    for (int i = 0; i < 8; ++i) {
      const std::size_t length = random_() % 5 == 0 ? 180 : 30;  // with a prefix, a pax header or a long link
      std::string name = "blobs/" + std::string(length / 2, 'd') + "/" + std::string(length / 2, 'n');
      name += std::to_string(i) + (random_() % 6 == 0 ? "/" : "");
      std::string content(name.back() == '/' ? 0 : random_() % 3 == 0 ? 512 : random_() % 3000, '\0');
      for (auto& byte : content) byte = static_cast<char>(random_());
      files[name] = content;
      if (random_() % 2 == 0) left_out.insert(name);
    }
    const std::string packed = pack(files, format);
    EXPECT_EQ(without(packed, {}), packed);
    EXPECT_EQ(told_, files);
    for (const auto& name : left_out) files.erase(name);
    EXPECT_EQ(unpack(without(packed, left_out)), files) << format << ", round " << round;
  }
}

/// With a size of its own in a pax header, of which the ustar header cannot tell.
TEST_F(TarEntriesTest, TheSizeOfALargeFileIsKnown) {
  const std::string small = pack({{"layer", "content"}, {"other", "x"}}, "ustar");
  const std::string record = "10 size=7\n";
  std::string extension = pack({{"pax", record}}, "ustar").substr(0, 1024);
  const auto sum = [](std::string& header) {
    header.replace(148, 8, "        ");
    unsigned total = 0;
    for (std::size_t i = 0; i < 512; ++i) total += static_cast<unsigned char>(header[i]);
    char text[8];
    std::snprintf(text, sizeof text, "%06o", total);
    header.replace(148, 7, std::string(text, 7));
  };
  extension[156] = 'x';
  sum(extension);
  std::string rest = small;
  rest.replace(124, 11, "00000000000");
  sum(rest);
  EXPECT_EQ(without(extension + rest, {"layer"}), small.substr(1024));
  EXPECT_EQ(told_, (Files{{"layer", "content"}, {"other", "x"}}));
}

TEST_F(TarEntriesTest, WhatIsNoneIsRefused) {
  const std::string good = pack({{"file", "content"}}, "pax");
  const auto error = [](const std::string& bytes) {
    TarEntries entries;
    const auto added = entries.add(bytes, [](const TarEntries::Part&) { return Result<>(); });
    return added ? "" : added.error().message;
  };
  EXPECT_EQ(error(good), "");
  EXPECT_THAT(error(std::string(512, 'x')), HasSubstr("tar archive"));
  for (const std::size_t at : {0U, 124U, 148U}) {
    std::string bad = good;
    bad[at] = '\x7f';
    EXPECT_THAT(error(bad), HasSubstr("tar archive")) << at;
  }
}

TEST_F(TarEntriesTest, ItsTakersErrorIsReturned) {
  TarEntries entries;
  const auto added = entries.add(pack({{"file", "content"}}, "pax"),
                                 [](const TarEntries::Part&) { return Result<>(fail(Code::no_space, "full")); });
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::no_space);
}

}  // namespace
}  // namespace ferry::engine
