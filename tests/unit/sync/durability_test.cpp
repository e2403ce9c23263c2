#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "support/seed.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

using Durability = MigrationTest;

// syncfs(2) tells an error of the writeback to one caller, once.
TEST_F(Durability, AWritebackErrorThatIsToldOnceFailsTheImport) {
  write(source_ / "file", std::string(80U << 20, 'x'));  // more than what is made durable at a time
  let_ctimes_settle();
  std::atomic<bool> failed{false};
  const test::InterceptedCalls calls([&](const test::Call& call) {
    return call.name == "syncfs" && call.place == fs::canonical(staging_) && !failed.exchange(true) ? EIO : 0;
  });
  auto source = open_source();
  std::atomic<std::uint64_t> sent{0};
  source.on_content = [&](std::string& piece) -> Result<> {
    sent += piece.size();
    const Deadline deadline = after(std::chrono::seconds(20));
    while (sent > (70U << 20) && !failed && SteadyClock::now() < deadline) ::usleep(1000);
    return {};
  };
  const auto receipt = receive(source);
  EXPECT_TRUE(failed);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
}

/// Staging on a disk that loses pages which the kernel goes on to have in memory.
class LosingDisk : public MigrationTest {
 protected:
  /// An attempt by a process that is killed after `bytes` of content.
  void receive_and_be_killed(std::uint64_t bytes) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto source = open_source();
      std::atomic<std::uint64_t> sent{0};
      source.on_content = [&](std::string& piece) -> Result<> {
        if ((sent += piece.size()) > bytes) ::kill(::getpid(), SIGKILL);
        return {};
      };
      (void)receive(source);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }

  /// Overwrites on the disk what the file has there. What memory has of it stays, as after a failed write.
  void lose(const fs::path& path) const {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR);
    ASSERT_EQ(::fsync(file.get()), 0);
    std::vector<std::uint64_t> buffer((sizeof(fiemap) + 64 * sizeof(fiemap_extent)) / sizeof(std::uint64_t));
    auto* const map = reinterpret_cast<fiemap*>(buffer.data());
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_extent_count = 64;
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_FIEMAP, map), 0);
    ASSERT_GT(map->fm_mapped_extents, 0U);
    ASSERT_LT(map->fm_mapped_extents, 64U);
    const Fd disk = *open_at(AT_FDCWD, image_.string(), O_RDWR);
    for (std::uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const auto& extent = map->fm_extents[i];
      const std::string zeros(extent.fe_length, '\0');
      ASSERT_EQ(::pwrite(disk.get(), zeros.data(), zeros.size(), static_cast<off_t>(extent.fe_physical)),
                static_cast<ssize_t>(zeros.size()));
    }
    ASSERT_EQ(::fsync(disk.get()), 0);
  }

  /// What the disk has of staging is the source.
  void expect_arrived() {
    mount_.reset();
    mount_.emplace(test::PrivateMount::loop(image_, disk_));
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
  }

  const fs::path image_ = directory_ / "image";
  const fs::path disk_ = directory_ / "disk";
  std::optional<test::PrivateMount> mount_{
      test::PrivateMount::made_by("mkfs.ext4 -q -E nodiscard", "256M", image_, disk_)};
  void SetUp() override {
    staging_ = disk_ / "staging";
    journal_ = disk_ / "journal";
    MigrationTest::SetUp();
    options_.connections = 1;
  }
};

