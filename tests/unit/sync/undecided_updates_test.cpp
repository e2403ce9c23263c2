#include <linux/fs.h>
#include <sys/ioctl.h>

#include "sync/estimate.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// What could never be carried out is found before it is decided upon: then the volume stays what it is.
class UndecidedUpdates : public TwoFileSystems {
 protected:
  void begin(const FileSystem& of_a, const FileSystem& of_b) {
    use(of_a, of_b);
    start_again();
    write(a_.data() / "file", "content");
    fs::create_directories(a_.data() / "directory" / "sub");
    write(a_.data() / "directory" / "sub" / "file", "content");
    let_ctimes_settle();
  }

  void copy_it() {
    copy(a_, b_);
    let_ctimes_settle();
  }

  void expect_refusal(Code code, const testing::Matcher<std::string>& message) {
    let_ctimes_settle();
    auto source = open(a_);
    const auto receipt = receive_update(source, b_, Replace::allowed);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, code) << to_string(receipt.error().code) << ", " << receipt.error().message;
    EXPECT_THAT(receipt.error().message, message);
    EXPECT_FALSE(fs::exists(UpdatePaths(b_.update()).plan));
  }
};

TEST_F(UndecidedUpdates, AnXattrThatIsTooLargeWhereAnotherFileHasMoreOfThem) {
  begin(xfs(), large_ext4());
  write(a_.data() / "many", "x");
  test::set_many_xattrs(a_.data() / "many");
  copy_it();
  write(a_.data() / "a-file", "new content");
  for (const auto& path : {"file", "directory/sub"}) {
    for (const char* name : {"user.b", "security.b"}) {
      test::set_xattr(a_.data() / path, name, std::string(4100, 'v'));
      expect_refusal(Code::unsupported, AllOf(HasSubstr(path), HasSubstr(name)));
      ASSERT_EQ(::removexattr((a_.data() / path).c_str(), name), 0);
    }
  }
  let_ctimes_settle();
  update(a_, b_, Replace::allowed);
}

TEST_F(UndecidedUpdates, WhereSomethingIsMountedBelowTheVolume) {
  begin(large_ext4(), large_ext4());
  copy_it();
  write(a_.data() / "file", "new content");
  {
    const auto mounted = test::PrivateMount::tmpfs(b_.data() / "directory" / "sub", "size=1m");
    expect_refusal(Code::denied, AllOf(HasSubstr("directory/sub"), HasSubstr("umount")));
    auto source = open(a_);
    options_.update = UpdateOf{b_.data(), b_.uuid, Replace::allowed};
    fs::create_directory(images_ / "scratch");
    const auto estimated = estimate(source, options_, images_ / "scratch", cancelled_);
    ASSERT_FALSE(estimated);
    EXPECT_THAT(estimated.error().message, AllOf(HasSubstr("directory/sub"), HasSubstr("umount")));
  }
  update(a_, b_);
}

TEST_F(UndecidedUpdates, WhereTheVolumeIsAMountOfItsOwn) {
  begin(large_ext4(), large_ext4());
  copy_it();
  write(a_.data() / "file", "new content");
  {
    const auto mounted = test::PrivateMount::bind(b_.data(), b_.data());
    expect_refusal(Code::denied, AllOf(HasSubstr("b/data"), HasSubstr("umount")));
  }
  update(a_, b_);
}

// It is in the way only once it is decided: then the update waits, and says for what.
TEST_F(UndecidedUpdates, WaitForWhatIsMountedAfterTheDecision) {
  begin(large_ext4(), large_ext4());
  copy_it();
  fs::remove_all(a_.data() / "directory" / "sub");
  let_ctimes_settle();
  auto source = open(a_);
  ASSERT_TRUE(receive_update(source, b_));
  {
    const auto mounted = test::PrivateMount::tmpfs(b_.data() / "directory" / "sub", "size=1m");
    const auto applied = apply_plan(b_.update(), b_.data(), b_.baseline());
    ASSERT_FALSE(applied);
    EXPECT_THAT(applied.error().message, AllOf(HasSubstr("sub"), HasSubstr("umount")));
  }
  ASSERT_TRUE(apply(b_));
  expect_equal(a_, b_);
}

/// A project of quotas that a directory gives to what is made in it, and demands of what is moved there.
class Projects : public UndecidedUpdates {
 protected:
  void SetUp() override { begin(large_ext4(), xfs()); }

  static void give_project(const fs::path& directory, std::uint32_t project) {
    const Fd file = *open_at(AT_FDCWD, directory.string(), O_RDONLY);
    fsxattr attributes{};
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_FSGETXATTR, &attributes), 0);
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    ASSERT_EQ(::ioctl(file.get(), FS_IOC_FSSETXATTR, &attributes), 0) << std::generic_category().message(errno);
  }

  static std::uint32_t project_of(const fs::path& path) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDONLY);
    fsxattr attributes{};
    EXPECT_EQ(::ioctl(file.get(), FS_IOC_FSGETXATTR, &attributes), 0);
    return attributes.fsx_projid;
  }

  /// Files that come, go, are replaced and get names.
  void change_everything() const {
    fs::remove(a_.data() / "gone");
    fs::remove(a_.data() / "gone-symlink");
    write(a_.data() / "new", "new content");
    write(a_.data() / "directory" / "new", "new content");
    fs::create_directory(a_.data() / "new-directory");
    write(a_.data() / "new-directory" / "file", "new content");
    fs::create_hard_link(a_.data() / "file", a_.data() / "directory" / "link");
    fs::create_hard_link(a_.data() / "new", a_.data() / "directory" / "link-of-new");
    let_ctimes_settle();
  }

  void copy_all() {
    write(a_.data() / "gone", "x");
    fs::create_symlink("x", a_.data() / "gone-symlink");
    copy_it();
  }
};

TEST_F(Projects, OfTheDataAlone) {
  copy_all();
  give_project(b_.data(), 5);
  change_everything();
  update(a_, b_, Replace::allowed);
  EXPECT_EQ(project_of(b_.data() / "new"), 5U);
}

TEST_F(Projects, OfADirectoryInIt) {
  copy_all();
  give_project(b_.data() / "directory", 5);
  change_everything();
  update(a_, b_, Replace::allowed);
  EXPECT_EQ(project_of(b_.data() / "directory" / "new"), 5U);
  EXPECT_EQ(project_of(b_.data() / "new"), 5U) << "it has a name there";
  EXPECT_EQ(project_of(b_.data() / "new-directory" / "file"), 0U);
}

TEST_F(Projects, OfTheWholeVolume) {
  copy_all();
  give_project(b_.volume, 5);
  change_everything();
  update(a_, b_, Replace::allowed);
}

}  // namespace
}  // namespace ferry::sync
