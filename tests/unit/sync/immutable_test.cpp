#include <linux/fs.h>
#include <sys/ioctl.h>

#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Of the destination something is what nobody may change.
class ImmutableTest : public UpdateTest {
 protected:
  void SetUp() override {
    UpdateTest::SetUp();
    fs::create_directories(a_.data() / "directory" / "sub");
    write(a_.data() / "directory" / "sub" / "file", "content");
    write(a_.data() / "outside", "of several names");
    write(a_.data() / "empty", "");
    fs::create_hard_link(a_.data() / "outside", a_.data() / "directory" / "another-name");
    let_ctimes_settle();
    copy(a_, b_);
    let_ctimes_settle();
  }

  static void set_flags(const fs::path& path, int flags) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDONLY);
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags), 0) << path;
  }

  /// Before anything is decided; then without.
  void expect_refusal(const std::string& name) {
    let_ctimes_settle();
    set_flags(b_.data() / name, FS_IMMUTABLE_FL);
    auto source = open(a_);
    const auto refused = receive_update(source, b_, Replace::allowed);
    set_flags(b_.data() / name, 0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::denied);
    EXPECT_THAT(refused.error().message, AllOf(HasSubstr(name), HasSubstr("chattr")));
    EXPECT_FALSE(fs::exists(UpdatePaths(b_.update()).plan));
    update(a_, b_, Replace::allowed);
  }

  /// Somebody makes it so after the decision, and takes that back because of what is said.
  void expect_wait(const fs::path& path, const std::string& named) {
    let_ctimes_settle();
    auto source = open(a_);
    ASSERT_TRUE(receive_update(source, b_));
    set_flags(b_.data() / path, FS_IMMUTABLE_FL);
    const Fd file = *open_at(AT_FDCWD, (b_.data() / path).string(), O_RDONLY);
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto failed = apply_plan(b_.update(), b_.data(), b_.baseline());
      EXPECT_FALSE(failed);
      if (failed) continue;
      EXPECT_EQ(failed.error().code, Code::denied);
      EXPECT_THAT(failed.error().message, AllOf(HasSubstr(named), HasSubstr("chattr -i -a")));
    }
    const int none = 0;
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &none), 0);
    ASSERT_TRUE(apply(b_));
    expect_equal(a_, b_);
  }
};

// What is taken away is deleted before the update is complete, if something that stays has names in it.
TEST_F(ImmutableTest, BelowWhatGoesWithOtherNamesOfWhatStaysIsTold) {
  fs::remove_all(a_.data() / "directory");
  expect_refusal("directory/sub/file");
}

TEST_F(ImmutableTest, WhatGetsAnotherNameIsTold) {
  fs::create_hard_link(a_.data() / "empty", a_.data() / "new-name");
  expect_refusal("empty");
}

TEST_F(ImmutableTest, WhatBecomesSoAfterTheDecisionIsWaitedFor) {
  fs::create_hard_link(a_.data() / "empty", a_.data() / "new-name");
  expect_wait("empty", "new-name");
  write(a_.data() / "outside", "of several names, longer");
  expect_wait("outside", "outside");
  fs::remove_all(a_.data() / "directory" / "sub");
  expect_wait("directory/sub", "sub");
  fs::create_directory(a_.data() / "directory" / "sub");
  write(a_.data() / "directory" / "sub" / "file", "content");
  let_ctimes_settle();
  update(a_, b_);
  let_ctimes_settle();
  fs::remove_all(a_.data() / "directory");
  expect_wait("directory/sub/file", "gone");
}

}  // namespace
}  // namespace ferry::sync
