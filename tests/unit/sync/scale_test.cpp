#include <random>

#include "support/full_tree.h"
#include "sync/blocks.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

constexpr std::uint64_t mib = 1U << 20;

using Scale = TwoFileSystems;

std::string random_bytes(std::uint64_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes;
  bytes.reserve(size);
  while (bytes.size() < size) {
    const std::uint64_t word = random();
    bytes.append(reinterpret_cast<const char*>(&word), std::min(sizeof word, size - bytes.size()));
  }
  return bytes;
}

TEST_F(Scale, AThousandNamesOfOneFile) {
  write(source_ / "file", std::string(100'000, 'x'));
  for (int i = 0; i < 1000; ++i) {
    const fs::path directory = source_ / std::to_string(i % 37);
    fs::create_directories(directory);
    fs::create_hard_link(source_ / "file", directory / std::to_string(i));
  }
  let_ctimes_settle();
  receive_all();
  EXPECT_LT(sent(), 200'000U);
  fs::remove(source_ / "file");  // another one is the first now
  receive_all();
}

TEST_F(Scale, ASparseFileOfAHundredGibibytes) {
  const off_t size = off_t{100} << 30;
  const std::initializer_list<off_t> places = {0, size / 3, size / 2 + 4097, size - 4};
  test::write_islands(source_ / "sparse", size, places);
  let_ctimes_settle();
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_LT(sent(), 200'000U);  // each of the 6400 extents has an end
  const Fd copy = *open_at(AT_FDCWD, (staging_ / "sparse").string(), O_RDONLY);
  struct stat info {};
  ASSERT_EQ(::fstat(copy.get(), &info), 0);
  EXPECT_EQ(info.st_size, size);
  EXPECT_LT(info.st_blocks, 200);
  for (const off_t at : places) {
    std::string there(4, '\0');
    EXPECT_EQ(::pread(copy.get(), there.data(), 4, at), 4);
    EXPECT_EQ(there, "data") << at;
  }
}

TEST_F(Scale, AnXattrOfTheLargestSizeOnXfs) {
  use(xfs(), xfs());
  write(source_ / "file", "x");
  test::set_xattr(source_ / "file", "user.large", std::string(65'536, 'v'));
  test::set_xattr(source_ / "file", "trusted.large", std::string(65'536, 'w'));
  test::set_xattr(source_, "user.large", std::string(65'536, 'r'));
  let_ctimes_settle();
  receive_all();
}

TEST_F(Scale, AsManyXattrsAsAListCanHave) {
  use(xfs(), xfs());
  write(source_ / "file", "x");
  for (int i = 0; i < 250; ++i)
    test::set_xattr(source_ / "file", ("user." + std::to_string(i) + std::string(240, 'n')).c_str(), "v");
  let_ctimes_settle();
  receive_all();
}

TEST_F(Scale, AnXattrOfTheLargestSizeOnExt4) {
  use(ext4(), ext4());
  write(source_ / "file", "x");
  std::string value(4096, 'v');
  while (::setxattr((source_ / "file").c_str(), "user.large", value.data(), value.size(), 0) != 0) value.pop_back();
  ASSERT_GT(value.size(), 3900U);
  let_ctimes_settle();
  receive_all();
}

TEST_F(Scale, AfterACutManySmallFilesAreNotSentAgain) {
  std::uint64_t bytes = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string content(16'000 + static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
    write(source_ / std::to_string(i), content);
    bytes += content.size();
  }
  let_ctimes_settle();
  receive_until(bytes * 60 / 100);
  receive_all();
  EXPECT_LE(sent(), bytes * 45 / 100);
}

/// However few extents it has: what was coming when it was cut is compared.
TEST_F(Scale, AfterACutWhatHasComeOfOneFileIsNotSentAgain) {
  for (const std::uint64_t size : {8 * mib, 16 * mib, 64 * mib, 100 * mib, 256 * mib}) {
    const fs::path path = source_ / std::to_string(size);
    {
      const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY | O_CREAT, 0600);
      for (std::uint64_t at = 0; at < size; at += mib)
        ASSERT_TRUE(write_all(file.get(), random_bytes(mib, at), "file"));
    }
    let_ctimes_settle();
    receive_until(size * 60 / 100);
    receive_all();
    EXPECT_LE(sent(), size * 45 / 100) << size;
    fs::remove(path);
  }
}

TEST_F(Scale, OfALargeFileThatChangesBetweenRoundsOnlyThePagesThatDifferAreSentAgain) {
  for (const std::uint64_t size : {8 * mib, 40 * mib}) {
    const fs::path path = source_ / std::to_string(size);
    write(path, random_bytes(size, 1));
    let_ctimes_settle();
    auto source = open_source();
    int seals = 0;
    source.on_seal = [&]() -> Result<> {
      if (++seals > 1) return {};
      const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
      for (const std::uint64_t at : {std::uint64_t{5000}, size / 2, size + 100})
        if (::pwrite(file.get(), "changed", 7, static_cast<off_t>(at)) != 7) return fail_errno("write");
      return punch_hole(file.get(), {mib, 2 * mib});
    };
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_GT(receipt->rounds, 1U);
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
    EXPECT_LT(sent(), size + mib / 2);
    fs::remove(path);
  }
}

}  // namespace
}  // namespace ferry::sync
