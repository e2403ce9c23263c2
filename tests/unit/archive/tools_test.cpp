#include <sys/xattr.h>

#include "archive/archive_fixture.h"

namespace ferry::archive {
namespace {

/// What other programs make of an archive of Ferry's, and Ferry of theirs.
class Tools : public ArchiveTest {
 protected:
  std::string packed(Compression compression = Compression::none) {
    store(file_, pack(compression));
    return quoted(file_);
  }

  /// What the shell's `command` makes of the volume, when it runs in it.
  Result<Extracted> import(const std::string& command) {
    run("cd " + quoted(volume_) + "; " + command + " >" + quoted(file_));
    return extract_anew(load(file_));
  }

  void expect_equal(const std::string& command) {
    const auto extracted = import(command);
    ASSERT_TRUE(extracted) << command << ": " << extracted.error().message;
    EXPECT_EQ(test::tree_difference(volume_, staging_), "") << command;
    EXPECT_FALSE(extracted->verified);
    EXPECT_FALSE(extracted->facts);
    extracted_ = *extracted;
  }

  /// What archives of any format can hold.
  void make_plain_tree() {
    fs::create_directories(volume_ / "directory" / "below");
    test::write_text(volume_ / "directory" / "file", "content");
    test::write_text(volume_ / "directory" / "empty", "");
    fs::create_symlink("../nowhere", volume_ / "directory" / "symlink");
    fs::create_hard_link(volume_ / "directory" / "file", volume_ / "other name");
    run("chown 12:34 " + quoted(volume_ / "directory" / "file") + "; chmod 4751 " +
        quoted(volume_ / "directory" / "file") + "; mkfifo " + quoted(volume_ / "fifo") + "; mknod " +
        quoted(volume_ / "device") + " c 5 1; find " + quoted(volume_) + " -depth -exec touch -h -d @1234567890 {} +");
  }

  /// No tar but Ferry's writes these as links.
  void remove_links_to_nodes() {
    for (const char* name : {"fifo again", "character again"}) fs::remove(volume_ / "directory" / "below" / name);
    test::set_mtime(volume_ / "directory", 0, 0);
  }

