#include <limits>

#include "archive/acl.h"
#include "archive/archive_fixture.h"
#include "archive/made_archive.h"
#include "archive/read_entry.h"
#include "base/log.h"
#include "support/golden.h"

namespace ferry::archive {
namespace {

using Format = ArchiveTest;

/// Every archive that was ever written must remain readable.
TEST_F(Format, AnArchiveOfVersion1IsRead) {
  const test::FullTree tree(volume_);
  if (std::getenv("FERRY_REGENERATE_GOLDEN") != nullptr) {
    for (const auto& each : fs::recursive_directory_iterator(volume_)) {
      struct stat info {};
      ASSERT_EQ(::lstat(each.path().c_str(), &info), 0);
      if (info.st_mtim.tv_sec > 1'700'000'000 && info.st_mtim.tv_sec < 4'000'000'000)
        test::set_mtime(each.path(), 1'700'000'000, 1);
    }
    test::set_mtime(volume_ / "directory", 0, 0);
    test::set_mtime(volume_, -86'400, 5);
    return test::expect_golden("archive", "volume-1.tar.gz", pack(Compression::gzip));
  }
  extract_well(test::read_golden("archive", "volume-1.tar.gz"));
  EXPECT_TRUE(extracted_.verified);
  EXPECT_EQ(extracted_.facts, facts_);
  for (const auto& root : {volume_, staging_}) {
    for (const auto& each : fs::recursive_directory_iterator(root)) test::set_mtime(each.path(), 1, 0);
  }
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

TEST_F(Format, OfTheFrontMatter) {
  FrontMatter front{.facts = facts_, .entries = 3, .bytes = 1ULL << 63, .digests = "ferry-digests-0"};
  const std::string text = *encode(front);
  test::expect_golden("archive", "front-matter-1", text);
  const auto decoded = decode(text);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->facts, facts_);
  EXPECT_EQ(decoded->entries, front.entries);
  EXPECT_EQ(decoded->bytes, front.bytes);
  EXPECT_EQ(decoded->digests, front.digests);
}

TEST_F(Format, TheFrontMatterIsReadAlone) {
  test::write_text(volume_ / "file", std::string(3'000'000, 'x'));
  const std::string bytes = pack();
  StringSource source(std::string_view(bytes).substr(0, 300'000));
  const auto front = read_front_matter(source, progress_);
  ASSERT_TRUE(front) << front.error().message;
  ASSERT_TRUE(*front);
  EXPECT_EQ((*front)->facts, facts_);
  EXPECT_EQ((*front)->entries, 2U);
  EXPECT_EQ((*front)->bytes, 3'000'000U);
  const std::string foreign = MadeArchive().file("f").end();
  StringSource other(foreign);
  const auto none = read_front_matter(other, progress_);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
}

TEST_F(Format, AFrontMatterThatMakesNoSenseIsRefused) {
  const std::string text = *encode({.facts = facts_, .entries = 3, .bytes = 5, .digests = "ferry-digests-0"});
  const auto altered = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    EXPECT_NE(other.find(from), std::string::npos) << from;
    return decode(other.replace(other.find(from), from.size(), to));
  };
  for (const auto& [from, to] :
       {std::pair("\"mode\":\"ro\"", "\"mode\":\"rx\""), std::pair("ferry-digests-0", "../digests"),
        std::pair("\"entries\":3", "\"entries\":-3"), std::pair("\"bytes\":5", "\"bytes\":\"5\""),
        std::pair("\"epoch\":7", "\"epoch\":1e30"), std::pair("\"name\":", "\"nam\":"),
        std::pair("\"labels\":{", "\"labels\":[{"), std::pair("ferry-archive ", "ferry-archives ")}) {
    const auto decoded = altered(from, to);
    ASSERT_FALSE(decoded) << to;
    EXPECT_EQ(decoded.error().code, Code::corrupt) << to;
  }
  EXPECT_FALSE(decode("ferry-archive 1 " + std::string(100'000, '[')));
  EXPECT_EQ(altered("ferry-archive 1 ", "ferry-archive 12 ").error().code, Code::unsupported);
}

TEST_F(Format, LabelsThatDoNotFitAreAnError) {
  facts_.labels["long"] = std::string(longest_front_matter, 'x');
  StringSink sink;
  EXPECT_EQ(write(sink).error().code, Code::invalid_argument);
  facts_.labels["long"] = "\xff";
  EXPECT_EQ(write(sink).error().code, Code::invalid_argument);
  facts_.labels["long"] = std::string(longest_front_matter - 1000, 'x');
  extract_well(pack());
  EXPECT_EQ(extracted_.facts, facts_);
}

TEST_F(Format, OfAnAcl) {
  const std::string xattr = test::acl_for_user_7(6);
  const auto acl = parse_acl(xattr);
  ASSERT_TRUE(acl);
  EXPECT_EQ(to_text(*acl), "user::rwx,user:7:rw-,group::r-x,mask::r-x,other::r-x");
  EXPECT_EQ(to_xattr({acl->rbegin(), acl->rend()}), xattr);
  for (const std::string& wrong : {std::string(), std::string("\3\0\0\0", 4), xattr + "x", xattr.substr(1)})
    EXPECT_FALSE(parse_acl(wrong));
}

/// What libarchive reads is what was to be written.
TEST_F(Format, OfExtremeEntries) {
  sync::Entry entry;
  entry.mode = 07777;
  entry.uid = entry.gid = UINT32_MAX - 1;
  for (const std::int64_t s : {std::int64_t{0}, std::int64_t{1} << 33, std::int64_t{1} << 40, std::int64_t{-1},
                               std::numeric_limits<std::int64_t>::min() + 1}) {
    for (const std::uint32_t ns : {0U, 1U, 100'000'000U, 999'999'999U}) {
      entry.set_mtime({s, ns});
      entry.size = (std::uint64_t{1} << 33) + ns;  // the least that does not fit into a header
      const sync::Extent all{0, entry.size};
      const std::string bytes = *member_header("file", entry, {&all, 1});
      const ReadHandle handle(::archive_read_new());
      ::archive_read_support_format_tar(handle.get());
      ASSERT_EQ(::archive_read_open_memory(handle.get(), bytes.data(), bytes.size()), ARCHIVE_OK);
      ::archive_entry* from = nullptr;
      ASSERT_EQ(::archive_read_next_header(handle.get(), &from), ARCHIVE_OK);
      const auto read = read_entry(from, Origin::ferry);
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(read->entry.mtime(), entry.mtime()) << s << " " << ns;
      EXPECT_EQ(read->entry.size, entry.size);
      EXPECT_EQ(read->data, entry.size);
      EXPECT_EQ(read->entry.uid, entry.uid);
      EXPECT_EQ(read->entry.gid, entry.gid);
      EXPECT_EQ(read->entry.mode, entry.mode);
    }
  }
}

TEST_F(Format, MoreXattrsThanATarReadsAreAnError) {
  sync::Entry entry;
  entry.set_extra({.xattrs = {{"user.a", std::string(600'000, 'x')}, {"user.b", std::string(600'000, 'x')}}});
  const auto header = member_header("./file", entry);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, Code::unsupported);
}

/// Paths of all lengths around those that fit into a header, and slashes everywhere.
TEST_F(Format, OfPathsOfAnyLength) {
  for (std::size_t length = 95; length < 265; ++length) {
    for (const std::size_t slash : {std::size_t{1}, length - 102, length - 101, length - 100, length - 2}) {
      std::string path(length, 'n');
      if (slash == 0 || slash >= length) continue;
      path[slash] = '/';
      if (slash > 255 || length - slash > 256) continue;
      const auto extracted = extract_anew(MadeArchive().file(path).end());
      ASSERT_TRUE(extracted) << path << ": " << extracted.error().message;
      EXPECT_EQ(load(staging_ / path), "content") << path;
    }
  }
}

}  // namespace
}  // namespace ferry::archive
