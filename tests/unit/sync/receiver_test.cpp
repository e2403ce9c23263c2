#include "sync/receiver.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "support/local_source.h"
#include "support/temporary_directory.h"

namespace ferry::sync {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

class ReceiverTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(source_);
    fs::create_directories(staging_);
  }

  static void write(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }

  /// Old enough that an equal ctime proves equal content: see ManifestInfo::stable_before_ns.
  static void let_ctimes_settle() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

  test::LocalSource open_source() const {
    return test::LocalSource(*open_at(AT_FDCWD, source_.string(), O_RDONLY | O_DIRECTORY));
  }

  Result<Receipt> receive(Source& source) {
    progress_.bytes_sent = 0;
    return Receiver(source, staging_, directory_ / "journal", options_, progress_, cancelled_).run();
  }

  /// The comparison of an independent program; "" when the trees are equal.
  std::string difference() const {
    const std::string command = "/usr/bin/python3 " FERRY_TREE_TOOL " compare '" + source_.string() + "' '" +
                                staging_.string() + "' --ignore-sockets >'" + (directory_ / "difference").string() +
                                "' 2>&1";
    if (std::system(command.c_str()) == 0) return "";
    return *read_file(directory_ / "difference");
  }

  test::TemporaryDirectory directory_;
  fs::path source_ = directory_ / "source";
  fs::path staging_ = directory_ / "staging";
  ReceiverOptions options_;
  Progress progress_;
  std::atomic<bool> cancelled_{false};
};

TEST_F(ReceiverTest, CompressesWhatItIsAskedTo) {
  for (int i = 0; i < 100; ++i)
    write(source_ / std::to_string(i), std::string(20'000, static_cast<char>('a' + i % 26)));
  write(source_ / "large", std::string(20 << 20, 'x'));
  constexpr std::uint64_t content = 100 * 20'000 + (20 << 20);
  for (const auto compression : {Compression::none, Compression::zstd, Compression::automatic}) {
    fs::remove_all(staging_);
    fs::remove(directory_ / "journal");
    fs::create_directories(staging_);
    options_.compression = compression;
    auto source = open_source();
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_EQ(difference(), "");
    if (compression == Compression::none) {
      EXPECT_GT(progress_.bytes_sent, content);
    }
    if (compression == Compression::zstd) {
      EXPECT_LT(progress_.bytes_sent, content / 100);
    }
  }
}

TEST_F(ReceiverTest, CopiesAnEmptyTree) {
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->files, 0U);
  EXPECT_EQ(difference(), "");
}

TEST_F(ReceiverTest, CopiesEveryKindOfFileAndMetadata) {
  const std::string make = "/usr/bin/python3 " FERRY_TREE_TOOL " make-tree '" + source_.string() + "' --seed 7 --small";
  ASSERT_EQ(std::system(make.c_str()), 0);
  let_ctimes_settle();
  auto source = open_source();
  source.piece = 977;
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(difference(), "");
  EXPECT_EQ(receipt->rounds, 1U);
  EXPECT_EQ(receipt->consistency, "idle");
}

TEST_F(ReceiverTest, SendsNothingAgainThatIsThere) {
  const std::string content(5 << 20, 'x');
  for (int i = 0; i < 10; ++i) write(source_ / ("file" + std::to_string(i)), content);
  let_ctimes_settle();
  auto first = open_source();
  std::uint64_t sent = 0;
  first.on_content = [&](std::string& bytes) -> Result<> {
    sent += bytes.size();
    if (sent > 30U << 20) return fail(Code::unavailable, "cut");
    return {};
  };
  const auto cut = receive(first);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::unavailable);
  auto second = open_source();
  const auto receipt = receive(second);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(difference(), "");
  EXPECT_LT(progress_.bytes_sent, 31U << 20);
}

