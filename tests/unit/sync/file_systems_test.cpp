#include "support/full_tree.h"
#include "support/intercepted_calls.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class FileSystems : public TwoFileSystems {
 protected:
  void receive_full_tree() {
    const test::FullTree tree(source_);
    let_ctimes_settle();
    receive_all();
    expect_holes("holes");
    expect_holes("only a hole");
  }

 private:
  void expect_holes(const char* name) const {
    struct stat info {};
    ASSERT_EQ(::stat((staging_ / name).c_str(), &info), 0);
    EXPECT_LT(info.st_blocks, 400) << name;
  }
};

TEST_F(FileSystems, XfsTakesWhatExt4Has) {
  use(ext4(), xfs());
  receive_full_tree();
}

TEST_F(FileSystems, Ext4TakesWhatXfsHas) {
  use(xfs(), ext4());
  receive_full_tree();
}

TEST_F(FileSystems, BtrfsTakesWhatExt4Has) {
  use(ext4(), btrfs());
  receive_full_tree();
}

TEST_F(FileSystems, Ext4TakesWhatBtrfsHas) {
  use(btrfs(), ext4());
  receive_full_tree();
}

TEST_F(FileSystems, TmpfsTakesWhatExt4Has) {
  use(ext4(), tmpfs());
  receive_full_tree();
}

TEST_F(FileSystems, Ext4TakesWhatTmpfsHas) {
  use(tmpfs(), ext4());
  receive_full_tree();
}

TEST_F(FileSystems, BtrfsTakesWhatXfsHas) {
  use(xfs(), btrfs());
  receive_full_tree();
}

TEST_F(FileSystems, XfsTakesWhatXfsHas) {
  use(xfs(), xfs());
  receive_full_tree();
}

