#include "base/directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/files.h"
#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

class DirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"b", "a", "\xff", ".hidden", "c"})
      ASSERT_TRUE(write_file_atomically(directory_ / name, ""));
    opened_ = *open_at(AT_FDCWD, directory_.path().string(), O_RDONLY | O_DIRECTORY);
  }

  test::TemporaryDirectory directory_;
  Fd opened_;
};

TEST_F(DirectoryTest, NamesAreSortedBytewise) {
  EXPECT_THAT(*names_in(opened_.get()), testing::ElementsAre(".hidden", "a", "b", "c", "\xff"));
  EXPECT_THAT(*names_in(opened_.get()), testing::SizeIs(5));  // the descriptor's offset was left alone
}

TEST_F(DirectoryTest, AnErrorInTheMiddleIsNotTheEnd) {
  for (const int names : {0, 3}) {
    int number = 0;
    const test::InterceptedCalls intercepted(
        [&](const test::Call& call) { return call.name == "readdir" && number++ == names ? EIO : 0; },
        test::InterceptedCalls::Kind::reads);
    EXPECT_EQ(names_in(opened_.get()).error().code, Code::io);
    number = 0;
    EXPECT_EQ(remove_tree(directory_.path()).error().code, Code::io);
  }
}

TEST_F(DirectoryTest, OnlyADirectoryIsOpenedAndNoSymlinkFollowed) {
  fs::create_directory(directory_ / "d");
  fs::create_directory_symlink("d", directory_ / "link");
  EXPECT_TRUE(DirectoryReader::open(opened_.get(), "d"));
  for (const char* name : {"link", "a", "missing"})
    EXPECT_EQ(DirectoryReader::open(opened_.get(), name).error().code, Code::not_found) << name;
}

}  // namespace
}  // namespace ferry
