#include "volumes/trash.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <ctime>
#include <functional>
#include <thread>

#include "base/files.h"
#include "base/time.h"
#include "support/temporary_directory.h"

namespace ferry::volumes {
namespace {

namespace fs = std::filesystem;

/// Whether it becomes true within 10 s.
bool eventually(const std::function<bool()>& condition) {
  for (const Deadline deadline = after(std::chrono::seconds(10)); SteadyClock::now() < deadline;
       std::this_thread::yield())
    if (condition()) return true;
  return condition();
}

class TrashTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& path : {layout_.volumes(), layout_.trash(), layout_.orphans(), layout_.quarantine()})
      fs::create_directories(path);
  }
  fs::path add(const std::string& name) {
    fs::create_directories(directory_ / name / "data");
    EXPECT_TRUE(write_file_atomically(directory_ / name / "data" / "file", "x"));
    EXPECT_TRUE(rename_durably(directory_ / name, layout_.trash() / name));
    return layout_.trash() / name;
  }
  static std::string removed(std::time_t ago) { return std::to_string(std::time(nullptr) - ago) + "-00"; }

  test::TemporaryDirectory directory_;
  Layout layout_{directory_.path()};
};

TEST_F(TrashTest, DeletesAtOnceWithoutRetention) {
  const fs::path old = add(removed(0));
  const fs::path stray = add("stray");
  Trash trash(layout_, std::chrono::seconds(0));
  EXPECT_TRUE(eventually([&] { return !fs::exists(old) && !fs::exists(stray); }));
}

TEST_F(TrashTest, KeepsForTheRetention) {
  const fs::path young = add(removed(10));
  const fs::path old = add(removed(4000));
  Trash trash(layout_, std::chrono::seconds(3600));
  EXPECT_TRUE(eventually([&] { return !fs::exists(old); }));
  EXPECT_TRUE(fs::exists(young / "data" / "file"));
}

TEST_F(TrashTest, LooksAgainWhenWoken) {
  Trash trash(layout_, std::chrono::seconds(0));
  for (int i = 0; i < 20; ++i) {
    const fs::path entry = add("0-" + std::to_string(i));
    trash.wake();
    ASSERT_TRUE(eventually([&] { return !fs::exists(entry); })) << i;
  }
}

TEST_F(TrashTest, DeletesNothingElse) {
  fs::create_directories(layout_.volumes() / "kept" / "data");
  fs::create_directories(layout_.quarantine() / "kept");
  fs::create_directories(layout_.orphans() / "young" / "staging");
  const fs::path old = add("0-old");
  fs::create_directory_symlink(layout_.volumes(), layout_.trash() / "0-link");
  Trash trash(layout_, std::chrono::seconds(0));
  EXPECT_TRUE(eventually([&] { return !fs::exists(old) && !fs::is_symlink(layout_.trash() / "0-link"); }));
  EXPECT_TRUE(fs::exists(layout_.volumes() / "kept" / "data"));
  EXPECT_TRUE(fs::exists(layout_.quarantine() / "kept"));
  EXPECT_TRUE(fs::exists(layout_.orphans() / "young" / "staging"));
}

TEST_F(TrashTest, StopsInTheMiddleOfALongDeletion) {
  const fs::path large = layout_.trash() / "0-large";
  fs::create_directories(large);
  const Fd file = *open_at(AT_FDCWD, (large / "0").string(), O_CREAT | O_WRONLY, 0600);
  constexpr nlink_t names = 50'000;  // of one file, which counts them
  for (nlink_t i = 1; i < names; ++i) fs::create_hard_link(large / "0", large / std::to_string(i));
  const auto left = [&] {
    struct stat info {};
    EXPECT_EQ(::fstat(file.get(), &info), 0);
    return info.st_nlink;
  };
  {
    const Trash trash(layout_, std::chrono::seconds(0));
    ASSERT_TRUE(eventually([&] { return left() < names; }));
  }
  EXPECT_GT(left(), 0U) << "the deletion was waited for";
  const Trash successor(layout_, std::chrono::seconds(0));
  EXPECT_TRUE(eventually([&] { return !fs::exists(large); }));
}

TEST_F(TrashTest, AMissingDirectoryIsNoCatastrophe) {
  fs::remove_all(layout_.base());
  Trash trash(layout_, std::chrono::seconds(0));
  trash.wake();
}

}  // namespace
}  // namespace ferry::volumes