TEST_F(ReceiverTest, CarriesOnWithinALargeFile) {
  write(source_ / "large", std::string(64U << 20, 'y'));
  let_ctimes_settle();
  auto first = open_source();
  std::uint64_t sent = 0;
  first.on_content = [&](std::string& bytes) -> Result<> {
    sent += bytes.size();
    if (sent > 40U << 20) return fail(Code::unavailable, "cut");
    return {};
  };
  ASSERT_FALSE(receive(first));
  auto second = open_source();
  const auto receipt = receive(second);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(difference(), "");
  EXPECT_LT(progress_.bytes_sent, 34U << 20);
}

TEST_F(ReceiverTest, EqualTreesHaveEqualDigestsAndOthersNot) {
  write(source_ / "a", "one");
  auto first = open_source();
  const auto before = receive(first);
  auto again = open_source();
  const auto same = receive(again);
  write(source_ / "a", "two");
  auto changed = open_source();
  const auto after = receive(changed);
  ASSERT_TRUE(before && same && after);
  EXPECT_EQ(before->digest, same->digest);
  EXPECT_NE(before->digest, after->digest);
}

TEST_F(ReceiverTest, LooksAgainWhenAFileChangesDuringTheRound) {
  write(source_ / "a", "one");
  auto source = open_source();
  int rounds = 0;
  source.after_manifest = [&] {
    if (++rounds == 1) write(source_ / "a", "two and longer");
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->rounds, 2U);
  EXPECT_EQ(difference(), "");
}

TEST_F(ReceiverTest, RefusesASourceThatNeverStandsStill) {
  write(source_ / "a", "0");
  auto source = open_source();
  int rounds = 0;
  source.after_manifest = [&] { write(source_ / "a", std::string(static_cast<std::size_t>(++rounds), 'x')); };
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::busy);
  EXPECT_THAT(receipt.error().message, HasSubstr("freeze=none"));
}

TEST_F(ReceiverTest, SaysSoWhenACopyMayBeTorn) {
  write(source_ / "a", "0");
  options_.writers = Writers::allowed;
  auto source = open_source();
  int rounds = 0;
  source.after_manifest = [&] { write(source_ / "a", std::string(static_cast<std::size_t>(++rounds), 'x')); };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->consistency, "live");
  EXPECT_GT(receipt->changed, 0U);
  EXPECT_THAT(receipt->warnings, testing::Contains(HasSubstr("\"a\"")));
}

