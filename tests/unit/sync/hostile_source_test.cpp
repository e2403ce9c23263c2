#include <utility>

#include "support/sample_manifest.h"
#include "support/seed.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

using test::entry;
using test::file;
using test::Frames;
using test::hard_link;

/// A sender that says what a test tells it to.
class Liar : public Source {
 public:
  std::vector<Entry> entries;
  std::function<void()> before_content = [] {};
  std::string frames;
  std::vector<std::string> warnings;
  std::string warning_of_seal;

  Result<> manifest(const ByteSink& sink) override {
    std::string bytes;
    append_entry(bytes, entry("", 0, Type::directory));
    for (const auto& each : entries) append_entry(bytes, each);
    append_trailer(bytes, {UINT64_MAX, warnings}, entries.size() + 1);
    return sink(bytes);
  }
  Result<> content(const std::string&, const ByteSink& sink) override {
    before_content();
    return sink(frames);
  }
  Result<Seal> seal(bool) override { return Seal{0, {}, "idle", warning_of_seal}; }
};

class HostileSource : public MigrationTest {
 protected:
  void SetUp() override {
    MigrationTest::SetUp();
    fs::create_directories(outside_ / "d");
    write(outside_ / "file", "untouched");
    write(outside_ / "d" / "file", "untouched");
    ASSERT_EQ(::chmod((outside_ / "file").c_str(), 0640), 0);
    options_.connections = 1;
    options_.rounds = 1;
    before_.emplace(outside_);
  }
  void TearDown() override { EXPECT_EQ(before_->difference(test::TreeSnapshot(outside_)), ""); }

  static std::uint64_t allocated(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return static_cast<std::uint64_t>(info.st_blocks) * 512;
  }

  Entry symlink(const std::string& name, std::uint32_t parent, const fs::path& target) {
    Entry made = entry(name, parent, Type::symlink);
    made.set_extra({.target = target.string()});
    return made;
  }

  fs::path outside_ = directory_ / "outside";
  std::optional<test::TreeSnapshot> before_;
  Liar liar_;
};

TEST_F(HostileSource, ALinkToASymlinkIsASymlink) {
  liar_.entries = {symlink("a", 0, outside_ / "file"), hard_link("b", 0, 1)};
  ASSERT_TRUE(receive(liar_));
  EXPECT_TRUE(fs::is_symlink(staging_ / "b"));
}

TEST_F(HostileSource, ASymlinkOfAnEarlierRoundIsNotFollowed) {
  liar_.entries = {symlink("d", 0, outside_ / "d"), symlink("file", 0, outside_ / "file")};
  ASSERT_TRUE(receive(liar_));
  liar_.entries = {entry("d", 0, Type::directory), file("file", 0, 4), file("file", 1, 4)};
  liar_.frames = Frames().data(0, "evil").end().data(0, "evil").end().bytes();
  const auto receipt = receive(liar_);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(*read_file(staging_ / "d" / "file"), "evil");
  EXPECT_EQ(*read_file(staging_ / "file"), "evil");
}

TEST_F(HostileSource, ADirectoryThatIsSwappedForASymlinkIsNotFollowed) {
  liar_.entries = {entry("d", 0, Type::directory), file("file", 1, 4)};
  liar_.frames = Frames().data(0, "evil").end().bytes();
  liar_.before_content = [&] {
    fs::remove_all(staging_ / "d");
    fs::create_directory_symlink(outside_ / "d", staging_ / "d");
  };
  EXPECT_FALSE(receive(liar_));
}

TEST_F(HostileSource, AFileThatIsSwappedForASymlinkIsNotFollowed) {
  liar_.entries = {file("file", 0, 4)};
  liar_.frames = Frames().data(0, "evil").end().bytes();
  liar_.before_content = [&] { fs::create_symlink(outside_ / "file", staging_ / "file"); };
  EXPECT_FALSE(receive(liar_));
}

TEST_F(HostileSource, ASecondNameIsNotWrittenThrough) {
  liar_.entries = {file("a", 0, 4)};
  fs::create_hard_link(outside_ / "file", staging_ / "a");
  liar_.frames = Frames().data(0, "evil").end().bytes();
  ASSERT_TRUE(receive(liar_));
  fs::remove(staging_ / "a");
}

TEST_F(HostileSource, ContentThatIsNotWhatItsDigestSaysIsRefused) {
  liar_.entries = {file("a", 0, 4)};
  liar_.frames = Frames().raw_data(0, "evil").end().bytes();
  EXPECT_EQ(receive(liar_).error().code, Code::corrupt);
}

