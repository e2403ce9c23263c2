#include "sync/measure.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/files.h"
#include "support/temporary_directory.h"

namespace ferry::sync {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

class MeasureTest : public testing::Test {
 protected:
  void write(const fs::path& name, std::size_t size) const {
    std::ofstream(directory_ / name, std::ios::binary) << std::string(size, 'x');
  }
  std::uint64_t measure_all() const { return measure(root_.get(), after(seconds(60))); }

  test::TemporaryDirectory directory_;
  Fd root_ = *open_at(AT_FDCWD, directory_.path().string(), O_RDONLY | O_DIRECTORY);
};

TEST_F(MeasureTest, CountsFilesOfAllDirectoriesAndNoHoles) {
  fs::create_directories(directory_ / "a" / "b");
  fs::create_directory(directory_ / "c");
  write("1", 100'000);
  write("a/b/2", 200'000);
  write("c/3", 1);
  fs::create_symlink("1", directory_ / "link");
  ASSERT_EQ(::mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  std::ofstream(directory_ / "hole").close();
  ASSERT_EQ(::truncate((directory_ / "hole").c_str(), 1 << 30), 0);
  EXPECT_EQ(measure_all(), 300'001U);
  EXPECT_EQ(measure_all(), 300'001U);  // the descriptor can be used again
}

TEST_F(MeasureTest, AHardLinkedFileCountsOnce) {
  fs::create_directory(directory_ / "daily");
  write("file", 3'000'000);
  for (int i = 0; i < 30; ++i) fs::create_hard_link(directory_ / "file", directory_ / "daily" / std::to_string(i));
  EXPECT_LE(measure_all(), 3'000'000U);
  EXPECT_GE(measure_all(), 2'999'000U);
}

TEST_F(MeasureTest, WhatIsVeryDeepIsLeftOut) {
  fs::path path = directory_.path();
  for (int i = 0; i < 150; ++i) path /= "d";
  fs::create_directories(path);
  write("1", 10);
  std::ofstream(path / "deep") << "x";
  EXPECT_EQ(measure_all(), 10U);
}

TEST_F(MeasureTest, TheDeadlineHoldsWithinADirectory) {
  write("file", 1);
  for (int i = 0; i < 60'000; ++i)
    ASSERT_EQ(::link((directory_ / "file").c_str(), (directory_ / std::to_string(i)).c_str()), 0);
  const auto time_of = [&](milliseconds allowed) {
    const auto start = SteadyClock::now();
    (void)measure(root_.get(), after(allowed));
    return SteadyClock::now() - start;
  };
  const auto all = time_of(seconds(60));
  auto cut = time_of(milliseconds(1));
  for (int i = 0; i < 3; ++i) cut = std::min(cut, time_of(milliseconds(1)));
  EXPECT_LT(cut, all / 3);
}

}  // namespace
}  // namespace ferry::sync
