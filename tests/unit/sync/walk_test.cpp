#include "sync/walk.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "sync/migration_fixture.h"

namespace {

std::function<void()>& before_readlink() {
  static std::function<void()> hook = [] {};
  return hook;
}

}  // namespace

/// Stands before the C library's, so that a test can change something at that moment.
extern "C" ssize_t readlinkat(int directory, const char* path, char* target, std::size_t size) noexcept {
  before_readlink()();
  return ::syscall(SYS_readlinkat, directory, path, target, size);
}

namespace ferry::sync {
namespace {

class WalkTest : public MigrationTest {
 protected:
  void TearDown() override {
    before_readlink() = [] {};
  }
};

TEST_F(WalkTest, ASymlinkThatBecomesAFileMeanwhileIsLookedAtAgain) {
  options_.writers = Writers::allowed;
  fs::create_symlink("target", source_ / "name");
  write(source_ / "other", "x");
  bool changed = false;
  before_readlink() = [&] {
    if (std::exchange(changed, true)) return;
    fs::remove(source_ / "name");
    write(source_ / "name", "a file now");
  };
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_TRUE(changed);
  EXPECT_EQ(receipt->rounds, 2U);
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

TEST_F(WalkTest, ASymlinkThatVanishesMeanwhileIsLookedAtAgain) {
  fs::create_symlink("target", source_ / "name");
  before_readlink() = [&] { fs::remove(source_ / "name"); };
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

}  // namespace
}  // namespace ferry::sync
