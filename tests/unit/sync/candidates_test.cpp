#include <utility>

#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "support/seed.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

/// An import beside another copy of what it brings.
class CandidatesTest : public MigrationTest {
 protected:
  static constexpr std::size_t small = 50'000;
  static constexpr std::size_t large = 40U << 20;

  void SetUp() override {
    MigrationTest::SetUp();
    fs::create_directories(neighbour());
    fs::create_directories(source_ / "directory");
    content_ = random_.bytes(large);
    write(source_ / "directory" / "large", content_);
    for (int i = 0; i < 20; ++i) write(source_ / "directory" / std::to_string(i), random_.bytes(small));
    let_ctimes_settle();
    make_neighbour();
  }

  /// A copy of the source.
  void make_neighbour() {
    options_ = {};
    options_.baseline = directory_ / "neighbour" / "baseline";
    auto source = open_source();
    ASSERT_TRUE(Receiver(source, neighbour(), directory_ / "first journal", options_, progress_, cancelled_).run());
    options_.baseline.clear();
    options_.neighbours = {{neighbour(), index_of(directory_ / "neighbour" / "baseline")}};
  }

  /// One more.
  void copy_neighbour(const std::string& name) {
    fs::copy(directory_ / "neighbour", directory_ / name, fs::copy_options::recursive);
    options_.neighbours.push_back({directory_ / name / "data", index_of(directory_ / name / "baseline")});
  }

  fs::path neighbour() const { return directory_ / "neighbour" / "data"; }
  fs::path candidate(const std::string& name) const { return neighbour() / "directory" / name; }

  static void overwrite(const fs::path& path, off_t offset, const std::string& bytes) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  }
  static void punch(const fs::path& path, off_t offset, off_t length) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length), 0);
  }
  /// As if it had been made so: the same time of modification.
  static void keeping_mtime(const fs::path& path, const std::function<void()>& change) {
    struct stat before {};
    ASSERT_EQ(::stat(path.c_str(), &before), 0);
    change();
    const timespec times[] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  test::SeededRandom random_;
  std::string content_;
};

