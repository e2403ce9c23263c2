#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

/// The xattr value of an ACL that gives the owner, user 1, the group, a mask and others rwx (linux/posix_acl_xattr.h).
std::string acl() {
  std::string value("\2\0\0\0", 4);
  const auto add = [&](std::uint16_t tag, std::uint32_t id) {
    for (const std::uint32_t number : {std::uint32_t{tag} | (7U << 16), id})
      for (int shift = 0; shift < 32; shift += 8) value += static_cast<char>(number >> shift);
  };
  add(1, 0xffffffff);
  add(2, 1);
  add(4, 0xffffffff);
  add(16, 0xffffffff);
  add(32, 0xffffffff);
  return value;
}

class ResumeTest : public MigrationTest {
 protected:
  static void give_default_acl(const fs::path& directory) {
    ASSERT_EQ(::setxattr(directory.c_str(), "system.posix_acl_default", acl().data(), acl().size(), 0), 0);
  }
  static void drop(const fs::path& path, const char* xattr) { (void)::removexattr(path.c_str(), xattr); }
};

TEST_F(ResumeTest, ADefaultAclIsNotInheritedByWhatAFurtherRoundAdds) {
  fs::create_directories(source_ / "d" / "e");
  receive_all();
  fs::create_directory(source_ / "d" / "new-directory");
  fs::create_directory(source_ / "d" / "new-directory" / "below");
  ASSERT_EQ(::mkfifo((source_ / "d" / "new-fifo").c_str(), 0640), 0);
  ASSERT_EQ(::mknod((source_ / "d" / "new-node").c_str(), S_IFCHR | 0600, 0x103), 0);
  write(source_ / "d" / "new-file", "x");
  fs::create_symlink("x", source_ / "d" / "new-link");
  write(source_ / "new-file-in-root", "x");
  fs::create_directory(source_ / "new-directory-in-root");
  give_default_acl(source_ / "d");
  give_default_acl(source_);
  for (const auto& directory : {staging_, staging_ / "d", staging_ / "d" / "e"}) give_default_acl(directory);
  receive_all();
}

TEST_F(ResumeTest, ADefaultAclOnAnEmptyRootIsNotInherited) {
  give_default_acl(source_);
  receive_all();
  fs::create_directory(source_ / "d");
  for (const char* name : {"system.posix_acl_default", "system.posix_acl_access"}) drop(source_ / "d", name);
  receive_all();
}

TEST_F(ResumeTest, ChangesOfMetadataAloneAreFollowed) {
  write(source_ / "file", "content");
  fs::create_directory(source_ / "directory");
  fs::create_symlink("target", source_ / "link");
  receive_all();
  ASSERT_EQ(::chmod((source_ / "file").c_str(), 06711), 0);
  ASSERT_EQ(::chown((source_ / "directory").c_str(), 12, 34), 0);
  ASSERT_EQ(::lchown((source_ / "link").c_str(), 56, 78), 0);
  ASSERT_EQ(::setxattr((source_ / "file").c_str(), "user.a", "1", 1, 0), 0);
  ASSERT_EQ(::setxattr((source_ / "directory").c_str(), "trusted.b", "2", 1, 0), 0);
  receive_all();
  drop(source_ / "file", "user.a");
  drop(source_ / "directory", "trusted.b");
  const std::timespec times[2] = {{0, UTIME_OMIT}, {-1'000'000, 1}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (source_ / "directory").c_str(), times, 0), 0);
  receive_all();
}

TEST_F(ResumeTest, EveryTypeMayBecomeEveryOther) {
  const std::vector<std::function<void(const fs::path&)>> kinds = {
      [](const fs::path& path) { write(path, "content"); },
      [](const fs::path& path) { fs::create_directory(path); },
      [](const fs::path& path) {
        fs::create_directories(path / "below");
        write(path / "below" / "file", "deep");
      },
      [](const fs::path& path) { fs::create_symlink("elsewhere", path); },
      [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); },
      [](const fs::path& path) { ASSERT_EQ(::mknod(path.c_str(), S_IFCHR | 0600, 0x103), 0); },
      [this](const fs::path& path) { fs::create_hard_link(source_ / "anchor", path); },
  };
  write(source_ / "anchor", "anchor");
  const auto name = [](std::size_t from, std::size_t to) { return std::to_string(from) + "-" + std::to_string(to); };
  for (std::size_t from = 0; from < kinds.size(); ++from)
    for (std::size_t to = 0; to < kinds.size(); ++to) kinds[from](source_ / name(from, to));
  receive_all();
  for (std::size_t from = 0; from < kinds.size(); ++from)
    for (std::size_t to = 0; to < kinds.size(); ++to) {
      fs::remove_all(source_ / name(from, to));
      kinds[to](source_ / name(from, to));
    }
  receive_all();
}