// Also beside others that were torn.
TEST_F(ReceiverTest, WhatChangesAfterItWasReadIsNamed) {
  for (const char* name : {"torn", "later", "same"}) write(source_ / name, std::string(8192, 'x'));
  let_ctimes_settle();
  options_.writers = Writers::allowed;
  options_.rounds = 1;
  auto source = open_source();
  source.after_manifest = [&] { write(source_ / "torn", "y"); };
  source.on_seal = [&]() -> Result<> {
    write(source_ / "later", "y");
    return {};
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_THAT(receipt->warnings, testing::ElementsAre(HasSubstr("\"torn\""), HasSubstr("\"later\"")));
  EXPECT_EQ(receipt->changed, 2U);
}

TEST_F(ReceiverTest, AReceiptCountsOnlyWhatIsInTheCopy) {
  write(source_ / "stays", std::string(8192, 'x'));
  write(source_ / "vanishes", std::string(8192, 'x'));
  let_ctimes_settle();
  options_.writers = Writers::allowed;
  options_.rounds = 1;
  auto source = open_source();
  source.after_manifest = [&] { fs::remove(source_ / "vanishes"); };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_FALSE(fs::exists(staging_ / "vanishes"));
  EXPECT_EQ(receipt->files, 1U);
  EXPECT_EQ(receipt->bytes, 8192U);
  EXPECT_THAT(receipt->warnings, testing::ElementsAre(HasSubstr("\"vanishes\""), HasSubstr("\".\"")));
}

TEST_F(ReceiverTest, AFileIsReadUnderAnyOfItsNames) {
  write(source_ / "a", std::string(8192, 'x'));
  fs::create_hard_link(source_ / "a", source_ / "b");
  fs::create_hard_link(source_ / "a", source_ / "c");
  let_ctimes_settle();
  options_.writers = Writers::allowed;
  options_.rounds = 1;
  auto source = open_source();
  source.after_manifest = [&] {
    fs::remove(source_ / "a");
    fs::remove(source_ / "b");
    write(source_ / "b", "another file");
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(*read_file(staging_ / "c"), std::string(8192, 'x'));
  EXPECT_EQ(fs::hard_link_count(staging_ / "c"), 3U);
  EXPECT_EQ(receipt->consistency, "live");
}

TEST_F(ReceiverTest, WhatIsLeftOutIsNamedOrCounted) {
  fs::create_directory(source_ / "directory");
  write(source_ / "directory" / "first", "x");
  for (int i = 0; i < 3; ++i)
    fs::create_hard_link(source_ / "directory" / "first", source_ / ("name" + std::to_string(i)));
  let_ctimes_settle();
  options_.writers = Writers::allowed;
  options_.rounds = 1;
  const auto vanish = [&] {
    for (const auto& entry : fs::directory_iterator(source_)) fs::remove_all(entry.path());
  };
  {
    auto source = open_source();
    source.after_manifest = vanish;
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    for (const char* name : {"\"directory/first\"", "\"name0\"", "\"name1\"", "\"name2\""})
      EXPECT_THAT(receipt->warnings, testing::Contains(HasSubstr(name)));
  }
  for (int i = 0; i < 30; ++i) write(source_ / std::to_string(i), "x");
  let_ctimes_settle();
  auto source = open_source();
  source.after_manifest = vanish;
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  ASSERT_EQ(receipt->warnings.size(), 20U);
  EXPECT_EQ(receipt->warnings.front(), "31 entries changed while the volume was read: the copy may be torn");
  EXPECT_EQ(receipt->warnings.back(), "and 13 more");
}

TEST_F(ReceiverTest, FollowsEveryChangeOfTypeBetweenRounds) {
  fs::create_directory(source_ / "was-directory");
  write(source_ / "was-directory" / "inside", "x");
  write(source_ / "was-file", "x");
  write(source_ / "one", "linked");
  fs::create_hard_link(source_ / "one", source_ / "two");
  write(source_ / "vanishes", "x");
  auto source = open_source();
  int rounds = 0;
  source.after_manifest = [&] {
    if (++rounds != 1) return;
    fs::remove_all(source_ / "was-directory");
    write(source_ / "was-directory", "now a file");
    fs::remove(source_ / "was-file");
    fs::create_directory(source_ / "was-file");
    fs::remove(source_ / "two");
    write(source_ / "two", "on its own");
    fs::remove(source_ / "vanishes");
    write(source_ / "appears", "new");
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(difference(), "");
}

TEST_F(ReceiverTest, FindsDamageOnTheWay) {
  write(source_ / "a", std::string(1000, 'x'));
  auto source = open_source();
  source.on_content = [](std::string& bytes) -> Result<> {
    bytes[500] = static_cast<char>(bytes[500] ^ 1);
    return {};
  };
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::corrupt);
  EXPECT_THAT(receipt.error().message, HasSubstr("a:"));
}

TEST_F(ReceiverTest, StopsBeforeItHasTidiedStaging) {
  write(source_ / "a", "x");
  for (const char* name : {"old", "older"}) fs::create_directories(staging_ / name / "below");
  auto source = open_source();
  source.after_manifest = [&] { cancelled_ = true; };
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::cancelled);
  EXPECT_TRUE(fs::exists(staging_ / "old" / "below"));
  EXPECT_FALSE(fs::exists(staging_ / "a"));
}

TEST_F(ReceiverTest, StopsBeforeItHasMadeLinksAndDirectories) {
  write(source_ / "a", "");
  fs::create_hard_link(source_ / "a", source_ / "b");
  auto source = open_source();
  source.on_content = [&](std::string&) -> Result<> {
    cancelled_ = true;
    return {};
  };
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::cancelled);
  EXPECT_FALSE(fs::exists(staging_ / "b"));
}

TEST_F(ReceiverTest, StopsWhenCancelled) {
  write(source_ / "a", "x");
  cancelled_ = true;
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::cancelled);
}

}  // namespace
}  // namespace ferry::sync
