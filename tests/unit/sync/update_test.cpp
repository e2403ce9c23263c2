#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <utility>

#include "support/seed.h"
#include "sync/estimate.h"
#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

TEST_F(UpdateTest, NothingIsSentOfWhatIsEqual) {
  for (int i = 0; i < 100; ++i) write(a_.data() / std::to_string(i), std::string(50'000, static_cast<char>(i)));
  write(a_.data() / "large", std::string(40 << 20, 'x'));
  let_ctimes_settle();
  copy(a_, b_);
  let_ctimes_settle();
  update(a_, b_);
  EXPECT_LT(sent(), 100 * 120U + 1000);
  EXPECT_EQ(digest_, digest_of_fresh_copy(a_));
  update(b_, a_);  // and back
  EXPECT_LT(sent(), 100 * 160U + 1000);
  update(a_, b_);
  EXPECT_LT(sent(), 100 * 160U + 1000);
  EXPECT_EQ(digest_, digest_of_fresh_copy(a_));
}

TEST_F(UpdateTest, OnlyThePagesThatDifferAreSent) {
  constexpr std::size_t size = 64U << 20;
  constexpr std::size_t page = 4096;
  test::SeededRandom random;
  write(a_.data() / "database", random.bytes(size));
  let_ctimes_settle();
  copy(a_, b_);
  const Host* hosts[] = {&a_, &b_, &a_};
  for (int i = 0; i < 2; ++i) {
    constexpr std::size_t pages = size / page / 100;
    for (std::size_t n = 0; n < pages; ++n)
      write_at(hosts[i]->data() / "database", static_cast<off_t>(random.below(size / page) * page), "changed");
    let_ctimes_settle();
    update(*hosts[i], *hosts[i + 1]);
    EXPECT_LT(sent(), 2 * pages * page);
    EXPECT_EQ(digest_, digest_of_fresh_copy(*hosts[i]));
  }
}

TEST_F(UpdateTest, WhatWasRenamedOrCopiedAtTheSenderIsNotSent) {
  test::SeededRandom random;
  fs::create_directories(a_.data() / "directory" / "deep");
  for (int i = 0; i < 50; ++i) write(a_.data() / "directory" / "deep" / std::to_string(i), random.bytes(20'000));
  write(a_.data() / "log", random.bytes(20 << 20));
  write(a_.data() / "kept", random.bytes(1 << 20));
  let_ctimes_settle();
  copy(a_, b_);
  fs::rename(a_.data() / "directory" / "deep", a_.data() / "moved");
  fs::rename(a_.data() / "log", a_.data() / "log.1");
  write(a_.data() / "log", "new");
  fs::copy(a_.data() / "kept", a_.data() / "directory" / "kept");
  struct stat kept {};
  ASSERT_EQ(::stat((a_.data() / "kept").c_str(), &kept), 0);
  const timespec times[] = {kept.st_atim, kept.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, (a_.data() / "directory" / "kept").c_str(), times, 0), 0);
  let_ctimes_settle();
  update(a_, b_);
  EXPECT_LT(sent(), 20'000U);
  EXPECT_EQ(digest_, digest_of_fresh_copy(a_));
}

TEST_F(UpdateTest, SizesAndHolesChangeToo) {
  const auto file = a_.data() / "file";
  const auto change = [&](const std::function<void(int)>& how) {
    how(open_at(AT_FDCWD, file.string(), O_RDWR)->get());
    update(a_, b_);
    let_ctimes_settle();
  };
  write(file, std::string(40 << 20, 'x'));
  copy(a_, b_);
  let_ctimes_settle();
  change([](int fd) { ASSERT_EQ(::ftruncate(fd, 33'333'333), 0); });
  change([](int fd) { ASSERT_EQ(::ftruncate(fd, 50'000'001), 0); });
  change([](int fd) { ASSERT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 20'000'000), 0); });
  change([](int fd) { ASSERT_EQ(::pwrite(fd, std::string(8192, '\0').data(), 8192, 8192), 8192); });
  change([](int fd) { ASSERT_EQ(::pwrite(fd, "x", 1, 49'999'999), 1); });
  change([](int fd) { ASSERT_EQ(::ftruncate(fd, 0), 0); });
  change([](int fd) { ASSERT_EQ(::pwrite(fd, "x", 1, 5), 1); });
}

TEST_F(UpdateTest, TheSenderNeedNotLookAgainIfNothingHasChangedSinceTheCopy) {
  fs::create_directory(a_.data() / "directory");
  write(a_.data() / "directory" / "file", "one");
  fs::create_hard_link(a_.data() / "directory" / "file", a_.data() / "link");
  let_ctimes_settle();
  copy(a_, b_);
  const auto unchanged = [&] {
    auto source = open(a_);
    const auto receipt = receive_update(source, b_);
    EXPECT_TRUE(receipt) << receipt.error().message;
    EXPECT_EQ(fs::exists(UpdatePaths(b_.update()).plan), source.sealed_unchanged == false);
    EXPECT_TRUE(apply(b_));
    return source.sealed_unchanged;
  };
  EXPECT_EQ(unchanged(), true);
  ASSERT_EQ(::chmod((a_.data() / "directory").c_str(), 0700), 0);
  let_ctimes_settle();
  EXPECT_EQ(unchanged(), false);
  EXPECT_EQ(unchanged(), true);
  fs::remove(a_.data() / "link");
  let_ctimes_settle();
  EXPECT_EQ(unchanged(), false);
  EXPECT_EQ(unchanged(), true);
  // Another volume of that host, or one of another host, with the same inodes and times is none that was copied.
  const auto root = [&] { return *open_at(AT_FDCWD, a_.data().string(), O_RDONLY | O_DIRECTORY); };
  for (auto* stranger :
       {new test::LocalSource(root(), "stranger"), new test::LocalSource(root(), a_.uuid, {}, "other")}) {
    const std::unique_ptr<test::LocalSource> owned(stranger);
    ASSERT_TRUE(receive_update(*owned, b_));
    EXPECT_EQ(owned->sealed_unchanged, false);
  }
}

// The source went back to what it was when it was copied, say, because its machine did.
TEST_F(UpdateTest, WhatAnEarlierAttemptHadPlannedIsForgottenIfNothingHasChanged) {
  write(a_.data() / "file", "one");
  let_ctimes_settle();
  copy(a_, b_);
  {
    const Host other{"a", disk_.path() / "other"};
    fs::create_directories(other.data());
    write(other.data() / "file", "two");
    auto later = test::LocalSource(*open_at(AT_FDCWD, other.data().string(), O_RDONLY | O_DIRECTORY), a_.uuid);
    ASSERT_TRUE(receive_update(later, b_));
    ASSERT_TRUE(fs::exists(UpdatePaths(b_.update()).plan));
    ASSERT_TRUE(remove_tree(other.volume));
  }
  auto source = open(a_);
  ASSERT_TRUE(receive_update(source, b_));
  EXPECT_EQ(source.sealed_unchanged, true);
  ASSERT_TRUE(apply(b_));
  expect_equal(a_, b_);
}

// What changes a name in the same instant as the walk that found it keeps its ctime.
TEST_F(UpdateTest, TheSenderLooksAgainIfACtimeWasTooNewToTellChanges) {
  fs::create_directory(a_.data() / "directory");
  write(a_.data() / "file", "one");
  let_ctimes_settle();
  {
    auto source = open(a_);
    source.on_manifest = [&, first = true](std::string&) mutable -> Result<> {
      if (std::exchange(first, false)) fs::permissions(a_.data() / "directory", fs::perms(0700));
      return {};
    };
    options_.rounds = 1;  // the next one would find it settled
    options_.writers = Writers::allowed;
    ASSERT_TRUE(import(source, b_));
  }
  options_ = {};
  let_ctimes_settle();
  auto source = open(a_);
  ASSERT_TRUE(receive_update(source, b_));
  EXPECT_EQ(source.sealed_unchanged, false);
}

// It was to a page that was dirty already, so that no ctime tells of it.
TEST_F(UpdateTest, AWriteDuringTheCopyIsNotLostOnTheWayBack) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    start_again();
    const auto path = a_.data() / "file";
    write(path, std::string(4096, '0'));
    let_ctimes_settle();
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR);
    auto* page = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
    {
      auto source = open(a_);
      source.on_manifest = [&, first = true](std::string&) mutable -> Result<> {
        if (std::exchange(first, false)) page[0] = '1';
        return {};
      };
      source.on_seal = [&, first = true]() mutable -> Result<> {
        if (std::exchange(first, false)) page[0] = '2';
        return {};
      };
      ASSERT_TRUE(import(source, b_));
    }
    ::munmap(page, 4096);
    let_ctimes_settle();
    write(b_.data() / "other", "of b");
    let_ctimes_settle();
    auto source = open(b_);
    if (receive_update(source, a_)) {
      ASSERT_TRUE(apply(a_));
    }
    EXPECT_EQ(read_file(path)->front(), '2');
  }
}

