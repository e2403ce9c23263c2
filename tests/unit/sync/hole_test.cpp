#include "support/mounts.h"
#include "sync/extent.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

constexpr std::uint64_t mib = 1U << 20;

class HoleTest : public MigrationTest {
 protected:
  /// A file of which only the end is data.
  Fd write_behind_hole(const fs::path& path, std::uint64_t hole, std::uint64_t size) const {
    Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR | O_CREAT, 0600);
    const std::string data(size - hole, 'x');
    EXPECT_EQ(::pwrite(file.get(), data.data(), data.size(), static_cast<off_t>(hole)),
              static_cast<ssize_t>(data.size()));
    return file;
  }
  static Extent first_extent(const fs::path& path) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_RDONLY);
    return *find_extent(file.get(), 0, fs::file_size(path));
  }
  static std::uint64_t blocks(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
};

TEST_F(HoleTest, ExtentsAreFoundOneAfterTheOther) {
  const Fd file = write_behind_hole(source_ / "a", 2 * mib, 3 * mib);
  ASSERT_EQ(::ftruncate(file.get(), 9 * mib), 0);
  ASSERT_EQ(::pwrite(file.get(), "y", 1, 6 * mib), 1);
  EXPECT_EQ(*find_extent(file.get(), 0, 9 * mib), (Extent{2 * mib, 3 * mib}));
  EXPECT_EQ(*find_extent(file.get(), 2 * mib + 1, 9 * mib), (Extent{2 * mib + 1, 3 * mib}));
  const auto second = find_extent(file.get(), 3 * mib, 9 * mib);
  EXPECT_EQ(second->begin, 6 * mib);
  EXPECT_EQ(*find_extent(file.get(), second->end, 9 * mib), (Extent{9 * mib, 9 * mib}));
  EXPECT_EQ(*find_extent(file.get(), 0, mib), (Extent{mib, mib}));                        // as if it were shorter
  EXPECT_EQ(*find_extent(file.get(), 0, 2 * mib + 5), (Extent{2 * mib, 2 * mib + 5}));    // in the middle of data
  EXPECT_EQ(*find_extent(file.get(), 20 * mib, 30 * mib), (Extent{30 * mib, 30 * mib}));  // it has become shorter
}

TEST_F(HoleTest, PreallocationBehindTheEndDoesNotFillAHole) {
  const Fd file = write_behind_hole(source_ / "a", mib, 2 * mib);
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 2 * mib, 4 * mib), 0);
  ASSERT_GE(blocks(source_ / "a"), 2 * mib);
  receive_all();
  EXPECT_EQ(first_extent(staging_ / "a"), (Extent{mib, 2 * mib}));
}

TEST_F(HoleTest, XattrsDoNotFillAHole) {
  const std::uint64_t block = 4096;
  const Fd file = write_behind_hole(source_ / "a", block, 2 * block);
  const std::string value(2000, 'v');  // on ext4 a block of its own, which st_blocks counts
  ASSERT_EQ(::fsetxattr(file.get(), "user.large", value.data(), value.size(), 0), 0);
  ASSERT_EQ(::fsync(file.get()), 0);
  receive_all();
  EXPECT_EQ(first_extent(staging_ / "a"), first_extent(source_ / "a"));
}

TEST_F(HoleTest, AHoleThatIsFilledDuringTheRoundIsLookedAtAgain) {
  const Fd file = write_behind_hole(source_ / "a", 8 * mib, 9 * mib);
  auto source = open_source();
  int rounds = 0;
  source.after_manifest = [&] {
    const std::string data(8 * mib, 'y');
    if (++rounds != 1) return;
    ASSERT_EQ(::pwrite(file.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
    let_ctimes_settle();
  };
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->rounds, 2U);
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

TEST_F(HoleTest, WhereBlocksTellNothingTheHolesAreAskedFor) {
  const auto mounted = test::PrivateMount::ramfs(source_);  // which tells of no holes, but does not count them
  write_behind_hole(source_ / "a", 4 * mib, 5 * mib);
  ASSERT_LT(blocks(source_ / "a"), 2 * mib);
  let_ctimes_settle();
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->rounds, 1U);  // reading a hole there takes memory, and so counts from then on
  EXPECT_EQ(receipt->bytes, 5 * mib);
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

}  // namespace
}  // namespace ferry::sync
