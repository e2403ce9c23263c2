#include "base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  return names;
}

/// A chain of directories far beyond PATH_MAX with a file at its end.
void make_deep(const fs::path& top, int depth) {
  const std::string name(200, 'd');
  fs::create_directory(top);
  Fd current = *open_at(AT_FDCWD, top.string(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < depth; ++i) {
    ASSERT_EQ(::mkdirat(current.get(), name.c_str(), 0700), 0);
    ASSERT_TRUE(open_at(current.get(), "file" + std::to_string(i), O_WRONLY | O_CREAT, 0600));
    current = *open_at(current.get(), name, O_RDONLY | O_DIRECTORY);
  }
}

TEST(Files, WritesAtomicallyWithTheModeAndLeavesNothingBeside) {
  const test::TemporaryDirectory directory;
  ::umask(077);
  ASSERT_TRUE(write_file_atomically(directory / "a", "one", 0644));
  ::umask(022);
  ASSERT_TRUE(write_file_atomically(directory / "a", "two", 0644));
  EXPECT_EQ(*read_file(directory / "a"), "two");
  struct stat info {};
  ASSERT_EQ(::stat((directory / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644U);
  EXPECT_THAT(names_in(directory.path()), testing::ElementsAre("a"));
}

TEST(Files, AFailedWriteKeepsTheOldContentAndLeavesNothingBeside) {
  const test::TemporaryDirectory directory;
  fs::create_directory(directory / "a");  // rename(2) cannot replace a directory by a file
  ASSERT_TRUE(write_file_atomically(directory / "a" / "old", "old"));
  const auto written = write_file_atomically(directory / "a", "new");
  ASSERT_FALSE(written);
  EXPECT_EQ(*read_file(directory / "a" / "old"), "old");
  EXPECT_THAT(names_in(directory.path()), testing::ElementsAre("a"));
}

TEST(Files, WritesANewFileWithTheModeAndNeverOverAnother) {
  const test::TemporaryDirectory directory;
  ::umask(077);
  ASSERT_TRUE(write_new_file(directory / "a", "one", 0644));
  ::umask(022);
  const auto again = write_new_file(directory / "a", "two", 0644);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::already_exists);
  EXPECT_EQ(*read_file(directory / "a"), "one");
  struct stat info {};
  ASSERT_EQ(::stat((directory / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644U);
  EXPECT_THAT(names_in(directory.path()), testing::ElementsAre("a"));
}

TEST(Files, ANewFileThatCannotBeMadeDurableIsNotThere) {
  const test::TemporaryDirectory directory;
  for (const char* name : {"write", "fchmod", "fsync"})
    for (const fs::path& place : {directory / "a", directory.path()}) {
      if (place == directory.path() && name != std::string("fsync")) continue;
      const test::InterceptedCalls intercepted(
          [&](const test::Call& call) { return call.name == name && call.place == place ? EIO : 0; });
      EXPECT_FALSE(write_new_file(directory / "a", "one")) << name;
      EXPECT_THAT(names_in(directory.path()), testing::IsEmpty()) << name;
    }
  EXPECT_TRUE(write_new_file(directory / "a", "one"));
}

TEST(Files, AReplacementThatFailsLeavesNothingBeside) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_atomically(directory / "a", "old"));
  for (const char* name : {"write", "fchmod", "fsync", "rename"}) {
    int number = 0;
    const test::InterceptedCalls intercepted(
        [&](const test::Call& call) { return call.name == name && number++ == 0 ? EIO : 0; });
    EXPECT_FALSE(write_file_atomically(directory / "a", "new")) << name;
    EXPECT_THAT(names_in(directory.path()), testing::ElementsAre("a")) << name;
    EXPECT_EQ(*read_file(directory / "a"), "old") << name;
  }
}

TEST(Files, ReplacesASymlinkAndNotItsTarget) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_atomically(directory / "target", "safe"));
  fs::create_symlink(directory / "target", directory / "link");
  ASSERT_TRUE(write_file_atomically(directory / "link", "new"));
  EXPECT_EQ(*read_file(directory / "target"), "safe");
  EXPECT_EQ(*read_file(directory / "link"), "new");
}