TEST_F(FileSystems, XfsFollowsChangesAndGetsNothingTwice) {
  use(btrfs(), xfs());
  receive_full_tree();
  test::write_text(source_ / "old", "changed");
  for (const char* name : {"attributes", "directory"})
    ASSERT_EQ(::removexattr((source_ / name).c_str(), "system.posix_acl_access"), 0);
  ASSERT_EQ(::removexattr((source_ / "directory").c_str(), "system.posix_acl_default"), 0);
  test::set_xattr(source_, "system.posix_acl_default", test::acl_for_user_7(0));
  let_ctimes_settle();
  receive_all();
  EXPECT_LT(sent(), 20'000U);
}

/// What the destination cannot hold is told before any content is asked for.
// Whoever writes twice within a second leaves the same ctime.
TEST_F(FileSystems, WhereTimesAreOfWholeSecondsNoWriteIsLost) {
  use(ext4_with_small_inodes(), tmpfs());
  for (int attempt = 0; attempt < 2; ++attempt) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::this_thread::sleep_for(std::chrono::nanoseconds(1'050'000'000 - now.tv_nsec));  // a second has just begun
    write(source_ / "file", "one" + std::to_string(attempt));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    receive_all();
    write(source_ / "file", "two" + std::to_string(attempt));
    receive_all();
    EXPECT_EQ(*read_file(staging_ / "file"), "two" + std::to_string(attempt));
  }
}

TEST_F(FileSystems, XattrsMayTradeTheirSizesBetweenAttempts) {
  use(ext4(), ext4());
  write(source_ / "file", "x");
  const auto set = [&](std::size_t a, std::size_t b) {
    test::set_xattr(source_ / "file", "user.a", std::string(100, 'v'));
    test::set_xattr(source_ / "file", "user.b", std::string(100, 'v'));
    test::set_xattr(source_ / "file", "user.a", std::string(a, 'v'));
    test::set_xattr(source_ / "file", "user.b", std::string(b, 'v'));
  };
  set(100, 3500);
  let_ctimes_settle();
  receive_all();
  set(3500, 100);
  let_ctimes_settle();
  receive_all();
}

class Refusals : public TwoFileSystems {
 protected:
  /// ramfs knows no xattrs at all.
  void use_ramfs() {
    for (const auto& path : {source_, staging_}) fs::remove(path);
    destination_.emplace(test::PrivateMount::ramfs(directory_.path()));
    for (const auto& path : {source_, staging_}) fs::create_directory(path);
    source_mount_.emplace(test::PrivateMount::ext4(images_ / "source", source_));
    fs::remove(source_ / "lost+found");
    write(source_ / "content", "content");
  }

  fs::path file_with_xattr(const char* name, const std::string& value) const {
    write(source_ / "odd", "x");
    test::set_xattr(source_ / "odd", name, value);
    return source_ / "odd";
  }

 private:
  std::optional<test::PrivateMount> destination_;
  std::optional<test::PrivateMount> source_mount_;
};

TEST_F(Refusals, MoreXattrsThanFitIntoTheManifest) {
  use(xfs(), xfs());
  write(source_ / "file", "x");
  for (int i = 0; i < 70; ++i)
    test::set_xattr(source_ / "file", ("user." + std::to_string(i)).c_str(), std::string(65'536, 'v'));
  let_ctimes_settle();
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_THAT(receipt.error().message, AllOf(HasSubstr("file"), HasSubstr("its xattrs take 458")));
}

TEST_F(Refusals, ManySmallXattrsWhereThereIsRoomForOneLarge) {
  use(xfs(), ext4());
  write(source_ / "content", "content");
  write(source_ / "one", "x");
  write(source_ / "many", "x");
  test::set_xattr(source_ / "one", "user.big", std::string(3800, 'v'));
  for (int i = 0; i < 150; ++i)
    test::set_xattr(source_ / "many", ("user." + std::to_string(100 + i)).c_str(), "0123456789");
  expect_refusal(Code::unsupported, HasSubstr("many"));
}

// The other has more bytes of them in sum, as whoever tries only that one would find. On ext4 it fits nevertheless.
TEST_F(Refusals, AnXattrThatIsTooLargeWhereAnotherFileHasMoreOfThem) {
  use(xfs(), ext4());
  write(source_ / "many", "x");
  test::set_many_xattrs(source_ / "many");
  let_ctimes_settle();
  receive_all();
  fs::create_directory(source_ / "directory");
  for (const char* name : {"user.b", "trusted.b", "security.b"}) {
    write(source_ / "directory" / "one", "x");
    test::set_xattr(source_ / "directory" / "one", name, std::string(4100, 'v'));
    expect_refusal(Code::unsupported, AllOf(HasSubstr("\"directory/one\""), HasSubstr(name)));
    fs::remove(source_ / "directory" / "one");
  }
}

// Security modules and ACLs have rules for the values: one that is refused is no less so beside a longer one.
TEST_F(Refusals, EachValueOfWhichSomebodyChecksTheValue) {
  use(xfs(), ext4());
  for (const char* name : {"a", "b", "c"}) {
    write(source_ / name, "x");
    test::set_xattr(source_ / name, "security.label", std::string("value ") + name);
  }
  int tries = 0;
  const test::InterceptedCalls calls([&](const test::Call& call) {
    return call.name == "fsetxattr" && call.place.find("probe") != std::string::npos && ++tries == 2 ? EINVAL : 0;
  });
  expect_refusal(Code::unsupported, AllOf(HasSubstr("\"b\""), HasSubstr("security.label")));
}

TEST_F(Refusals, CostNothingWhereXattrsAreFewAndSmall) {
  use(ext4(), ext4());
  for (int i = 0; i < 300; ++i) {
    write(source_ / std::to_string(i), "x");
    test::set_xattr(source_ / std::to_string(i), ("user." + std::to_string(i)).c_str(), std::string(i % 60, 'v'));
    test::set_xattr(source_ / std::to_string(i), "security.label", i % 2 == 0 ? "even" : "odd");
  }
  std::atomic<int> tries = 0;
  const test::InterceptedCalls calls([&](const test::Call& call) {
    if (call.name == "fsetxattr" && call.place.find("probe") != std::string::npos) ++tries;
    return 0;
  });
  let_ctimes_settle();
  receive_all();
  EXPECT_EQ(tries, 4);
}

TEST_F(Refusals, EachKindOfXattrOnAFileSystemWithoutThem) {
  use_ramfs();
  for (const char* name : {"user.a", "trusted.a"}) {
    file_with_xattr(name, "1");
    expect_refusal(Code::unsupported, AllOf(HasSubstr("extended attributes of \"odd\""), HasSubstr(name)));
    fs::remove(source_ / "odd");
  }
  file_with_xattr("security.capability", test::file_capability());
  expect_refusal(Code::unsupported, AllOf(HasSubstr("\"odd\""), HasSubstr("security.capability")));
}

TEST_F(Refusals, AclsOnAFileSystemWithoutThem) {
  use_ramfs();
  file_with_xattr("system.posix_acl_access", test::acl_for_user_7(7));
  expect_refusal(Code::unsupported, HasSubstr("system.posix_acl_access"));
  fs::remove(source_ / "odd");
  fs::create_directory(source_ / "odd");
  test::set_xattr(source_ / "odd", "system.posix_acl_default", test::acl_for_user_7(7));
  expect_refusal(Code::unsupported, HasSubstr("system.posix_acl_default"));
}

TEST_F(Refusals, AnXattrOfASymlinkAlone) {
  use_ramfs();
  fs::create_symlink("target", source_ / "odd");
  test::set_xattr(source_ / "odd", "trusted.a", "1");
  expect_refusal(Code::unsupported, HasSubstr("trusted.a"));
}

TEST_F(Refusals, AnXattrOfTheRootAlone) {
  use_ramfs();
  test::set_xattr(source_, "user.a", "1");
  expect_refusal(Code::unsupported, HasSubstr("user.a"));
}

TEST_F(Refusals, AnXattrThatIsTooLargeForExt4) {
  use(xfs(), ext4());
  file_with_xattr("user.large", std::string(60'000, 'v'));
  expect_refusal(Code::unsupported, AllOf(HasSubstr("\"odd\""), HasSubstr("user.large")));
}

TEST_F(Refusals, AnXattrThatIsTooLargeForBtrfs) {
  use(xfs(), btrfs());
  file_with_xattr("user.large", std::string(60'000, 'v'));
  expect_refusal(Code::unsupported, AllOf(HasSubstr("\"odd\""), HasSubstr("user.large")));
}

TEST_F(Refusals, MoreXattrsThanOneFileHasRoomForOnExt4) {
  use(xfs(), ext4());
  for (int i = 0; i < 20; ++i) file_with_xattr(("user." + std::to_string(i)).c_str(), std::string(300, 'v'));
  expect_refusal(Code::unsupported, HasSubstr("extended attributes of \"odd\""));
}

TEST_F(Refusals, TimesAfter2038WithSmallInodes) {
  use(ext4(), ext4_with_small_inodes());
  for (const auto& path : {source_, source_ / "odd"}) {
    write(source_ / "odd", "x");
    test::set_mtime(source_ / "odd", 1, 0);
    test::set_mtime(source_, 1, 0);
    test::set_mtime(path, 4'000'000'000, 0);
    expect_refusal(Code::unsupported, HasSubstr("modification time"));
  }
}

TEST_F(Refusals, TimesBefore1901OnExt4) {
  use(btrfs(), ext4());
  write(source_ / "odd", "x");
  test::set_mtime(source_ / "odd", -3'000'000'000, 0);
  expect_refusal(Code::unsupported, AllOf(HasSubstr("modification time"), HasSubstr("\"odd\"")));
}

TEST_F(Refusals, NothingIfTimesFitSmallInodes) {
  use(ext4(), ext4_with_small_inodes());
  write(source_ / "fits", "x");
  test::set_mtime(source_ / "fits", -2'147'483'648, 0);
  test::set_mtime(source_, 2'147'483'647, 0);
  receive_all();
}

TEST_F(Refusals, NanosecondsWithSmallInodes) {
  use(ext4(), ext4_with_small_inodes());
  write(source_ / "odd", "x");
  test::set_mtime(source_ / "odd", 1, 500'000'000);
  test::set_mtime(source_, 1, 0);
  expect_refusal(Code::unsupported, AllOf(HasSubstr("modification time"), HasSubstr("\"odd\"")));
}

TEST_F(Refusals, TimesAfter2038OnXfsWithoutBigtime) {
  use(ext4(), xfs_without_bigtime());
  fs::create_symlink("target", source_ / "odd");
  test::set_mtime(source_ / "odd", 4'000'000'000, 0);
  expect_refusal(Code::unsupported, AllOf(HasSubstr("modification time"), HasSubstr("\"odd\"")));
}

TEST_F(Refusals, SymlinksThatAreTooLongForXfs) {
  use(tmpfs(), xfs());
  write(source_ / "content", "content");
  fs::create_symlink(std::string(2000, 'l'), source_ / "odd");
  expect_refusal(Code::unsupported, AllOf(HasSubstr("odd"), HasSubstr("symlink")));
}

TEST_F(Refusals, AFileThatIsLongerThanAnyOnExt4) {
  use(xfs(), ext4());
  write(source_ / "content", "content");
  test::write_islands(source_ / "odd", off_t{20} << 40, {0});
  expect_refusal(Code::unsupported, HasSubstr("odd"));
}

TEST_F(Refusals, MoreNamesOfOneFileThanExt4Allows) {
  use(tmpfs(), ext4());
  write(source_ / "odd", "x");
  for (int i = 0; i < 65'000; ++i) fs::create_hard_link(source_ / "odd", source_ / std::to_string(i));
  expect_refusal(Code::unsupported, HasSubstr("link"));
}

}  // namespace
}  // namespace ferry::sync