// ext4 holds 4 KiB of them for each file.
TEST_F(UpdateTest, XattrsMayTradeTheirSizes) {
  const auto set = [&](const fs::path& name, std::size_t a, std::size_t b) {
    for (const auto& [xattr, size] : {std::pair{"user.a", std::min(a, b)}, {"user.b", std::min(a, b)}})
      test::set_xattr(a_.data() / name, xattr, std::string(size, 'v'));
    test::set_xattr(a_.data() / name, "user.a", std::string(a, 'v'));
    test::set_xattr(a_.data() / name, "user.b", std::string(b, 'v'));
  };
  write(a_.data() / "file", "content");
  fs::create_directory(a_.data() / "directory");
  for (const auto* name : {"file", "directory"}) set(name, 100, 3500);
  let_ctimes_settle();
  copy(a_, b_);
  for (const auto* name : {"file", "directory"}) set(name, 3500, 100);
  let_ctimes_settle();
  update(a_, b_);
}

TEST_F(UpdateTest, ASocketGivesWay) {
  write(a_.data() / "file", "content");
  copy(a_, b_);
  for (const auto* name : {"directory", "file2", "nothing"})
    ASSERT_EQ(::mknod((b_.data() / name).c_str(), S_IFSOCK | 0600, 0), 0);
  fs::create_directory(a_.data() / "directory");
  write(a_.data() / "directory" / "x", "x");
  write(a_.data() / "file2", "x");
  let_ctimes_settle();
  update(a_, b_, Replace::allowed);
}

