#include <sys/mman.h>

#include "support/mounts.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

/// A page of a file that is written to through mmap(2).
class MappedPage {
 public:
  explicit MappedPage(const fs::path& path) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR);
    page_ = static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
  }
  ~MappedPage() { ::munmap(page_, size); }
  void write(char c) { page_[0] = c; }
  static constexpr std::size_t size = 4096;

 private:
  char* page_;
};

using ChangeRule = MigrationTest;

// A write to a page that is dirty already changes no ctime. Here the first write falls between the round's syncfs and
// its look at the file, the second after the content was read: nothing but the rule of ManifestInfo::stable_before_ns
// tells the next round that the file must be read again.
TEST_F(ChangeRule, AWriteToADirtyPageIsNotLost) {
  write(source_ / "file", std::string(MappedPage::size, '0'));
  let_ctimes_settle();
  MappedPage page(source_ / "file");
  auto source = open_source();
  int pieces = 0;
  source.on_manifest = [&](std::string&) -> Result<> {
    if (++pieces == 1) page.write('1');
    return {};
  };
  source.on_content = [&](std::string&) -> Result<> {
    page.write('2');
    return {};
  };
  ASSERT_TRUE(receive(source));
  EXPECT_EQ(read_file(staging_ / "file")->front(), '1');
  let_ctimes_settle();
  receive_all();
  EXPECT_EQ(read_file(staging_ / "file")->front(), '2');
}

TEST_F(ChangeRule, AWriteToACleanPageIsSeenByItsCtime) {
  write(source_ / "file", std::string(MappedPage::size, '0'));
  let_ctimes_settle();
  MappedPage page(source_ / "file");
  receive_all();
  page.write('1');
  receive_all();
  EXPECT_EQ(read_file(staging_ / "file")->front(), '1');
}

TEST_F(ChangeRule, WhatHasBeenStillForLongIsNotReadAgain) {
  write(source_ / "file", std::string(1 << 20, 'x'));
  let_ctimes_settle();
  receive_all();
  receive_all();
  EXPECT_LT(sent(), 10'000U);
}

TEST_F(ChangeRule, OnTmpfsEverythingIsReadAgain) {
  const auto memory = test::PrivateMount::tmpfs(source_, "size=1m");
  write(source_ / "file", std::string(MappedPage::size, '0'));
  MappedPage page(source_ / "file");
  page.write('1');
  let_ctimes_settle();
  receive_all();
  page.write('2');
  receive_all();
  EXPECT_EQ(read_file(staging_ / "file")->front(), '2');
}

}  // namespace
}  // namespace ferry::sync
