#include <lzma.h>

#include <cstring>

#include "archive/archive_fixture.h"
#include "archive/made_archive.h"
#include "base/log.h"
#include "support/intercepted_calls.h"

namespace ferry::archive {
namespace {

/// Archives that try to reach what is outside of the volume, or to fill the disk.
class Hostile : public ArchiveTest {
 protected:
  void SetUp() override {
    fs::create_directories(outside_ / "directory");
    test::write_text(outside_ / "file", "untouched");
    before_.emplace(outside_);
  }

  /// Nothing of it is touched, nor is there anything new beside it and the volume.
  void TearDown() override {
    EXPECT_EQ(before_->difference(test::TreeSnapshot(outside_)), "");
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(directory_.path())) names.push_back(each.path().filename());
    EXPECT_THAT(names, testing::UnorderedElementsAre("volume", "staging", "outside"));
  }

  void expect_refused(const std::string& bytes, const std::string& entry, const std::string& why,
                      Code code = Code::corrupt) {
    const auto extracted = extract_anew(bytes);
    ASSERT_FALSE(extracted) << entry;
    EXPECT_THAT(extracted.error().message, testing::HasSubstr(entry));
    EXPECT_THAT(extracted.error().message, testing::HasSubstr(why));
    EXPECT_EQ(extracted.error().code, code) << extracted.error().message;
  }

  void expect_accepted(const std::string& bytes) {
    const auto extracted = extract_anew(bytes);
    ASSERT_TRUE(extracted) << extracted.error().message;
  }

