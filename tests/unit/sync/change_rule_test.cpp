#include <sys/mman.h>

#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "sync/migration_fixture.h"
#include "sync/walk.h"

namespace ferry::sync {
namespace {

/// A page of a file, at `offset`, that is written to through mmap(2).
class MappedPage {
 public:
  explicit MappedPage(const fs::path& path, off_t offset = 0) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR);
    page_ = static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), offset));
  }
  MappedPage(const MappedPage&) = delete;
  MappedPage& operator=(const MappedPage&) = delete;
  ~MappedPage() { ::munmap(page_, size); }
  void write(char c) { page_[0] = c; }
  static constexpr std::size_t size = 4096;

 private:
  char* page_;
};

class ChangeRule : public MigrationTest {
 protected:
  std::uint64_t ctime_of_file() const {
    struct stat info {};
    EXPECT_EQ(::stat((source_ / "file").c_str(), &info), 0);
    return ctime_ns(info);
  }

  void sync_source() const {
    const Fd root = *open_at(AT_FDCWD, source_.string(), O_RDONLY | O_DIRECTORY);
    ASSERT_EQ(::syncfs(root.get()), 0);
  }

  /// A round with a first write between its syncfs and its look at the file, and a second one after the content was
  /// read. False: the kernel wrote the page back in between, for whatever else runs here, so the second one showed.
  /// Where `instead_of_sync` is given it makes the first write, to a page that is clean.
  bool receive_while_written_unseen(const std::function<void(MappedPage&)>& instead_of_sync = {}) {
    fs::remove(source_ / "file");  // Linux 6.13 gives a finer ctime to what was changed after somebody asked for it
    write(source_ / "file", std::string(MappedPage::size, '0'));
    sync_source();
    let_ctimes_settle();
    MappedPage page(source_ / "file");
    auto source = open_source();
    std::optional<test::InterceptedCalls> calls;
    if (instead_of_sync)
      calls.emplace([&](const test::Call& call) {
        if (call.name != "syncfs" || call.place != source_) return 0;
        instead_of_sync(page);
        return test::InterceptedCalls::done;
      });
    int pieces = 0;
    int reads = 0;
    bool unseen = false;
    source.on_manifest = [&](std::string&) -> Result<> {
      if (++pieces == 1 && !instead_of_sync) page.write('1');
      return {};
    };
    source.on_content = [&](std::string&) -> Result<> {
      if (++reads > 1) return {};
      const auto before = ctime_of_file();
      page.write('2');
      unseen = ctime_of_file() == before;
      return {};
    };
    options_.rounds = 1;
    options_.writers = Writers::allowed;
    const auto receipt = receive(source);
    EXPECT_TRUE(receipt) << receipt.error().message;
    options_ = {};
    return unseen;
  }

  /// A page that is dirty before the first attempt is written to once more, through the same map, before the second.
  void expect_write_to_dirty_page_arrives(const fs::path& file = "file") {
    write(source_ / file, std::string(MappedPage::size, '0'));
    MappedPage page(source_ / file);
    page.write('1');
    let_ctimes_settle();
    receive_all();
    page.write('2');
    let_ctimes_settle();
    receive_all();
    EXPECT_EQ(read_file(staging_ / file)->front(), '2');
  }

  /// Such a round until one succeeds, and another attempt, which has to find what was written unseen.
  void expect_no_write_lost(const std::function<void(MappedPage&)>& instead_of_sync = {}) {
    int attempts = 1;
    while (!receive_while_written_unseen(instead_of_sync)) ASSERT_LT(++attempts, 50) << "the page never stayed dirty";
    EXPECT_EQ(read_file(staging_ / "file")->front(), '1');
    let_ctimes_settle();
    receive_all();
    EXPECT_EQ(read_file(staging_ / "file")->front(), '2');
  }
};

// A write to a page that is dirty already changes no ctime: nothing but the rule of ManifestInfo::stable_before_ns
// tells the next round that the file must be read again.
TEST_F(ChangeRule, AWriteToADirtyPageIsNotLost) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  expect_no_write_lost();
}

