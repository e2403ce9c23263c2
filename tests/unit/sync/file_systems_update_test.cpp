#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cstring>

#include "support/seed.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

/// Updates between file systems, to and fro.
class FileSystemUpdates : public TwoFileSystems {
 protected:
  static constexpr std::size_t database_size = 1'500'000;
  static constexpr std::size_t large_size = 18U << 20;  // of two extents

  void begin(const FileSystem& of_a, const FileSystem& of_b) {
    use(of_a, of_b);
    start_again();
    const test::FullTree tree(a_.data());
    write(a_.data() / "database", random_.bytes(database_size));
    write(a_.data() / "large", random_.bytes(large_size));
    write(a_.data() / "log", random_.bytes(300'000));
    let_ctimes_settle();
    copy(a_, b_);
  }

  /// Something of each kind, of which less than `most_changed` bytes have to be sent.
  static constexpr std::uint64_t most_changed = 120'000;
  void change(const Host& host) {
    const auto root = host.data();
    write_at(root / "database", 500'000, "changed");
    write_at(root / "database", static_cast<off_t>(database_size) - 3, "changed, and longer");
    write_at(root / "large", 17 << 20, random_.bytes(20'000));
    punch(root / "large", 1 << 20, 2 << 20);
    fs::rename(root / "log", root / "directory" / "log.1");
    write(root / "log", random_.bytes(30'000));
    fs::remove(root / "symlink");
    fs::create_symlink("elsewhere", root / "symlink");
    fs::create_hard_link(root / "suid", root / "deep" / "suid");
    fs::remove(root / "shared");
    test::set_xattr(root / "attributes", "user.text", "another value");
    ASSERT_EQ(::lremovexattr((root / "attributes").c_str(), "trusted.binary"), 0);
    ASSERT_EQ(::lremovexattr((root / "directory").c_str(), "system.posix_acl_default"), 0);
    let_ctimes_settle();
  }

  /// A to B to A, and a last time, when nothing differs.
  void to_and_fro() {
    change(a_);
    update(a_, b_);
    EXPECT_LT(sent(), most_changed);
    let_ctimes_settle();
    write_at(b_.data() / "database", 700'000, "of b");
    punch(b_.data() / "large", 17 << 20, 100'000);
    fs::remove_all(b_.data() / "deep");
    write(b_.data() / "only a hole", "no hole any more");
    let_ctimes_settle();
    update(b_, a_);
    EXPECT_LT(sent(), most_changed);
    update(a_, b_);
    EXPECT_LT(sent(), 20'000U);
    struct stat info {};
    ASSERT_EQ(::stat((a_.data() / "large").c_str(), &info), 0);
    EXPECT_LT(info.st_blocks * 512, static_cast<blkcnt_t>(large_size - (1 << 20))) << "its holes are filled";
  }

  static void punch(const fs::path& path, off_t offset, off_t length) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length), 0);
  }

  test::SeededRandom random_;
};

TEST_F(FileSystemUpdates, FromExt4ToXfsAndBack) {
  begin(large_ext4(), xfs());
  to_and_fro();
}

TEST_F(FileSystemUpdates, FromXfsToExt4AndBack) {
  begin(xfs(), large_ext4());
  to_and_fro();
}

TEST_F(FileSystemUpdates, FromBtrfsToBtrfsAndBack) {
  begin(large_btrfs(), large_btrfs());
  to_and_fro();
}

TEST_F(FileSystemUpdates, FromXfsToBtrfsAndBack) {
  begin(xfs(), large_btrfs());
  to_and_fro();
}

TEST_F(FileSystemUpdates, FromExt4ToBtrfsAndBack) {
  begin(large_ext4(), large_btrfs());
  to_and_fro();
}

/// Bytes of a file's extents, and of those that are shared (FS_IOC_FIEMAP, linux/fiemap.h).
struct Mapped {
  std::uint64_t bytes = 0;
  std::uint64_t shared = 0;
};

Mapped map(const fs::path& path) {
  constexpr std::size_t most = 64;
  // In memory of its own, because it ends in an array without a length.
  std::vector<std::uint64_t> memory((sizeof(fiemap) + most * sizeof(fiemap_extent)) / sizeof(std::uint64_t));
  auto& request = *reinterpret_cast<fiemap*>(memory.data());
  request.fm_length = FIEMAP_MAX_OFFSET;
  request.fm_flags = FIEMAP_FLAG_SYNC;
  request.fm_extent_count = most;
  const Fd file = *open_at(AT_FDCWD, path.string(), O_RDONLY);
  EXPECT_EQ(::ioctl(file.get(), FS_IOC_FIEMAP, &request), 0);
  EXPECT_LT(request.fm_mapped_extents, most);
  Mapped mapped;
  for (unsigned i = 0; i < std::min<unsigned>(request.fm_mapped_extents, most); ++i) {
    const fiemap_extent& extent = request.fm_extents[i];
    mapped.bytes += extent.fe_length;
    if ((extent.fe_flags & FIEMAP_EXTENT_SHARED) != 0) mapped.shared += extent.fe_length;
  }
  return mapped;
}

/// What another volume of the destination has is not sent, and stored only once where the file system can do that.
class SharedBlocks : public FileSystemUpdates {
 protected:
  static constexpr std::size_t size = 1U << 20;

  /// The same volume is imported twice, the second time after a page of it has changed.
  Mapped import_twice(const FileSystem& destination) {
    use(large_ext4(), destination);
    start_again();
    write(a_.data() / "file", random_.bytes(size));
    let_ctimes_settle();
    copy(a_, b_);
    keeping_mtime(a_.data() / "file", [&] { write_at(a_.data() / "file", 100 * 4096, std::string(4096, 'c')); });
    let_ctimes_settle();
    const test::TreeSnapshot first(b_.data());
    const Host again{"b", directory_ / "again"};
    fs::create_directories(again.data());
    options_.neighbours = {{b_.data(), index_of(b_.baseline())}};
    auto source = open(a_);
    const auto receipt = import(source, again);
    EXPECT_TRUE(receipt) << receipt.error().message;
    expect_equal(a_, again);
    EXPECT_LT(sent(), 10'000U);
    write_at(again.data() / "file", 0, std::string(4096, 'w'));  // of the first one, that would be
    EXPECT_EQ(first.difference(test::TreeSnapshot(b_.data())), "");
    return map(again.data() / "file");
  }
};

TEST_F(SharedBlocks, OnXfsWithReflinks) {
  const Mapped mapped = import_twice({"mkfs.xfs -q -m reflink=1", "400M"});
  EXPECT_GE(mapped.shared, size - 2 * 4096);
  EXPECT_LT(mapped.shared, mapped.bytes);
}

TEST_F(SharedBlocks, OnBtrfs) {
  const Mapped mapped = import_twice(large_btrfs());
  EXPECT_GE(mapped.shared, size - 2 * 4096);
  EXPECT_LT(mapped.shared, mapped.bytes);
}

TEST_F(SharedBlocks, ButNotOnXfsWithoutReflinks) {
  const Mapped mapped = import_twice({"mkfs.xfs -q -m reflink=0", "400M"});
  EXPECT_EQ(mapped.shared, 0U);
  EXPECT_GE(mapped.bytes, size);
}

TEST_F(SharedBlocks, ButNotOnExt4) {
  const Mapped mapped = import_twice(large_ext4());
  EXPECT_EQ(mapped.shared, 0U);
  EXPECT_GE(mapped.bytes, size);
}

}  // namespace
}  // namespace ferry::sync