  const fs::path outside_ = directory_ / "outside";
  std::optional<test::TreeSnapshot> before_;
};

using Made = MadeArchive;

/// A path of so many directories, which is nothing when compressed.
std::string deep(std::size_t levels) {
  std::string path;
  for (std::size_t i = 0; i < levels; ++i) path += "a/";
  return path;
}

TEST_F(Hostile, TimeForDeepPathsIsBounded) {
  expect_refused(Made().file(deep(10'000) + "f").end(), "it is below", "more than 10000 directories");
  constexpr std::size_t levels = 1500;
  std::atomic<std::size_t> looks = 0;
  const test::InterceptedCalls calls(
      [&](const test::Call&) {
        ++looks;
        return 0;
      },
      test::InterceptedCalls::Kind::reads);
  expect_accepted(Made().file(deep(levels) + "f").end());
  EXPECT_LT(looks, 60 * levels) << "directories are looked for from the root again and again";
}

TEST_F(Hostile, DeepPathsCanBeCancelled) {
  std::size_t made = 0;
  const test::InterceptedCalls calls([&](const test::Call& call) {
    progress_.cancelled = progress_.cancelled || (call.name == "mkdirat" && ++made == 100);
    return 0;
  });
  const auto extracted = extract_anew(Made().file(deep(1500) + "f").end());
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().code, Code::cancelled);
  EXPECT_LE(made, 101U);
}

/// Sets `cancelled` once all has been read.
class CancellingSource final : public StringSource {
 public:
  CancellingSource(std::string_view text, Progress& progress) : StringSource(text), progress_(progress) {}
  Result<std::size_t> read(std::span<char> buffer) override {
    FERRY_ASSIGN(const std::size_t n, StringSource::read(buffer));
    progress_.cancelled = n == 0;
    return n;
  }

 private:
  Progress& progress_;
};

TEST_F(Hostile, FinishingDirectoriesCanBeCancelled) {
  const std::string bytes = Made().directory("d/").file("f", std::string(1 << 20, 'x')).end();
  CancellingSource source(bytes, progress_);
  const auto extracted = extract(source);
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().code, Code::cancelled);
}

/// They are kept until the end, because files come into directories before, and compress to nothing.
TEST_F(Hostile, MemoryForDirectoriesIsBounded) {
  const auto with = [](std::size_t size) { return std::vector<sync::Xattr>{{"user.x", std::string(size, 'x')}}; };
  expect_refused(Made().directory("d/", with(65'537)).end(), "\"d/\"", "xattr \"user.x\" has 65537 bytes");
  Made made;
  for (int i = 0; i < 40; ++i) made.directory("d" + std::to_string(i) + "/", with(3000));
  expect_accepted(made.end());
  limits_.memory = 20 * 3000;
  expect_refused(made.end(), "entry \"d1", "too many entries", Code::no_space);
}

TEST_F(Hostile, MemoryForEmptyFilesIsBounded) {
  Made made;
  for (int i = 0; i < 2000; ++i) made.file(std::to_string(i), "");
  limits_.memory = 2000 * sizeof(sync::Entry);
  expect_refused(made.end(), "entry \"", "too many entries", Code::no_space);
  limits_.memory = 2000 * 500;
  expect_accepted(made.end());
}

/// libarchive keeps the paths of such files, and they may have a MiB.
TEST_F(Hostile, MemoryForLinksOfCpioIsBounded) {
  const auto number = [](std::uint64_t value) {
    std::string digits(8, '0');
    std::snprintf(digits.data(), 9, "%08X", static_cast<unsigned>(value));
    return digits.substr(0, 8);
  };
  const auto member = [&](unsigned inode, const std::string& path, unsigned links) {
    std::string text = "070701" + number(inode) + number(0100644) + number(0) + number(0) + number(links) + number(0) +
                       number(0) + number(0) + number(0) + number(0) + number(0) + number(path.size() + 1) + number(0) +
                       path + std::string(1, '\0');
    text.resize((text.size() + 3) / 4 * 4, '\0');
    return text;
  };
  std::string longest;
  while (longest.size() < 500'000) longest += "./";
  std::string bytes;
  for (unsigned i = 1; i <= 10; ++i) bytes += member(i, longest + std::to_string(i), 2);
  bytes += member(0, "TRAILER!!!", 1);
  expect_accepted(bytes);
  limits_.memory = 2'000'000;
  expect_refused(bytes, "the first 4 ", "memory", Code::no_space);
}

/// Of an xz file the block's header says it, in two places of this test's file.
TEST_F(Hostile, ADictionaryThatTakesTooMuchMemoryIsRefused) {
  test::write_text(directory_ / "plain", Made().file("file").end());
  run("xz -0 -T1 " + quoted(directory_ / "plain"));
  std::string bytes = load(directory_ / "plain.xz");
  fs::remove(directory_ / "plain.xz");
  expect_accepted(bytes);
  constexpr std::size_t block_header = 12, dictionary = block_header + 4, size = 12;
  ASSERT_EQ(bytes[block_header], 2) << "without sizes";
  ASSERT_EQ(bytes[block_header + 2], 0x21) << "LZMA2";
  bytes[dictionary] = 38;  // 2 GiB
  const std::uint32_t check = ::lzma_crc32(reinterpret_cast<std::uint8_t*>(&bytes[block_header]), size - 4, 0);
  std::memcpy(&bytes[block_header + size - 4], &check, sizeof check);
  expect_refused(bytes, "MiB of memory", "(xz)", Code::unsupported);
}

TEST_F(Hostile, PathsThatLeaveTheVolumeAreRefused) {
  for (const char* path : {"../outside/file", "./../outside/new", "a/../../outside/new", "..", "a/..", "a/b/../c"})
    expect_refused(Made().file(path).end(), quote(path), "its path has a \"..\"");
  for (const std::string& path : {outside_.string() + "/new", std::string("/"), std::string("//a"), std::string("/a")})
    expect_refused(Made().file(path).end(), quote(path), "absolute");
  expect_refused(Made().directory("../new/").end(), "\"../new/\"", "..");
  expect_refused(Made().symlink("../new", "x").end(), "\"../new\"", "..");
  expect_refused(Made().device("../new").end(), "\"../new\"", "..");
  expect_refused(Made().file("").end(), "\"\"", "empty");
  expect_refused(Made().file("a/" + std::string(256, 'n')).end(), "nnn", "more than 255 bytes");
  expect_refused(Made().file(std::string(3000, 'x') + "/../../../../../" + outside_.string()).end(), "xxx", "path");
}

TEST_F(Hostile, PathsThatStayWithinAreAccepted) {
  expect_accepted(Made().directory("./").file("./a//b/./c").file("..a/...").file("a/b/x.").end());
  EXPECT_EQ(load(staging_ / "a" / "b" / "c"), "content");
  EXPECT_EQ(load(staging_ / "..a" / "..."), "content");
  expect_accepted(Made().file("b/c").directory("b/").directory(".").end());
}

TEST_F(Hostile, SymlinksAreMadeAndNotFollowed) {
  const std::string out = outside_.string();
  for (const std::string& target : {out, std::string("../outside"), std::string("."), std::string("/")}) {
    expect_refused(Made().symlink("d", target).file("d/file").end(), "\"d/file\"", "below \"d\"");
    expect_refused(Made().symlink("d", target).directory("d/directory/").end(), "\"d/directory/\"", "below \"d\"");
    expect_refused(Made().symlink("d", target).symlink("d/new", "x").end(), "\"d/new\"", "below \"d\"");
    expect_refused(Made().symlink("d", target).device("d/new").end(), "\"d/new\"", "below \"d\"");
    expect_refused(Made().symlink("d", target).directory("d/").end(), "\"d/\"", "twice");
    expect_refused(Made().file("f").symlink("d", target).link("d/new", "f").end(), "\"d/new\"", "below \"d\"");
  }
  for (const std::string& target : {out + "/file", out + "/new"})
    expect_refused(Made().symlink("f", target).file("f", "evil").end(), "\"f\"", "twice");
  expect_accepted(Made().symlink("f", out + "/file").symlink("g", "../outside/file").end());
  EXPECT_EQ(fs::read_symlink(staging_ / "f"), out + "/file");
  expect_refused(Made().symlink("./", "/etc").end(), "\"./\"", "root");
  expect_refused(Made().symlink("f", "").end(), "\"f\"", "to nothing");
}

TEST_F(Hostile, HardLinksStayWithinTheArchive) {
  const std::string out = outside_.string();
  expect_refused(Made().link("l", out + "/file").end(), "\"l\"", "absolute");
  expect_refused(Made().link("l", "../outside/file").end(), "\"l\"", "..");
  expect_refused(Made().link("l", "").end(), "\"l\"", "of no type", Code::unsupported);
  expect_refused(Made().link("l", "later").file("later").end(), "\"l\"", "not come before");
  expect_refused(Made().link("l", "l").end(), "\"l\"", "not come before");
  expect_refused(Made().directory("d/").link("l", "d").end(), "\"l\"", "a directory");
  expect_refused(Made().directory("d/").link("l", "./").end(), "\"l\"", "a directory");
  expect_refused(Made().symlink("s", out).link("l", "s/file").end(), "\"l\"", "not come before");
  expect_refused(Made().symlink("s", out + "/file").link("l", "s").file("l", "evil").end(), "\"l\"", "twice");
  expect_refused(Made().file("f").link("./", "f").end(), "\"./\"", "root");
  expect_refused(Made().file("f").file("g").link("g", "f").end(), "\"g\"", "twice");
  expect_accepted(Made().symlink("s", out + "/file").link("l", "s").end());
  EXPECT_TRUE(fs::is_symlink(staging_ / "l"));
}

/// Extracted one after the other, the content would go through the link.
TEST_F(Hostile, HardLinksWithContentDoNotChangeAFile) {
  // Ustar archives have no content for links, and these are such without this.
  const std::string long_name(200, 'n');
  expect_accepted(Made().file(long_name).file("f", "first").link("l", "f").patch(134, '4').body("evil").end());
  EXPECT_EQ(load(staging_ / "f"), "first");
  EXPECT_EQ(load(staging_ / "l"), "first");
}

TEST_F(Hostile, NothingMayComeTwice) {
  expect_refused(Made().file("f").file("f").end(), "\"f\"", "twice");
  expect_refused(Made().file("a/f").file("./a//f").end(), "\"./a//f\"", "twice");
  expect_refused(Made().directory("d/").directory("d/").end(), "\"d/\"", "twice");
  expect_refused(Made().directory("./").directory(".").end(), "\".\"", "twice");
  expect_refused(Made().directory("d/").file("d").end(), "\"d\"", "twice");
  expect_refused(Made().file("d/f").symlink("d", "x").end(), "\"d\"", "twice");
  expect_refused(Made().file("d").file("d/f").end(), "\"d/f\"", "no directory");
}

TEST_F(Hostile, UnknownTypesAndOwnersAreRefused) {
  expect_refused(Made().file("f", "").patch(156, 'M').end(), "\"f\"", "of no type", Code::unsupported);
  sync::Entry entry;
  entry.uid = UINT32_MAX;
  expect_refused(Made().raw(*member_header("f", entry)).end(), "\"f\"", "owner");
}

TEST_F(Hostile, NoMoreIsWrittenThanThereIsRoomFor) {
  limits_.bytes = 10'000;
  limits_.entries = 5;
  expect_refused(Made().file("a", std::string(6'000, 'x')).file("b", std::string(6'000, 'x')).end(), "\"b\"",
                 "10000 bytes", Code::no_space);
  expect_accepted(Made().file("a", std::string(5'000, 'x')).file("b", std::string(5'000, 'x')).end());
  expect_refused(Made().directory("1").directory("2").directory("3").directory("4").directory("5").end(), "\"5\"",
                 "5 entries", Code::no_space);
  expect_refused(Made().file("1/2/3/4/5/6/7").end(), "\"1/2/3/4/5/6/7\"", "5 entries", Code::no_space);
  expect_accepted(Made().directory("./").directory("2").directory("3").directory("4").directory("5").end());
  expect_accepted(Made().sparse("hole", 1U << 30, {{5'000, 5'004}}, "data").end());
}

TEST_F(Hostile, SparseMapsThatMakeNoSenseAreRefused) {
  expect_refused(Made().sparse("f", 100, {{50, 54}, {10, 14}}, "datadata").end(), "\"f\"", "out of order");
  expect_refused(Made().sparse("f", 100, {{0, 4}, {2, 6}}, "datadata").end(), "\"f\"", "out of order");
  expect_refused(Made().sparse("f", 100, {{98, 104}}, "datada").end(), "\"f\"", "longer than its size");
}

/// It would take years to hash what has a digest, and none of it is in the archive.
TEST_F(Hostile, AMapOfDataThatDoesNotComeIsRefused) {
  const std::uint64_t size = 1ULL << 43;
  FrontMatter front{.facts = facts_, .entries = 2, .bytes = size, .digests = "ferry-digests-0"};
  sync::Entry entry;
  entry.size = size;
  const std::string other = *member_header("f", entry, std::vector<sync::Extent>{{0, size - 512}});
  std::string header = *member_header("f", entry, std::vector<sync::Extent>{{0, 1}});
  header.replace(header.size() - tar_block, tar_block, other.substr(other.size() - tar_block));  // the map
  MadeArchive made;
  made.raw(front_matter_header(*encode(front))).directory("./").raw(header).body("x");
  expect_refused(made.end(), "\"f\"", "shorter than its size");
  limits_.bytes = 1U << 30;
  expect_refused(made.end(), "\"f\"", "room for", Code::no_space);
}

/// A gigabyte of a map is a few KiB when it is compressed, and many gigabytes in libarchive's memory.
TEST_F(Hostile, EndlessHeadersAreRefused) {
  std::string map = "9999999\n";
  while (map.size() < (24U << 20)) map += "0\n0\n";
  map.resize(map.size() + tar_padding(map.size()), '\0');
  sync::Entry entry;
  entry.size = map.size();
  std::string header = *member_header("f", entry, std::vector<sync::Extent>{{0, 1}});
  header.resize(header.size() - tar_block);  // its own map
  const sync::Extent all{0, map.size()};
  const std::string sized = *member_header("f", entry, {&all, 1});
  header.replace(header.size() - tar_block, tar_block, sized.substr(sized.size() - tar_block));
  expect_refused(header + map + std::string(end_marker, '\0'), "more than 16777216 bytes", "no entry's");
}

TEST_F(Hostile, WhatIsNoArchiveIsRefused) {
  expect_refused("", "", "empty");
  expect_refused("x", "", "no archive");
  expect_refused(std::string(100'000, 'x'), "", "no archive");
  expect_refused(std::string(10'240, '\0'), "", "no entries");
  expect_refused("\x1f\x8b\x08", "", "");
  expect_refused("#mtree\n./f type=file contents=/etc/passwd\n", "", "no archive");
  const std::string twice = [&] {
    const auto file = directory_ / "volume" / "archive";
    store(file, Made().file("f").end());
    run("gzip <" + quoted(file) + " | gzip >" + quoted(volume_ / "twice"));
    return load(volume_ / "twice");
  }();
  expect_refused(twice, "", "compressed more than once");
}

TEST_F(Hostile, WhatIsNotAsTheFrontMatterSaysIsRefused) {
  FrontMatter front{.facts = facts_, .entries = 2, .bytes = 7, .digests = "ferry-digests-0"};
  const std::string begin = front_matter_header(*encode(front));
  expect_refused(Made().raw(begin).directory("./").file("a").file("b").end(), "\"b\"", "more entries");
  expect_refused(Made().raw(begin).directory("./").file("a", "longer than 7").end(), "\"a\"", "more bytes");
  expect_refused(Made().raw(begin).directory("./").sparse("a", 1U << 30, {}, "").end(), "\"a\"", "more bytes");
  expect_refused(Made().raw(begin).directory("./").file("a").end(), "", "digests are missing");
  expect_refused(Made().raw(begin).directory("./").file("a").raw(std::string(1024, '\0')).file(front.digests).end(), "",
                 "damaged");
}

TEST_F(Hostile, NothingComesBehindTheDigests) {
  std::string bytes = pack();
  bytes += Made().file("late").end();
  expect_refused(bytes, "\"late\"", "behind the digests");
}

/// What `tar` would not extract, Ferry does not either.
TEST_F(Hostile, WhatIsBehindTheEndOfAForeignArchiveIsNotRead) {
  expect_accepted(Made().file("f").end() + Made().file("../late").end());
  EXPECT_FALSE(fs::exists(staging_ / "late"));
}

}  // namespace
}  // namespace ferry::archive
