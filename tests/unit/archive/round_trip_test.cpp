#include "archive/archive_fixture.h"
#include "support/mounts.h"

namespace ferry::archive {
namespace {

using RoundTrip = ArchiveTest;

TEST_F(RoundTrip, KeepsEverything) {
  const test::FullTree tree(volume_);
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    const auto extracted = extract_anew(pack(compression));
    ASSERT_TRUE(extracted) << extracted.error().message;
    EXPECT_EQ(test::tree_difference(volume_, staging_), "");
    EXPECT_EQ(compare(volume_, staging_), "");
    EXPECT_TRUE(extracted->verified);
    EXPECT_EQ(extracted->facts, facts_);
    EXPECT_EQ(extracted->entries, written_.entries);
    EXPECT_EQ(extracted->files, written_.files);
    EXPECT_EQ(extracted->bytes, written_.bytes);
    EXPECT_THAT(extracted->warnings, testing::IsEmpty());
    EXPECT_THAT(written_.warnings, testing::IsEmpty());
  }
}

TEST_F(RoundTrip, KeepsWhatTheEndToEndTestsLookAt) {
  fs::remove(volume_);
  run("/usr/bin/python3 " FERRY_TREE_TOOL " make-tree " + quoted(volume_));
  extract_well(pack(Compression::zstd));
  EXPECT_EQ(compare(volume_, staging_), "");
  EXPECT_EQ(written_.sockets, 1U);
  EXPECT_THAT(written_.warnings, testing::ElementsAre(testing::HasSubstr("\"./special/socket\"")));
}

TEST_F(RoundTrip, OfAnEmptyVolume) {
  extract_well(pack());
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
  EXPECT_EQ(extracted_.entries, 1U);
  EXPECT_TRUE(extracted_.has_root);
}

TEST_F(RoundTrip, OfManyEntries) {
  const test::MemoryDisk disk("200M");
  volume_ = disk.path() / "volume";
  staging_ = disk.path() / "staging";
  for (const auto& path : {volume_, staging_}) fs::create_directory(path);
  for (int i = 0; i < 100; ++i) {
    const auto directory = volume_ / std::to_string(i);
    fs::create_directory(directory);
    for (int j = 0; j < 100; ++j) test::write_text(directory / std::to_string(j), std::to_string(i * j));
  }
  extract_well(pack(Compression::zstd));
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
  EXPECT_EQ(extracted_.entries, 10'101U);
  EXPECT_EQ(progress_.entries_done, 2 * extracted_.entries);
  EXPECT_EQ(progress_.bytes_done, 2 * extracted_.bytes);
}

TEST_F(RoundTrip, InPiecesOfAnySize) {
  const test::FullTree tree(volume_);
  const std::string bytes = pack(Compression::zstd);
  for (const std::size_t piece : {1, 511, 512, 513, 4096}) {
    EXPECT_TRUE(remove_tree(staging_));
    fs::create_directories(staging_);
    ASSERT_TRUE(extract(bytes, piece)) << piece;
    EXPECT_EQ(test::tree_difference(volume_, staging_), "") << piece;
  }
}

TEST_F(RoundTrip, OfTimesBefore1970) {
  const std::pair<std::int64_t, long> times[] = {{-1, 999'999'999}, {-1, 1},         {-1, 0}, {-2, 500'000'000}, {0, 1},
                                                 {-2, 999'999'999}, {-1'000'000, 7}, {0, 0}};
  for (std::size_t i = 0; i < std::size(times); ++i) {
    test::write_text(volume_ / std::to_string(i), "");
    test::set_mtime(volume_ / std::to_string(i), times[i].first, times[i].second);
  }
  extract_well(pack());
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

/// libarchive holds ids of ACLs as int.
TEST_F(RoundTrip, OfAclsWithTheLargestIds) {
  test::write_text(volume_ / "file", "");
  std::string acl("\2\0\0\0\1\0\7\0\xff\xff\xff\xff", 12);
  for (const char* id : {"\xff\xff\xff\x7f", "\x05\x00\x00\x80", "\xfe\xff\xff\xff"})
    acl += std::string("\2\0\6\0", 4) + std::string(id, 4);
  acl += std::string("\4\0\5\0\xff\xff\xff\xff\x10\0\7\0\xff\xff\xff\xff\x20\0\4\0\xff\xff\xff\xff", 24);
  test::set_xattr(volume_ / "file", "system.posix_acl_access", acl);
  extract_well(pack());
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

TEST_F(RoundTrip, OfNamesOfXattrs) {
  test::write_text(volume_ / "file", "");
  for (const char* name : {"user.a b", "user.\xff\n", "user.a=b", "user.100%", "user.%41", "user.=", "user.%3D"})
    test::set_xattr(volume_ / "file", name, name);
  extract_well(pack());
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

TEST_F(RoundTrip, OfSparseFiles) {
  test::write_islands(volume_ / "5 GiB", off_t{5} << 30, {0, 3'000'000'000, 5'000'000'000});
  test::write_islands(volume_ / "nothing", off_t{9} << 30, {});
  test::write_islands(volume_ / "nearly full", 1'000'000, {999'990});
  test::write_islands(volume_ / "odd", 8'193, {8'190});
  const Fd file = *open_at(AT_FDCWD, (volume_ / "comb").string(), O_RDWR | O_CREAT, 0600);
  for (off_t i = 0; i < 5'000; ++i) ASSERT_EQ(::pwrite(file.get(), "x", 1, i * 8192), 1);
  extract_well(pack());
  EXPECT_EQ(compare(volume_, staging_), "");
  EXPECT_EQ(progress_.bytes_done, 2 * progress_.bytes_total);
}

TEST_F(RoundTrip, IntoADirectoryThatIsNotEmptyIsRefused) {
  test::write_text(staging_ / "something", "");
  const auto extracted = extract(pack());
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().code, Code::invalid_argument);
}

TEST_F(RoundTrip, EndsWhenItIsCancelled) {
  const std::string bytes = pack();
  progress_.cancelled = true;
  StringSink sink;
  EXPECT_EQ(write(sink).error().code, Code::cancelled);
  EXPECT_EQ(extract(bytes).error().code, Code::cancelled);
}

}  // namespace
}  // namespace ferry::archive
