#include "archive/archive_fixture.h"
#include "archive/made_archive.h"
#include "support/mounts.h"
#include "support/sanitizer.h"
#include "support/seed.h"

namespace ferry::archive {
namespace {

/// Archives that are cut or altered anywhere.
class Damage : public ArchiveTest {
 protected:
  void SetUp() override {
    volume_ = disk_.path() / "volume";
    staging_ = disk_.path() / "staging";
    for (const auto& path : {volume_, staging_}) fs::create_directory(path);
    make_small_tree();
    before_.emplace(volume_);
  }

  /// Something of everything in few bytes.
  void make_small_tree() {
    fs::create_directories(volume_ / "directory" / "below");
    test::write_text(volume_ / "file", "content of a file");
    test::write_text(volume_ / "directory" / "empty", "");
    test::write_text(volume_ / "directory" / std::string(150, 'n'), std::string(700, 'y'));
    test::write_islands(volume_ / "holes", 100'000, {0, 50'000});
    test::write_islands(volume_ / "a large hole", 3'000'000, {1'000'000});
    fs::create_hard_link(volume_ / "file", volume_ / "directory" / "link");
    fs::create_symlink("target", volume_ / "symlink");
    fs::create_symlink(std::string(150, 't'), volume_ / "long symlink");
    ASSERT_EQ(::mkfifo((volume_ / "fifo").c_str(), 0600), 0);
    test::set_xattr(volume_ / "file", "user.name", "value of an attribute");
    test::set_xattr(volume_ / "directory", "system.posix_acl_default", test::acl_for_user_7(6));
    test::set_mtime(volume_ / "file", -1, 500'000'000);
    test::set_mtime(volume_ / "fifo", 1'000'000'000, 123'456'789);
  }

  enum class Outcome { refused, unverified, same };

  /// Fails the test if it passes for verified and is not what was archived.
  Outcome outcome_of(const std::string& bytes, const std::string& what) {
    const auto extracted = extract_anew(bytes);
    if (!extracted) return Outcome::refused;
    if (!extracted->verified) return Outcome::unverified;
    EXPECT_EQ(before_->difference(test::TreeSnapshot(staging_)), "") << what;
    EXPECT_EQ(extracted->facts, facts_) << what;
    return Outcome::same;
  }

  /// All bytes if there are few, else some of them.
  std::vector<std::size_t> places_in(const std::string& bytes, std::size_t most) {
    std::vector<std::size_t> places;
    for (std::size_t at = 0; at < bytes.size(); ++at)
      if (bytes.size() <= most || random_.below(bytes.size()) < most) places.push_back(at);
    return places;
  }

  std::size_t most_places() const {
    const char* given = std::getenv("FERRY_TEST_CASES");
    if (given != nullptr) return std::stoull(given);
#ifdef FERRY_TEST_SANITIZED
    return 150;
#else
    return 700;
#endif
  }

  test::MemoryDisk disk_{"64M"};
  test::SeededRandom random_;
  std::optional<test::TreeSnapshot> before_;
};

TEST_F(Damage, AnArchiveThatIsCutIsRefused) {
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    const std::string bytes = pack(compression);
    for (const std::size_t at : places_in(bytes, most_places())) {
      const std::string what = "cut at " + std::to_string(at) + " of " + std::to_string(bytes.size());
      const Outcome outcome = outcome_of(bytes.substr(0, at), what);
      // Behind the digests is the mark of the end, and what gzip has at its end.
      const std::size_t end = compression == Compression::none ? end_marker : 8;
      const bool is_end = bytes.size() - at <= end;
      EXPECT_TRUE(outcome == Outcome::refused || (is_end && outcome == Outcome::same)) << what;
    }
  }
}

TEST_F(Damage, AnAlteredArchiveIsNeverTakenForGood) {
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    const std::string bytes = pack(compression);
    std::size_t refused = 0, unverified = 0, same = 0;
    for (const std::size_t at : places_in(bytes, most_places())) {
      std::string altered = bytes;
      const auto bit = static_cast<unsigned char>(1U << random_.below(8));
      altered[at] = static_cast<char>(static_cast<unsigned char>(altered[at]) ^ bit);
      const Outcome outcome = outcome_of(altered, "byte " + std::to_string(at) + " ^ " + std::to_string(bit));
      refused += outcome == Outcome::refused;
      unverified += outcome == Outcome::unverified;
      same += outcome == Outcome::same;
    }
    RecordProperty("compression" + std::to_string(static_cast<int>(compression)),
                   std::to_string(refused) + " " + std::to_string(unverified) + " " + std::to_string(same));
    EXPECT_GT(refused, 0U);
    if (compression == Compression::none) {
      EXPECT_EQ(unverified, 0U);
    }
  }
}

TEST_F(Damage, ForeignArchivesThatAreCutAreRefused) {
  const auto made = [](const MadeArchive& archive) { return archive.end(); };
  const std::string bytes = made(MadeArchive().directory("./").file("a", std::string(600, 'x')).file("b"));
  ASSERT_TRUE(extract_anew(bytes));
  for (std::size_t at = 0; at < bytes.size() - end_marker; ++at) {
    const auto extracted = extract_anew(bytes.substr(0, at));
    EXPECT_FALSE(extracted) << at;
  }
}

TEST_F(Damage, ForeignCpioArchivesThatAreCutAreRefused) {
  const auto file = disk_.path() / "archive";
  for (const char* command : {"find . -depth | cpio --quiet -o -H newc", "find . -depth | cpio --quiet -o -H odc"}) {
    run("cd " + quoted(volume_) + "; " + command + " >" + quoted(file));
    const std::string bytes = load(file);
    ASSERT_TRUE(extract_anew(bytes)) << command;
    const std::size_t end = bytes.find("TRAILER!!!");  // the rest is padding
    for (const std::size_t at : places_in(bytes, most_places() / 3)) {
      if (at > end) continue;
      EXPECT_FALSE(extract_anew(bytes.substr(0, at))) << command << " " << at;
    }
  }
}

TEST_F(Damage, WhatIsDamagedIsNamed) {
  std::string bytes = pack();
  bytes[bytes.find("content of a file") + 3] ^= 1;
  const auto content = extract_anew(bytes);
  ASSERT_FALSE(content);
  EXPECT_THAT(content.error().message,
              testing::HasSubstr("the content of \"./directory/link\" is not what was written"));
  bytes = pack();
  bytes[bytes.find("value of an attribute") + 3] ^= 1;
  const auto metadata = extract_anew(bytes);
  ASSERT_FALSE(metadata);
  EXPECT_THAT(metadata.error().message, testing::HasSubstr("metadata"));
}

TEST_F(Damage, ALaterFormatIsNotGuessedAt) {
  std::string bytes = pack();
  bytes.replace(bytes.find("ferry-archive 1 "), 16, "ferry-archive 2 ");
  const auto extracted = extract_anew(bytes);
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().code, Code::unsupported);
}

}  // namespace
}  // namespace ferry::archive