// What counts is when syncfs began: a page may be written back early in a long one, and dirtied before it ends.
TEST_F(ChangeRule, AWriteDuringALongSyncIsNotLost) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  expect_no_write_lost([this](MappedPage& page) {
    sync_source();
    page.write('1');
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
}

// The kernel's clock of ctimes is up to a tick behind, so the ctime of what is written within it is before the sync.
TEST_F(ChangeRule, AWriteWithinTheTickOfAShortSyncIsNotLost) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  expect_no_write_lost([](MappedPage& page) { page.write('1'); });
}

// Without syncfs it would stay writable without a fault, and its file's ctime would be old.
TEST_F(ChangeRule, APageThatIsDirtyBeforeTheWalkIsWrittenBackFirst) {
  const auto own = test::PrivateMount::ext4(directory_ / "image", source_);
  expect_write_to_dirty_page_arrives();
}

// Both pages are always the same at the source: one of each would be a state that never was.
TEST_F(ChangeRule, WhatIsWrittenUnseenWhileItIsReadIsReadAgain) {
  const auto own = test::PrivateMount::made_by("mkfs.ext4 -q", "64M", directory_ / "image", source_);
  constexpr off_t far = 18 << 20;  // in another extent
  for (int attempt = 0; attempt < 5; ++attempt) {
    fs::remove_all(staging_);
    fs::create_directories(staging_);
    fs::remove(journal_);
    write(source_ / "file", std::string(far + MappedPage::size, '0'));
    let_ctimes_settle();
    MappedPage first(source_ / "file");
    MappedPage last(source_ / "file", far);
    const auto write_both = [&](char c) {
      first.write(c);
      last.write(c);
    };
    options_.connections = 1;
    auto source = open_source();
    source.on_manifest = [&, pieces = 0](std::string&) mutable -> Result<> {
      if (++pieces == 1) write_both('1');
      return {};
    };
    source.on_content = [&, reads = 0](std::string&) mutable -> Result<> {
      if (++reads == 1) write_both('2');
      return {};
    };
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_GT(receipt->rounds, 1U);
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
  }
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

/// Where pages are never clean, no ctime shows a second write.
using ChangeRuleInMemory = ChangeRule;

TEST_F(ChangeRuleInMemory, OnTmpfs) {
  const auto memory = test::PrivateMount::tmpfs(source_, "size=1m");
  expect_write_to_dirty_page_arrives();
}

TEST_F(ChangeRuleInMemory, OnRamfs) {
  const auto memory = test::PrivateMount::ramfs(source_);
  expect_write_to_dirty_page_arrives();
}

TEST_F(ChangeRuleInMemory, OnOverlayfsOverTmpfs) {
  const auto memory = test::PrivateMount::tmpfs(directory_ / "memory", "size=1m");
  const auto overlay = test::PrivateMount::overlay(memory.path(), source_);
  expect_write_to_dirty_page_arrives();
}

/// What is mounted in the tree is not synced with it, and may be of a kind that shows nothing.
class ChangeRuleOfMounts : public ChangeRule {
 protected:
  void expect_write_in_mount_arrives() {
    write(source_ / "still", std::string(100'000, 's'));
    expect_write_to_dirty_page_arrives("inner/file");
    EXPECT_LT(sent(), 20'000U) << "what is not in the mount";
  }

  const test::PrivateMount own_ = test::PrivateMount::ext4(directory_ / "image", source_);
};

TEST_F(ChangeRuleOfMounts, OfTmpfs) {
  const auto inner = test::PrivateMount::tmpfs(source_ / "inner", "size=1m");
  expect_write_in_mount_arrives();
}

TEST_F(ChangeRuleOfMounts, OfAnotherDisk) {
  const auto inner = test::PrivateMount::ext4(directory_ / "image2", source_ / "inner");
  expect_write_in_mount_arrives();
}

// A subvolume has another st_dev, but is synced and shows what is written as the rest does.
TEST_F(ChangeRule, SubvolumesOfBtrfsAreOfItsFileSystem) {
  const auto own = test::PrivateMount::made_by("mkfs.btrfs -q", "128M", directory_ / "image", source_);
  const std::string command = "btrfs -q subvolume create '" + (source_ / "inner").string() + "' >/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  write(source_ / "inner" / "file", std::string(100'000, 'x'));
  let_ctimes_settle();
  receive_all();
  receive_all();
  EXPECT_LT(sent(), 20'000U);
}

}  // namespace
}  // namespace ferry::sync