TEST_F(CandidatesTest, NothingIsSentThatANeighbourHas) {
  receive_all();
  EXPECT_LT(sent(), 10'000U);
}

TEST_F(CandidatesTest, TheNeighbourIsNotTouched) {
  const test::TreeSnapshot before(neighbour());
  receive_all();
  EXPECT_EQ(before.difference(test::TreeSnapshot(neighbour())), "");
}

TEST_F(CandidatesTest, ProgressComesToItsEnd) {
  receive_all();
  EXPECT_EQ(progress_.bytes_done, progress_.bytes_total);
  EXPECT_EQ(progress_.files_done, progress_.files_total);
}

TEST_F(CandidatesTest, OnlyPagesThatDifferAreSent) {
  const auto file = source_ / "directory" / "large";
  keeping_mtime(file, [&] {
    overwrite(file, 5'000'000, "changed");
    overwrite(file, large - 1, "x");
    punch(file, 20 << 20, 8192);
    punch(file, (16 << 20) - 100, 200);
  });
  receive_all();
  EXPECT_LT(sent(), 40'000U);
}

TEST_F(CandidatesTest, HolesOfTheNeighbourAreFilled) {
  keeping_mtime(candidate("large"), [&] {
    punch(candidate("large"), 0, 20 << 20);
    punch(candidate("large"), (40 << 20) - 5000, 5000);
  });
  keeping_mtime(candidate("1"), [&] { punch(candidate("1"), 0, small); });
  receive_all();
  EXPECT_LT(sent(), (21U << 20) + small);
}

TEST_F(CandidatesTest, AnotherContentOfTheSameNameTimeAndSizeIsReplaced) {
  keeping_mtime(candidate("large"), [&] { overwrite(candidate("large"), 0, random_.bytes(large)); });
  keeping_mtime(candidate("1"), [&] { overwrite(candidate("1"), 0, random_.bytes(small)); });
  receive_all();
}

TEST_F(CandidatesTest, WhatIsNoSuchFileAnyMoreIsPassedOver) {
  const std::string outside = directory_ / "outside";
  write(outside, random_.bytes(small));
  const std::vector<std::function<void(const fs::path&)>> changes = {
      [](const fs::path&) {},
      [](const fs::path& path) { fs::create_directory(path); },
      [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); },
      [&](const fs::path& path) { fs::create_symlink(outside, path); },
      [](const fs::path& path) { write(path, "short"); },
      [&](const fs::path& path) { write(path, random_.bytes(3 * small)); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    fs::remove(candidate(std::to_string(i)));
    changes[i](candidate(std::to_string(i)));
  }
  fs::resize_file(candidate("large"), 1000);
  receive_all();
}

TEST_F(CandidatesTest, ALinkThatLeadsOutOfTheNeighbourIsNotFollowed) {
  fs::rename(neighbour() / "directory", directory_ / "outside");
  fs::create_directory_symlink(directory_ / "outside", neighbour() / "directory");
  receive_all();
  EXPECT_GT(sent(), large);
}

TEST_F(CandidatesTest, AnIndexThatIsDamagedIsOfNoUse) {
  for (const char* index : {"", "damaged"}) {
    write(options_.neighbours[0].index, index);
    receive_all();
    ASSERT_TRUE(remove_tree(staging_));
    ASSERT_TRUE(remove_tree(directory_ / "journal"));
    fs::create_directories(staging_);
  }
  fs::remove(options_.neighbours[0].index);
  receive_all();
}

TEST_F(CandidatesTest, AFileIsFoundInAnotherDirectory) {
  fs::create_directory(source_ / "elsewhere");
  fs::rename(source_ / "directory", source_ / "elsewhere" / "directory");
  fs::rename(source_ / "elsewhere" / "directory" / "1", source_ / "1");
  fs::rename(source_ / "elsewhere" / "directory" / "2", source_ / "elsewhere" / "2");
  let_ctimes_settle();
  receive_all();
  EXPECT_LT(sent(), 10'000U);
}

TEST_F(CandidatesTest, AFileIsFoundWhereverItIsStill) {
  copy_neighbour("second");
  copy_neighbour("third");
  fs::remove_all(neighbour() / "directory");
  receive_all();
  EXPECT_LT(sent(), 10'000U);
}

TEST_F(CandidatesTest, AnInterruptionLosesNothing) {
  for (int i = 0; i < 3; ++i) {
    const auto file = source_ / "directory" / "large";
    keeping_mtime(file, [&] { overwrite(file, i * 13'000'000, random_.bytes(2 << 20)); });
    let_ctimes_settle();
    receive_until(1 << 20);
  }
  receive_all();
  EXPECT_LT(sent(), 7U << 20);
  EXPECT_GE(progress_.bytes_done, progress_.bytes_total - (7U << 20));
}

// Trees made from packages have the same times everywhere.
TEST_F(CandidatesTest, OfFilesThatAreAlikeEachIsComparedWithTheOneOfItsPath) {
  const timespec times[] = {{1, 0}, {1, 0}};
  for (int i = 0; i < 200; ++i) {
    fs::create_directories(source_ / std::to_string(i));
    const auto file = source_ / std::to_string(i) / "same";
    write(file, random_.bytes(small));
    ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  }
  make_neighbour();
  std::atomic<int> requests{0};
  auto source = open_source();
  source.on_request = [&] { ++requests; };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
  EXPECT_LT(sent(), 200U * 300);
  EXPECT_LE(requests, 3);
}

class FailingCopy : public CandidatesTest, public testing::WithParamInterface<std::tuple<const char*, int>> {};

TEST_P(FailingCopy, IsReplacedByWhatIsSent) {
  const auto [call, error] = GetParam();
  // Where nothing is sent, nothing may be left of what was copied before it failed.
  const auto file = source_ / "directory" / "large";
  keeping_mtime(file, [&] { punch(file, 0, 30 << 20); });
  keeping_mtime(candidate("large"), [&] {
    for (off_t offset = 0; offset < static_cast<off_t>(large); offset += 3 << 20)
      punch(candidate("large"), offset, 1 << 20);
  });
  std::atomic<int> calls{0};
  {
    const test::InterceptedCalls intercepted([&, name = call, number = error](const test::Call& each) {
      return each.name == name && ++calls % 3 == 0 ? number : 0;
    });
    auto source = open_source();
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
  }
  EXPECT_GT(calls, 10);
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

INSTANTIATE_TEST_SUITE_P(Calls, FailingCopy,
                         testing::Combine(testing::Values("copy_file_range"), testing::Values(EIO, EXDEV, ENOSPC)));

}  // namespace
}  // namespace ferry::sync