TEST_F(ResumeTest, TwoNamesOfOneFileMayBecomeTwoFilesAndBack) {
  write(source_ / "a", "one");
  fs::create_hard_link(source_ / "a", source_ / "b");
  receive_all();
  fs::remove(source_ / "b");
  write(source_ / "b", "two");
  receive_all();
  fs::remove(source_ / "a");
  fs::create_hard_link(source_ / "b", source_ / "a");
  receive_all();
}

TEST_F(ResumeTest, HardLinksIntoOtherDirectoriesAreNotSentAgain) {
  fs::create_directories(source_ / "z" / "y");
  write(source_ / "file", std::string(4 << 20, 'x'));
  fs::create_hard_link(source_ / "file", source_ / "z" / "link");
  fs::create_hard_link(source_ / "file", source_ / "z" / "y" / "link");
  let_ctimes_settle();
  receive_all();
  receive_all();
  EXPECT_LT(sent(), 10'000U);
}

// The same inode, size and ctime come back under a path whose copy was overwritten meanwhile.
TEST_F(ResumeTest, WhatComesBackByRenamesOfDirectoriesIsNotTakenForWhatIsInStaging) {
  fs::create_directory(source_ / "d");
  fs::create_directory(source_ / "other");
  write(source_ / "d" / "file", std::string(3 << 20, 'a'));
  write(source_ / "other" / "file", std::string(3 << 20, 'b'));
  let_ctimes_settle();
  receive_all();
  const auto swap = [&] {
    fs::rename(source_ / "d", source_ / "tmp");
    fs::rename(source_ / "other", source_ / "d");
    fs::rename(source_ / "tmp", source_ / "other");
  };
  swap();
  options_.connections = 1;
  receive_until(2 << 20);  // d/file is half of the other one
  swap();
  receive_all();
}

TEST_F(ResumeTest, WhatComesBackInPlaceOfAHardLinkIsSentAgain) {
  for (const auto* name : {"d", "other"}) fs::create_directory(source_ / name);
  write(source_ / "d" / "a", "a of d");
  write(source_ / "d" / "b", "b of d");
  write(source_ / "other" / "a", "a of o");
  fs::create_hard_link(source_ / "other" / "a", source_ / "other" / "b");
  let_ctimes_settle();
  receive_all();
  for (int i = 0; i < 2; ++i) {
    fs::rename(source_ / "d", source_ / "tmp");
    fs::rename(source_ / "other", source_ / "d");
    fs::rename(source_ / "tmp", source_ / "other");
    receive_all();
  }
}

TEST_F(ResumeTest, ADirectoryThatWentAndCameBackIsSentAgainAfterAnInterruption) {
  fs::create_directory(source_ / "d");
  write(source_ / "d" / "file", std::string(3 << 20, 'a'));
  let_ctimes_settle();
  receive_all();
  fs::rename(source_ / "d", directory_ / "away");
  receive_all();
  fs::rename(directory_ / "away", source_ / "d");
  receive_until(2 << 20);
  receive_all();
}

TEST_F(ResumeTest, ASparseFileOfTenGibibytesTakesNoTime) {
  const Fd file = *open_at(AT_FDCWD, (source_ / "sparse").string(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(file.get(), 10LL << 30), 0);
  for (const off_t at : {off_t{0}, off_t{5} << 30, (off_t{10} << 30) - 4096, (off_t{3} << 30) + 12345})
    ASSERT_EQ(::pwrite(file.get(), "data", 4, at), 4);
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_LT(sent(), 100'000U);
  struct stat info {};
  ASSERT_EQ(::stat((staging_ / "sparse").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 10LL << 30);
  EXPECT_LT(info.st_blocks, 1000);
  const Fd copy = *open_at(AT_FDCWD, (staging_ / "sparse").string(), O_RDONLY);
  for (const off_t at : {off_t{0}, off_t{5} << 30, (off_t{10} << 30) - 4096, (off_t{3} << 30) + 12345}) {
    std::string there(4, '\0');
    EXPECT_EQ(::pread(copy.get(), there.data(), 4, at), 4);
    EXPECT_EQ(there, "data");
  }
}

TEST_F(ResumeTest, PathsMayBeLongerThanAnyPath) {
  Fd current = *open_at(AT_FDCWD, source_.string(), O_RDONLY | O_DIRECTORY);
  const std::string name(250, 'd');
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(::mkdirat(current.get(), name.c_str(), 0751), 0);
    current = *open_at(current.get(), name, O_RDONLY | O_DIRECTORY);
    const Fd file = *open_at(current.get(), "file", O_WRONLY | O_CREAT, 0600);
    ASSERT_TRUE(write_all(file.get(), std::string(1, static_cast<char>('a' + i % 26)), "file"));
  }
  receive_all();
  receive_all();
}

}  // namespace
}  // namespace ferry::sync