  const fs::path file_ = directory_ / "archive";
};

constexpr const char* gnu_tar = "tar --xattrs --xattrs-include='*' --acls --numeric-owner ";

TEST_F(Tools, GnuTarExtractsTheVolume) {
  const test::FullTree tree(volume_);
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    ASSERT_TRUE(remove_tree(staging_));
    fs::create_directories(staging_);
    run(gnu_tar + ("-xpf " + packed(compression)) + " -C " + quoted(staging_));
    EXPECT_EQ(test::tree_difference(volume_, staging_), "");
    EXPECT_EQ(compare(volume_, staging_), "");
  }
}

/// Of a volume without file capabilities and trusted xattrs, which it takes only with --xattrs-include.
TEST_F(Tools, GnuTarNeedsNoMoreOptionsForUsersXattrsAndAcls) {
  test::write_text(volume_ / "file", "content");
  test::set_xattr(volume_ / "file", "user.text", "value");
  test::set_xattr(volume_ / "file", "system.posix_acl_access", test::acl_for_user_7(4));
  test::set_xattr(volume_, "system.posix_acl_default", test::acl_for_user_7(7));
  ASSERT_EQ(::chown((volume_ / "file").c_str(), 4711, 4712), 0);
  ASSERT_EQ(::chmod((volume_ / "file").c_str(), 06751), 0);
  run("tar --xattrs --acls -xf " + packed() + " -C " + quoted(staging_));
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
  EXPECT_EQ(compare(volume_, staging_), "");
}

TEST_F(Tools, GnuTarExtractsWhatTheEndToEndTestsLookAt) {
  fs::remove(volume_);
  run("/usr/bin/python3 " FERRY_TREE_TOOL " make-tree --small " + quoted(volume_));
  fs::remove_all(volume_ / "deep" / "long");  // GNU tar makes no path that is longer than PATH_MAX
  run(gnu_tar + ("-xpf " + packed()) + " -C " + quoted(staging_));
  EXPECT_EQ(compare(volume_, staging_), "");
}

TEST_F(Tools, BsdTarExtractsTheVolume) {
  const test::FullTree tree(volume_);
  for (const char* name : {"old", "fifo", "."})
    test::set_mtime(volume_ / name, 1'000'000'000, 7);  // see docs/archive.md
  run("bsdtar --numeric-owner -xpf " + packed(Compression::zstd) + " -C " + quoted(staging_));
  test::set_mtime(staging_, 1'000'000'000, 7);  // it leaves that of a directory that is there alone
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

TEST_F(Tools, PlainTarSaysNothingAboutIt) {
  test::write_text(volume_ / "ü", "x");
  run("test -z \"$(tar -xpf " + packed() + " -C " + quoted(staging_) + " 2>&1)\"");
  EXPECT_EQ(test::tree_difference(volume_, staging_), "");
}

TEST_F(Tools, Sha256sumChecksTheDigests) {
  const test::FullTree tree(volume_);
  test::write_text(volume_ / "back\\slash", "x");
  const std::string archive = packed();
  run("test \"$(tar -tif " + archive + " | tail -n 1 | cut -c1-14)\" = ferry-digests-");
  const std::string check = "tar -i -xO --wildcards -f " + archive + " 'ferry-digests-*' | (cd " + quoted(volume_) +
                            "; sha256sum --check --quiet --strict)";
  run(check);
  test::write_text(volume_ / "old", "something else");
  run("! " + check + " 2>/dev/null");
}

TEST_F(Tools, PythonShowsTheFrontMatter) {
  for (const auto compression : {Compression::none, Compression::zstd})
    run("zstd -dcf " + packed(compression) +
        " | python3 -c 'import json, sys, tarfile; "
        "comment = tarfile.open(fileobj=sys.stdin.buffer, mode=\"r|*\").pax_headers[\"comment\"]; "
        "assert json.loads(comment.removeprefix(\"ferry-archive 1 \"))[\"epoch\"] == 7'");
}

TEST_F(Tools, GnuTarsArchivesAreImported) {
  const test::FullTree tree(volume_);
  remove_links_to_nodes();
  test::set_mtime(volume_ / "fifo", 1'000'000'000, 7);  // libarchive does not tell of the sign of "-0.1"
  expect_equal(std::string(gnu_tar) + "--sparse --format=posix -c .");
  EXPECT_EQ(compare(volume_, staging_), "");
  expect_equal(std::string(gnu_tar) + "--sparse --sparse-version=0.1 --format=posix -c . | zstd");
  expect_equal(std::string(gnu_tar) + "--sparse --sparse-version=0.0 --format=posix -c . | gzip");
}

TEST_F(Tools, ArchivesOfOlderFormatsAreImported) {
  make_plain_tree();
  for (const char* format : {"gnu", "ustar", "oldgnu", "posix"})
    expect_equal(std::string("tar --numeric-owner --format=") + format + " -c .");
  for (const char* program : {"gzip", "bzip2", "xz", "zstd", "lzma", "lzip", "lz4", "cat"})
    if (std::system((std::string("command -v ") + program + " >/dev/null").c_str()) == 0)
      expect_equal(std::string("tar -c . | ") + program);
  fs::remove(volume_ / "fifo");
  fs::remove(volume_ / "device");
  fs::remove(volume_ / "directory" / "symlink");
  run("find " + quoted(volume_) + " -depth -exec touch -h -d @1234567890 {} +");
  expect_equal("tar --format=v7 -c .");
}

TEST_F(Tools, BsdTarsArchivesAreImported) {
  const test::FullTree tree(volume_);
  remove_links_to_nodes();
  for (const char* name : {"old", "fifo", "."}) test::set_mtime(volume_ / name, 1'000'000'000, 7);  // written wrongly
  for (const char* format : {"pax", "gnutar"}) {
    const auto extracted = import(std::string("bsdtar --numeric-owner --format=") + format + " -c .");
    ASSERT_TRUE(extracted) << extracted.error().message;
    const bool holds_everything = std::string(format) == "pax";
    if (holds_everything) {
      EXPECT_EQ(test::tree_difference(volume_, staging_), "");
    }
  }
}

TEST_F(Tools, CpioArchivesAreImported) {
  make_plain_tree();
  for (const char* format : {"newc", "crc", "odc", "bin"})
    expect_equal(std::string("find . -depth | cpio --quiet -o -H ") + format);
  expect_equal("bsdtar --format=newc -c .");
}

/// As a stream they have neither modes nor symlinks.
TEST_F(Tools, ZipArchivesAreRefused) {
  test::write_text(volume_ / "file", "content");
  fs::create_symlink("file", volume_ / "link");
  for (const char* command : {"zip -q -r -y - .", "bsdtar --format=zip -c ."}) {
    const auto extracted = import(command);
    ASSERT_FALSE(extracted) << command;
    EXPECT_THAT(extracted.error().message, testing::HasSubstr("no archive that Ferry can read (tar or cpio,"));
  }
}

TEST_F(Tools, AnArchiveWithoutTheRootLeavesItAlone) {
  make_plain_tree();
  const auto extracted = import("tar -c directory 'other name'");
  ASSERT_TRUE(extracted) << extracted.error().message;
  EXPECT_FALSE(extracted->has_root);
  EXPECT_EQ(test::tree_difference(volume_ / "directory", staging_ / "directory"), "");
}

/// Go's archive/tar, in `docker cp` and `docker save`, has names without "./" and a directory before what is in it.
TEST_F(Tools, NamesOfAnyLengthAndOfAnyBytesAreImported) {
  const std::string unit = "n\xff\xc3\xa9\x65\xcc\x81 ";
  std::string name;
  while (name.size() + unit.size() < 255) name += unit;
  fs::create_directories(volume_ / name / name);
  test::write_text(volume_ / name / name / name, "x");
  test::write_text(volume_ / "\xc3\xa9", "composed");
  test::write_text(volume_ / "\x65\xcc\x81", "decomposed");
  fs::create_symlink("\xff" + name, volume_ / "link");
  fs::create_hard_link(volume_ / name / name / name, volume_ / name / "\xff");
  run("find " + quoted(volume_) + " -depth -exec touch -h -d @1234567890 {} +");
  for (const char* format : {"gnu", "posix"}) expect_equal(std::string("tar --format=") + format + " -c .");
  expect_equal("bsdtar --format=pax -c . 2>/dev/null");
}

TEST_F(Tools, NamesInAclsAreLookedUp) {
  test::write_text(volume_ / "file", "");
  run("setfacl -m u:daemon:rw,u:12345:r,g:daemon:r " + quoted(volume_ / "file"));
  expect_equal("tar --acls --format=posix -c . | tee " + quoted(directory_ / "copy"));
  EXPECT_THAT(extracted_.warnings, testing::ElementsAre(testing::StartsWith("1 entries have ACLs with names")));
  const auto extracted = import("sed s/daemon/nobodo/g " + quoted(directory_ / "copy"));
  ASSERT_FALSE(extracted);
  EXPECT_THAT(extracted.error().message, testing::HasSubstr("entry \"./file\": its ACL names \"nobodo\""));
}

}  // namespace
}  // namespace ferry::archive