TEST_F(HostileSource, AnAnswerThatLacksSomethingIsNoSuccess) {
  liar_.entries = {file("a", 0, 4), file("b", 0, 4)};
  liar_.frames = Frames().data(0, "good").end().bytes();
  EXPECT_EQ(receive(liar_).error().code, Code::corrupt);
  liar_.frames.clear();
  EXPECT_EQ(receive(liar_).error().code, Code::corrupt);
}

TEST_F(HostileSource, AnImpossibleSizeIsAnError) {
  liar_.entries = {file("a", 0, INT64_MAX)};
  // Some file systems have files of that size.
  EXPECT_THAT(receive(liar_).error().code, testing::AnyOf(Code::unsupported, Code::no_space));
  liar_.entries[0].set_data(0);
  liar_.frames = Frames().end().bytes();
  EXPECT_FALSE(receive(liar_));
}

TEST_F(HostileSource, NoMoreComesThanWasAnnounced) {
  Entry sparse = file("a", 0, 16U << 20);
  sparse.set_data(block_size);
  liar_.entries = {sparse};
  Frames frames;
  for (std::uint64_t i = 0; i < 8; ++i) frames.data(i * block_size, std::string(block_size, 'x'));
  liar_.frames = frames.end().bytes();
  const auto receipt = receive(liar_);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::busy);
  EXPECT_THAT(receipt.error().message, testing::HasSubstr("a: the source sends more than the 262144 bytes"));
  EXPECT_LE(allocated(staging_ / "a"), 2 * block_size);
  options_.writers = Writers::allowed;  // then a file may have been filled since
  EXPECT_TRUE(receive(liar_));
}

TEST_F(HostileSource, NoMoreComesInManyAttemptsEither) {
  Entry sparse = file("a", 0, 160U << 20);  // of several extents
  sparse.set_data(16 * block_size);
  liar_.entries = {sparse};
  for (std::uint64_t attempt = 0; attempt < 4; ++attempt) {
    Frames frames;
    for (std::uint64_t i = 0; i < 15; ++i) frames.data((attempt * 15 + i) * block_size, std::string(block_size, 'x'));
    liar_.frames = frames.bytes();
    EXPECT_FALSE(receive(liar_));
  }
  EXPECT_LE(allocated(staging_ / "a"), 17 * block_size);
}

TEST_F(HostileSource, AFewBytesThatNoBlockCountsAreNoLie) {
  Entry small = file("a", 0, 160);  // ext4 may have them in the inode
  small.set_data(0);
  liar_.entries = {small};
  liar_.frames = Frames().data(0, std::string(160, 'x')).end().bytes();
  const auto receipt = receive(liar_);
  EXPECT_TRUE(receipt) << receipt.error().message;
}

TEST_F(HostileSource, ItsWarningsAreFewShortAndPrintable) {
  liar_.warnings.assign(100, "look\n\x1b[2J" + std::string(4000, 'x'));
  liar_.warning_of_seal = "sealed";
  const auto receipt = receive(liar_);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->warnings.size(), 20U);
  EXPECT_EQ(receipt->warnings[0], "sealed");
  EXPECT_THAT(receipt->warnings[1], testing::StartsWith("look\\x0a\\x1b[2Jx"));
  EXPECT_LT(receipt->warnings[1].size(), 600U);
}

TEST_F(HostileSource, WhateverItSendsNothingOutsideIsTouched) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  const std::vector<std::string> names = {"a", "b", "d", "file"};
  for (int round = 0; round < 150; ++round) {
    liar_.entries.clear();
    std::vector<std::uint32_t> parents = {0};
    Frames frames;
    for (const std::uint32_t parent : {0U, 0U, 0U, 0U, 1U, 1U, 2U, 2U}) {
      const auto index = static_cast<std::uint32_t>(liar_.entries.size() + 1);
      const std::string name =
          names[liar_.entries.size() < 4 ? liar_.entries.size() : 1 + liar_.entries.size() % 2 * 2];
      switch (random.below(5)) {
        case 0: liar_.entries.push_back(entry(name, parent, Type::directory)); break;
        case 1:
          liar_.entries.push_back(symlink(name, parent, random.one_in(2) ? outside_ / "d" : outside_ / "file"));
          break;
        case 2:
          liar_.entries.push_back(hard_link(name, parent, static_cast<std::uint32_t>(random.below(index))));
          break;
        default: liar_.entries.push_back(file(name, parent, 4)); break;
      }
      liar_.entries.back().inode = random.below(3);
    }
    for (int i = 0; i < 8; ++i) frames.data(0, "evil").end();
    liar_.frames = frames.bytes();
    (void)receive(liar_);
  }
}

}  // namespace
}  // namespace ferry::sync
