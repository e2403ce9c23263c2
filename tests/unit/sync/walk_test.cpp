#include "sync/walk.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/full_tree.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"
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

/// A file becomes a device where nobody can open one.
class BecomesADevice : public MigrationTest {
 protected:
  void forbid_devices() const {
    ASSERT_EQ(::mount(nullptr, source_.c_str(), nullptr, MS_REMOUNT | MS_NODEV, nullptr), 0);
  }

  void become_a_device() const {
    fs::remove(source_ / "file");
    ASSERT_EQ(::mknod((source_ / "file").c_str(), S_IFCHR | 0600, 0x103), 0);
    let_ctimes_settle();
  }

  /// The first time that the sender opens the file it is one already, and that fails with `error`, or as it is.
  void receive_while_it_becomes_one(int error) {
    auto source = open_source();
    std::atomic<bool> became{false};
    Result<Receipt> receipt;
    {
      const test::InterceptedCalls calls(
          [&](const test::Call& call) {
            if (call.name != "openat" || call.place != source_ / "file" || became.exchange(true)) return 0;
            become_a_device();
            return error;
          },
          test::InterceptedCalls::Kind::reads);
      receipt = receive(source);
    }
    EXPECT_TRUE(became);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
  }
};

TEST_F(BecomesADevice, BeforeItIsRead) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  forbid_devices();
  write(source_ / "file", std::string(20'000, 'x'));
  let_ctimes_settle();
  receive_while_it_becomes_one(0);
}

// As a container's list of devices has it.
TEST_F(BecomesADevice, ThatNobodyIsPermittedToOpen) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  write(source_ / "file", std::string(20'000, 'x'));
  let_ctimes_settle();
  receive_while_it_becomes_one(EPERM);
}

// Where its blocks do not tell its holes they are asked for.
TEST_F(BecomesADevice, BeforeItsHolesAreLookedFor) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", directory_ / "layers");
  const auto overlay = test::PrivateMount::overlay(directory_ / "layers", source_);
  forbid_devices();
  test::write_islands(source_ / "file", 1 << 20, {0});
  let_ctimes_settle();
  receive_while_it_becomes_one(0);
}

/// A limit of open descriptors for as long as this object lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t most) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit lower{most, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(WalkTest, ManyDirectoriesNeedFewDescriptors) {
  for (int i = 0; i < 3000; ++i) {
    fs::create_directory(source_ / ("empty" + std::to_string(i)));
    fs::create_directories(source_ / ("one" + std::to_string(i)) / "inside");
  }
  const DescriptorLimit limit(256);
  receive_all();
}

TEST_F(WalkTest, ALargeFlatDirectoryArrives) {
  for (int i = 0; i < 3000; ++i) write(source_ / ("file" + std::to_string(i)), "");
  receive_all();
}

// The second round creates files in directories that have their metadata already: what a file is born with there is
// not what the next directory's are.
TEST_F(WalkTest, FilesOfALaterRoundInheritFromTheirDirectoryOnly) {
  for (const auto* name : {"a", "b", "c"}) fs::create_directory(source_ / name);
  ASSERT_EQ(::chown((source_ / "b").c_str(), 1001, 1002), 0);
  ASSERT_EQ(::chmod((source_ / "b").c_str(), 02775), 0);  // its files are born with its group
  ASSERT_EQ(std::system(("setfacl -d -m u:1003:rwx '" + (source_ / "c").string() + "'").c_str()), 0);
  receive_all();
  for (const auto* name : {"a/one", "a/two", "b/one", "b/two", "c/one", "c/two"}) {
    write(source_ / name, name);
    ASSERT_EQ(::chown((source_ / name).c_str(), 0, 0), 0);
    ASSERT_EQ(std::system(("setfacl -b '" + (source_ / name).string() + "'").c_str()), 0);
  }
  receive_all();
}

}  // namespace
}  // namespace ferry::sync