TEST_F(UpdateTest, ASocketGivesWayOnTheWayBack) {
  write(a_.data() / "file", "content");
  ASSERT_EQ(::mknod((a_.data() / "run").c_str(), S_IFSOCK | 0600, 0), 0);
  let_ctimes_settle();
  auto source = open(a_);
  ASSERT_TRUE(import(source, b_));
  fs::create_directory(b_.data() / "run");
  write(b_.data() / "run" / "x", "x");
  let_ctimes_settle();
  update(b_, a_);
}

// ext4 has at most 65,000 of one file, of which those that are taken away are some.
TEST_F(UpdateTest, ManyLinksMayMoveWithTheirDirectory) {
  fs::create_directories(a_.data() / "a");
  fs::create_directories(a_.data() / "b");
  write(a_.data() / "a" / "file", "content");
  for (int i = 0; i < 33'000; ++i) fs::create_hard_link(a_.data() / "a" / "file", a_.data() / "b" / std::to_string(i));
  let_ctimes_settle();
  copy(a_, b_);
  fs::rename(a_.data() / "b", a_.data() / "c");
  let_ctimes_settle();
  update(a_, b_);
}

TEST_F(UpdateTest, WhatIsImmutableIsToldBeforeAnythingIsDecided) {
  fs::create_directories(a_.data() / "directory");
  copy(a_, b_);
  write(a_.data() / "directory" / "new", "x");
  let_ctimes_settle();
  const Fd directory = *open_at(AT_FDCWD, (b_.data() / "directory").string(), O_RDONLY | O_DIRECTORY);
  const auto set_flags = [&](int flags) { ASSERT_EQ(::ioctl(directory.get(), FS_IOC_SETFLAGS, &flags), 0); };
  set_flags(FS_IMMUTABLE_FL);
  auto source = open(a_);
  const auto refused = receive_update(source, b_);
  const fs::path scratch = b_.volume / "scratch";
  fs::create_directories(scratch);
  const auto dry_run = estimate(source, options_, scratch, cancelled_);
  set_flags(0);
  ASSERT_FALSE(refused);
  ASSERT_FALSE(dry_run);
  for (const auto& error : {refused.error(), dry_run.error()}) {
    EXPECT_EQ(error.code, Code::denied);
    EXPECT_THAT(error.message, testing::AllOf(testing::HasSubstr("\"directory\""), testing::HasSubstr("chattr")));
  }
  EXPECT_FALSE(fs::exists(UpdatePaths(b_.update()).plan));
  update(a_, b_, Replace::allowed);
}

// A host with SELinux gives each file a label, one without has none; that is no change by anybody.
TEST_F(UpdateTest, LabelsOfTheHostStay) {
  fs::create_directory(a_.data() / "directory");
  for (const char* name : {"directory/file", "other"}) write(a_.data() / name, std::string(10'000, 'x'));
  let_ctimes_settle();
  const auto label = [&](const Host& host, const std::string& value) {
    for (const auto& path : {host.data(), host.data() / "directory", host.data() / "directory/file"})
      ASSERT_EQ(::setxattr(path.c_str(), "security.selinux", value.data(), value.size(), 0), 0) << path;
  };
  {
    auto source = open(a_);
    source.on_seal = [&]() -> Result<> {
      label(b_, "of-b");
      return {};
    };
    const auto receipt = import(source, b_);
    ASSERT_TRUE(receipt) << receipt.error().message;
  }
  write_at(a_.data() / "other", 0, "changed");
  let_ctimes_settle();
  auto source = open(a_);
  const auto receipt = receive_update(source, b_);
  ASSERT_TRUE(receipt) << receipt.error().message;
  ASSERT_TRUE(apply(b_));
  EXPECT_EQ(*read_file(b_.data() / "other"), *read_file(a_.data() / "other"));
  for (const auto& path : {b_.data(), b_.data() / "directory", b_.data() / "directory/file"}) {
    std::string there(4, '\0');
    EXPECT_EQ(::getxattr(path.c_str(), "security.selinux", there.data(), there.size()), 4) << path;
    EXPECT_EQ(there, "of-b") << path;
  }
  label(a_, "of-a");
  let_ctimes_settle();
  update(a_, b_);  // a label of the source is metadata like any other
}

TEST_F(UpdateTest, WhatWasChangedHereIsNotLost) {
  write(a_.data() / "file", "one");
  fs::create_directory(a_.data() / "directory");
  write(a_.data() / "directory" / "same", "size");
  write(a_.data() / "directory" / "also", "four");
  fs::create_symlink("file", a_.data() / "link");
  for (const char* name : {"one", "two"}) {
    write(a_.data() / name, "1234");
    fs::create_hard_link(a_.data() / name, a_.data() / (std::string(name) + "-link"));
  }
  copy(a_, b_);
  let_ctimes_settle();
  const std::vector<std::function<void(const fs::path&)>> changes = {
      [](const fs::path& data) { write(data / "file", "two"); },
      [](const fs::path& data) { write(data / "directory" / "new", "new"); },
      [](const fs::path& data) { fs::remove(data / "file"); },
      [](const fs::path& data) { ASSERT_EQ(::chmod((data / "directory").c_str(), 0700), 0); },
      [](const fs::path& data) { ASSERT_EQ(::chmod(data.c_str(), 0700), 0); },
      [](const fs::path& data) { ASSERT_EQ(::setxattr(data.c_str(), "user.new", "x", 1, 0), 0); },
      [](const fs::path& data) { ASSERT_EQ(::setxattr((data / "file").c_str(), "user.new", "x", 1, 0), 0); },
      [](const fs::path& data) { keeping_mtime(data, [&] { write(data / "new", "new"); }); },
      [](const fs::path& data) { keeping_mtime(data / "file", [&] { write(data / "file", "eno"); }); },
      [](const fs::path& data) {
        keeping_mtime(data / "directory", [&] { exchange(data / "directory" / "same", data / "directory" / "also"); });
      },
      [](const fs::path& data) { keeping_mtime(data, [&] { exchange(data / "one-link", data / "two-link"); }); },
      [](const fs::path& data) {
        fs::remove(data / "link");
        fs::create_symlink("elif", data / "link");
      },
  };
  for (const auto& change : changes) {
    change(b_.data());
    const test::TreeSnapshot before(b_.data());
    auto source = open(a_);
    const auto refused = receive_update(source, b_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::already_exists);
    EXPECT_THAT(refused.error().message, testing::HasSubstr("replace=true"));
    EXPECT_EQ(before.difference(test::TreeSnapshot(b_.data())), "");
    update(a_, b_, Replace::allowed);
    let_ctimes_settle();
  }
}

TEST_F(UpdateTest, OnTheWayBackItIsNotLostEither) {
  write(a_.data() / "file", "one");
  copy(a_, b_);
  write(b_.data() / "file", "two");
  let_ctimes_settle();
  write(a_.data() / "other", "three");
  auto source = open(b_);
  EXPECT_EQ(receive_update(source, a_).error().code, Code::already_exists);
  update(b_, a_, Replace::allowed);
}

TEST_F(UpdateTest, WithoutABaselineEverythingIsCompared) {
  test::SeededRandom random;
  for (int i = 0; i < 50; ++i) write(a_.data() / std::to_string(i), random.bytes(20'000));
  copy(a_, b_);
  fs::remove(b_.baseline());
  auto source = open(a_);
  EXPECT_EQ(receive_update(source, b_).error().code, Code::already_exists);
  update(a_, b_, Replace::allowed);
  EXPECT_LT(sent(), 20'000U);
  write(b_.baseline(), "damaged");
  update(a_, b_, Replace::allowed);
}

}  // namespace
}  // namespace ferry::sync
