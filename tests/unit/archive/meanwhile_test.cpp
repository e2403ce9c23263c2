#include <fcntl.h>
#include <stdio.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "archive/archive_fixture.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"

namespace ferry::archive {
namespace {

using test::Call;

/// Containers that write to the volume while it is being archived, some with bad intentions.
class Meanwhile : public ArchiveTest {
 protected:
  void SetUp() override {
    test::write_text(outside_ / "file", "secret");
    fs::create_directories(volume_ / "d");
    for (const char* name : {"a", "d/file", "z"}) test::write_text(volume_ / name, std::string(100'000, 'x'));
  }
  Meanwhile() {
    volume_ = disk_.path() / "volume";
    for (const auto& path : {volume_, outside_}) fs::create_directory(path);
  }

  /// The archive, when `act` happens just before the call `number` that looks at something in the volume, from 0.
  /// `count` becomes the number of calls.
  std::string pack_while(unsigned number, const std::function<void()>& act, unsigned& count) {
    std::mutex mutex;
    count = 0;
    const test::InterceptedCalls calls(
        [&](const Call& call) {
          const std::lock_guard guard(mutex);
          if (call.place.starts_with(volume_.string()) && count++ == number) act();
          return 0;
        },
        test::InterceptedCalls::Kind::reads);
    return pack();
  }

  /// When `act` happens just before the first call `name` about `place` in the volume.
  std::string pack_when(const std::string& name, const std::string& place, const std::function<void()>& act,
                        unsigned nth = 1) {
    std::mutex mutex;
    unsigned seen = 0;
    const test::InterceptedCalls calls(
        [&](const Call& call) {
          const std::lock_guard guard(mutex);
          if (call.name == name && call.place == (volume_ / place).string() && ++seen == nth) act();
          return 0;
        },
        test::InterceptedCalls::Kind::reads);
    std::string bytes = pack();
    EXPECT_GE(seen, nth);
    return bytes;
  }

  void swap(const fs::path& a, const fs::path& b) {
    EXPECT_EQ(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE), 0);
  }

  test::MemoryDisk disk_{"64M"};
  const fs::path outside_ = disk_.path() / "outside";
};

TEST_F(Meanwhile, ADirectoryOrFileThatBecomesASymlinkIsNotFollowed) {
  const fs::path hidden = disk_.path() / "hidden";
  for (const auto& [name, target] : {std::pair("d", outside_), std::pair("d/file", outside_ / "file")}) {
    unsigned count = 1;
    for (unsigned number = 0; number < count; ++number) {
      fs::remove(hidden);
      fs::create_symlink(target, hidden);
      const std::string bytes = pack_while(
          number, [&, path = volume_ / name] { swap(path, hidden); }, count);
      EXPECT_EQ(bytes.find("secret"), std::string::npos) << name << " at call " << number;
      const auto extracted = extract_anew(bytes);
      ASSERT_TRUE(extracted) << extracted.error().message << " " << number;
      if (fs::is_symlink(volume_ / name)) swap(volume_ / name, hidden);
    }
    EXPECT_GT(count, 20U);
  }
}

/// Whoever knows the number of a file elsewhere can have one of his own with the same.
TEST_F(Meanwhile, NorIsOneToAFileOfTheSameNumber) {
  const test::MemoryDisk other("64M");
  const auto number_of = [](const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_ino;
  };
  fs::path twin;
  for (int i = 0; i < 100 && (twin.empty() || number_of(twin) != number_of(volume_ / "d" / "file")); ++i)
    test::write_text(twin = other.path() / std::to_string(i), "secret");
  ASSERT_EQ(number_of(twin), number_of(volume_ / "d" / "file"));
  const std::string bytes = pack_when("openat", "d/file", [&] {
    fs::remove(volume_ / "d" / "file");
    fs::create_symlink(twin, volume_ / "d" / "file");
  });
  EXPECT_EQ(bytes.find("secret"), std::string::npos);
  EXPECT_EQ(written_.vanished, 1U);
}

TEST_F(Meanwhile, NorIsOneThatIsSwappedAllTheTime) {
  fs::create_symlink(outside_, disk_.path() / "hidden");
  std::atomic<bool> done = false;
  std::thread swapper([&] {
    while (!done) swap(volume_ / "d", disk_.path() / "hidden");
  });
  for (int i = 0; i < 100; ++i) {
    StringSink sink;
    (void)write(sink);  // it may find that a directory is none any more
    EXPECT_EQ(sink.text.find("secret"), std::string::npos);
  }
  done = true;
  swapper.join();
}

TEST_F(Meanwhile, WhatAFileLosesBecomesZeros) {
  extract_well(pack_when("pread", "d/file", [&] { fs::resize_file(volume_ / "d" / "file", 1000); }));
  EXPECT_EQ(load(staging_ / "d" / "file"), std::string(1000, 'x') + std::string(99'000, '\0'));
  EXPECT_EQ(written_.changed, 1U);
  EXPECT_THAT(written_.warnings, testing::ElementsAre(testing::HasSubstr("\"./d/file\"")));
}

TEST_F(Meanwhile, WhatAFileGainsIsLeftOut) {
  extract_well(pack_when("pread", "d/file", [&] { fs::resize_file(volume_ / "d" / "file", 200'000); }));
  EXPECT_EQ(load(staging_ / "d" / "file"), std::string(100'000, 'x'));
  EXPECT_EQ(written_.changed, 1U);
}

TEST_F(Meanwhile, AFileThatIsWrittenToIsNamed) {
  extract_well(pack_when("pread", "d/file", [&] { std::fstream(volume_ / "d" / "file") << "other"; }));
  EXPECT_TRUE(load(staging_ / "d" / "file").starts_with("otherxxx"));
  EXPECT_EQ(written_.changed, 1U);
}

TEST_F(Meanwhile, AFileThatVanishesIsLeftOut) {
  constexpr unsigned nth = 1;
  extract_well(pack_when(
      "openat", "d/file", [&] { fs::remove(volume_ / "d" / "file"); }, nth));
  EXPECT_FALSE(fs::exists(staging_ / "d" / "file"));
  EXPECT_EQ(written_.vanished, 1U);
  EXPECT_EQ(written_.files, 2U);
  EXPECT_THAT(written_.warnings, testing::ElementsAre(testing::HasSubstr("\"./d/file\"")));
}

TEST_F(Meanwhile, AFileThatBecomesAFifoIsNotWaitedFor) {
  extract_well(pack_when("openat", "d/file", [&] {
    fs::remove(volume_ / "d" / "file");
    ASSERT_EQ(::mkfifo((volume_ / "d" / "file").c_str(), 0600), 0);
  }));
  EXPECT_EQ(written_.vanished, 1U);
}

TEST_F(Meanwhile, AFileThatIsReplacedIsNotTakenForTheOld) {
  extract_well(pack_when("openat", "d/file", [&] {
    fs::rename(volume_ / "d" / "file", volume_ / "moved");
    test::write_text(volume_ / "d" / "file", "another file");
  }));
  EXPECT_FALSE(fs::exists(staging_ / "d" / "file"));
  EXPECT_EQ(written_.vanished, 1U);
}

TEST_F(Meanwhile, AnotherNameOfAFileThatVanishesStays) {
  fs::create_hard_link(volume_ / "d" / "file", volume_ / "other");
  fs::create_hard_link(volume_ / "d" / "file", volume_ / "third");
  extract_well(pack_when("openat", "d/file", [&] { fs::remove(volume_ / "d" / "file"); }));
  EXPECT_EQ(load(staging_ / "other"), std::string(100'000, 'x'));
  EXPECT_EQ(fs::hard_link_count(staging_ / "third"), 2U);
  EXPECT_FALSE(fs::exists(staging_ / "d" / "file"));
}

TEST_F(Meanwhile, ADirectoryThatVanishesIsEmpty) {
  extract_well(pack_when("openat", "a", [&] { fs::remove_all(volume_ / "d"); }));
  EXPECT_TRUE(fs::is_empty(staging_ / "d"));
  EXPECT_EQ(written_.vanished, 1U);
}

}  // namespace
}  // namespace ferry::archive