TEST(Files, ReadsUpToTheLimit) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_atomically(directory / "a", std::string(100'000, 'x')));
  EXPECT_EQ(read_file(directory / "a", 100'000)->size(), 100'000U);
  EXPECT_EQ(read_file(directory / "a", 99'999).error().code, Code::corrupt);
  EXPECT_EQ(read_file(directory / "b").error().code, Code::not_found);
}

TEST(Files, RenamesOnlyToAFreeName) {
  const test::TemporaryDirectory directory;
  fs::create_directory(directory / "a");
  fs::create_directory(directory / "b");
  EXPECT_EQ(rename_durably(directory / "a", directory / "b").error().code, Code::already_exists);
  EXPECT_TRUE(rename_durably(directory / "a", directory / "c"));
  EXPECT_EQ(rename_durably(directory / "a", directory / "d").error().code, Code::not_found);
}

TEST(Files, MakesMissingDirectories) {
  const test::TemporaryDirectory directory;
  EXPECT_TRUE(make_directories(directory / "a" / "b" / "c"));
  EXPECT_TRUE(make_directories(directory / "a" / "b" / "c"));
  EXPECT_TRUE(fs::is_directory(directory / "a" / "b" / "c"));
}

TEST(Files, AFileWhereADirectoryIsWantedIsAnError) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_atomically(directory / "file", ""));
  EXPECT_EQ(make_directories(directory / "file").error().code, Code::already_exists);
  EXPECT_FALSE(make_directories(directory / "file" / "below"));
}

TEST(Files, AnUnusablePathIsAnErrorAndNoException) {
  const test::TemporaryDirectory directory;
  fs::create_symlink("loop", directory / "loop");
  EXPECT_FALSE(make_directories(directory / "loop" / "below"));
  EXPECT_FALSE(make_directories(directory / std::string(300, 'n')));
}

TEST(RemoveTree, RemovesWhatIsDeeperThanAnyPath) {
  const test::TemporaryDirectory directory;
  make_deep(directory / "deep", 100);
  ASSERT_TRUE(remove_tree(directory / "deep"));
  EXPECT_THAT(names_in(directory.path()), testing::IsEmpty());
}

TEST(RemoveTree, RemovesEveryKindOfEntryAndFollowsNoSymlink) {
  const test::TemporaryDirectory directory;
  fs::create_directories(directory / "outside" / "kept");
  ASSERT_TRUE(write_file_atomically(directory / "outside" / "file", "kept"));
  const fs::path tree = directory / "tree";
  fs::create_directories(tree / "a" / "b");
  fs::create_directories(tree / "closed" / "c");
  fs::create_directory_symlink(directory / "outside", tree / "a" / "link");
  fs::create_symlink("../../outside/file", tree / "a" / "b" / "link");
  ASSERT_EQ(::mkfifo((tree / "fifo").c_str(), 0), 0);
  ASSERT_EQ(::chmod((tree / "closed").c_str(), 0), 0);
  ASSERT_TRUE(remove_tree(tree));
  EXPECT_FALSE(fs::exists(tree));
  EXPECT_EQ(*read_file(directory / "outside" / "file"), "kept");
  EXPECT_TRUE(fs::exists(directory / "outside" / "kept"));
}

TEST(RemoveTree, ASymlinkItselfIsRemovedAndNotWhatItNames) {
  const test::TemporaryDirectory directory;
  fs::create_directories(directory / "outside" / "kept");
  fs::create_directory_symlink(directory / "outside", directory / "link");
  ASSERT_TRUE(remove_tree(directory / "link"));
  EXPECT_TRUE(fs::exists(directory / "outside" / "kept"));
  EXPECT_FALSE(fs::is_symlink(directory / "link"));
}

TEST(RemoveTree, WhatIsMissingIsRemoved) {
  const test::TemporaryDirectory directory;
  EXPECT_TRUE(remove_tree(directory / "nothing"));
  EXPECT_TRUE(remove_tree(directory / "nothing" / "below"));
}

TEST(RemoveTree, ManyNamesInManyDirectories) {
  const test::TemporaryDirectory directory;
  for (int i = 0; i < 50; ++i) {
    const fs::path child = directory / "tree" / std::to_string(i) / "below";
    fs::create_directories(child);
    for (int j = 0; j < 20; ++j)
      ASSERT_TRUE(open_at(AT_FDCWD, (child / std::to_string(j)).string(), O_CREAT | O_WRONLY, 0600));
  }
  ASSERT_TRUE(remove_tree(directory / "tree"));
  EXPECT_THAT(names_in(directory.path()), testing::IsEmpty());
}

TEST(RemoveTree, StopsWhenAskedAndIsCarriedOn) {
  const test::TemporaryDirectory directory;
  for (int i = 0; i < 20; ++i) fs::create_directories(directory / "tree" / std::to_string(i) / "below");
  std::atomic<bool> stop{true};
  const auto stopped = remove_tree(directory / "tree", &stop);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::cancelled);
  EXPECT_FALSE(fs::is_empty(directory / "tree"));
  stop = false;
  EXPECT_TRUE(remove_tree(directory / "tree", &stop));
  EXPECT_FALSE(fs::exists(directory / "tree"));
}

TEST(RemoveTree, AnEntryThatCannotBeRemovedIsNamed) {
  const test::TemporaryDirectory directory;
  fs::create_directories(directory / "tree" / "busy");
  const std::string command = "chattr +i '" + (directory / "tree" / "busy").string() + "' 2>/dev/null";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "no immutable flag on this file system";
  const auto removed = remove_tree(directory / "tree");
  EXPECT_EQ(std::system(("chattr -i '" + (directory / "tree" / "busy").string() + "'").c_str()), 0);
  ASSERT_FALSE(removed);
  EXPECT_THAT(removed.error().message, HasSubstr("busy"));
}

}  // namespace
}  // namespace ferry