// Its journal tells of files that nobody has synced; another program's syncfs may have been told that they are lost.
TEST_F(LosingDisk, WhatAKilledAttemptHadNotMadeDurableIsNotBelieved) {
  for (int i = 0; i < 100; ++i)
    write(source_ / std::to_string(i), std::string(50'000, static_cast<char>('a' + i % 26)));
  let_ctimes_settle();
  receive_and_be_killed(4'950'000);
  std::size_t came = 0;
  for (const auto& each : fs::directory_iterator(staging_)) {
    lose(each.path());
    ++came;
  }
  ASSERT_GT(came, 90U);
  receive_all();
  expect_arrived();
}

// Of what is compared page by page the pages may be lost.
TEST_F(LosingDisk, WhatAKilledAttemptHasWrittenIsComparedAsTheDiskHasIt) {
  write(source_ / "file", test::SeededRandom().bytes(12 << 20));
  let_ctimes_settle();
  receive_and_be_killed(10 << 20);
  lose(staging_ / "file");
  receive_all();
  EXPECT_GT(sent(), 12U << 20);
  expect_arrived();
}

// But it does not come again if nothing is lost.
TEST_F(LosingDisk, WhatAKilledAttemptHasWrittenIsNotSentAgain) {
  write(source_ / "file", test::SeededRandom().bytes(12 << 20));
  let_ctimes_settle();
  receive_and_be_killed(10 << 20);
  receive_all();
  EXPECT_LT(sent(), 3U << 20);
  expect_arrived();
}

/// What has come when an attempt ends at 60 %, however it does, need not come again, also of small files.
class EndsAtSixtyPercent : public LosingDisk {
 protected:
  void SetUp() override {
    LosingDisk::SetUp();
    for (int i = 0; i < files; ++i) write(source_ / std::to_string(i), random_.bytes(16'000));
    let_ctimes_settle();
  }

  /// An attempt that is cancelled then; returns how long it takes to end.
  SteadyClock::duration receive_and_be_stopped() {
    auto source = open_source();
    std::atomic<std::uint64_t> sent{0};
    SteadyClock::time_point stopped;
    source.on_content = [&](std::string& piece) -> Result<> {
      if ((sent += piece.size()) <= all * 60 / 100 || cancelled_.exchange(true)) return {};
      stopped = SteadyClock::now();
      return {};
    };
    const auto receipt = receive(source);
    cancelled_ = false;
    EXPECT_EQ(receipt ? Code::io : receipt.error().code, Code::cancelled);
    return SteadyClock::now() - stopped;
  }

  void expect_rest() {
    receive_all();
    EXPECT_LE(sent(), all * 45 / 100);
    expect_arrived();
  }

  static constexpr int files = 3000;
  static constexpr std::uint64_t all = std::uint64_t{files} * 16'000;
  test::SeededRandom random_;
};

TEST_F(EndsAtSixtyPercent, AKilledAttempt) {
  receive_and_be_killed(all * 60 / 100);
  expect_rest();
}

TEST_F(EndsAtSixtyPercent, AStoppedAttempt) {
  EXPECT_LT(receive_and_be_stopped(), std::chrono::seconds(5));
  expect_rest();
}

TEST_F(EndsAtSixtyPercent, AStoppedAttemptWhoseDiskTakesForEver) {
  std::atomic<int> running{0};
  std::atomic<bool> released{false};
  {
    const test::InterceptedCalls calls([&](const test::Call& call) {
      if (call.name != "syncfs" || call.place != staging_ || !cancelled_) return 0;
      ++running;
      while (!released) ::usleep(1000);
      --running;
      return 0;
    });
    EXPECT_LT(receive_and_be_stopped(), std::chrono::seconds(8));
    EXPECT_GE(running, 1);
    released = true;
    while (running != 0) ::usleep(1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // it does the call itself
  }
  expect_rest();
}

// Before 64 MiB have come, too, but not all the while.
TEST_F(EndsAtSixtyPercent, WhatComesIsMadeDurableInAFewPieces) {
  std::atomic<int> synced{0};
  const test::InterceptedCalls calls([&](const test::Call& call) {
    if (call.name == "syncfs" && call.place == staging_) ++synced;
    return 0;
  });
  auto source = open_source();
  source.on_content = [](std::string&) -> Result<> {
    ::usleep(10'000);
    return {};
  };
  ASSERT_TRUE(receive(source));
  EXPECT_GE(synced, 4);
  EXPECT_LE(synced, 12);
}

}  // namespace
}  // namespace ferry::sync
