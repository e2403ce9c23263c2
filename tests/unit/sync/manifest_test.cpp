#include "sync/manifest.h"

#include <gmock/gmock.h>

#include <set>

#include "support/golden.h"
#include "support/sample_manifest.h"
#include "support/seed.h"

namespace ferry::sync {
namespace {

using test::entry;
using test::file;
using test::hard_link;
using testing::HasSubstr;

Result<Manifest> decode(std::string_view bytes, std::size_t piece = 1 << 20, std::size_t most = 1000,
                        std::uint64_t memory = 1U << 30) {
  ManifestDecoder decoder(most, memory);
  for (std::size_t at = 0; at < bytes.size(); at += piece) FERRY_TRY(decoder.feed(bytes.substr(at, piece)));
  return decoder.finish();
}

std::string manifest_of(const std::vector<Entry>& entries) {
  std::string bytes;
  for (const auto& each : entries) append_entry(bytes, each);
  append_trailer(bytes, {}, entries.size());
  return bytes;
}

std::string encode(const Manifest& manifest) {
  std::string bytes;
  for (const auto& each : manifest.entries) append_entry(bytes, each);
  append_trailer(bytes, manifest.info, manifest.entries.size());
  return bytes;
}

/// Why the entries, below a root, are refused.
std::string refusal(std::vector<Entry> entries) {
  entries.insert(entries.begin(), entry("", 0, Type::directory));
  const auto manifest = decode(manifest_of(entries));
  if (manifest) return "accepted";
  EXPECT_EQ(manifest.error().code, Code::corrupt);
  return manifest.error().message;
}

/// What must hold for whatever a decoder accepts, said once more and in another way.
void expect_harmless(const Manifest& manifest) {
  std::set<std::string> paths;
  std::vector<std::string> path_of;
  for (std::size_t i = 0; i < manifest.entries.size(); ++i) {
    const Entry& each = manifest.entries[i];
    if (i == 0) {
      ASSERT_EQ(each.type, Type::directory);
      path_of.emplace_back();
      continue;
    }
    ASSERT_LT(each.parent, i);
    ASSERT_EQ(manifest.entries[each.parent].type, Type::directory);
    ASSERT_TRUE(!each.name.empty() && each.name.size() <= 255 && each.name != "." && each.name != "..");
    ASSERT_EQ(each.name.str().find_first_of(std::string("/\0", 2)), std::string::npos);
    path_of.push_back(path_of[each.parent] + "/" + each.name.str());
    ASSERT_TRUE(paths.insert(path_of.back()).second) << path_of.back();
    if (each.type != Type::hard_link) continue;
    ASSERT_LT(each.link, i);
    ASSERT_TRUE(manifest.entries[each.link].type != Type::directory &&
                manifest.entries[each.link].type != Type::hard_link);
  }
}

TEST(ManifestDecoder, GoldenStream) {
  test::expect_golden("sync", "manifest", test::sample_manifest());
  for (const std::size_t piece : {1U, 2U, 7U, 1000U}) {
    const auto manifest = decode(test::read_golden("sync", "manifest"), piece);
    ASSERT_TRUE(manifest) << manifest.error().message;
    EXPECT_EQ(encode(*manifest), test::sample_manifest());
    EXPECT_EQ(manifest->info.stable_before_ns, 1'700'000'002'000'000'000U);
    EXPECT_THAT(manifest->info.warnings, testing::ElementsAre("1 sockets were left out"));
  }
}

TEST(ManifestDecoder, NoTruncationIsAccepted) {
  const std::string bytes = test::sample_manifest();
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    const auto manifest = decode(std::string_view(bytes).substr(0, cut));
    ASSERT_FALSE(manifest) << cut;
    EXPECT_EQ(manifest.error().code, Code::corrupt);
  }
}

TEST(ManifestDecoder, NothingMayFollowTheTrailer) {
  const std::string bytes = test::sample_manifest();
  EXPECT_FALSE(decode(bytes + bytes));
  EXPECT_FALSE(decode(bytes + std::string(1, '\0')));
  std::string again = bytes;
  append_trailer(again, {}, test::sample_entries().size());
  EXPECT_FALSE(decode(again));
}

TEST(ManifestDecoder, EveryFlippedByteIsRefusedOrHarmless) {
  const std::string bytes = test::sample_manifest();
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (int flip = 1; flip < 256; ++flip) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      if (const auto manifest = decode(damaged)) expect_harmless(*manifest);
    }
}

TEST(ManifestDecoder, MutatedStreamsAreRefusedOrHarmless) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = test::sample_manifest();
    for (std::size_t n = random.below(5) + 1; n > 0; --n) {
      const std::size_t at = random.below(bytes.size());
      const std::size_t length = random.below(std::min<std::size_t>(bytes.size() - at, 40)) + 1;
      switch (random.below(4)) {
        case 0: bytes[at] = static_cast<char>(random.below(256)); break;
        case 1: bytes.erase(at, std::min(length, bytes.size() - 1)); break;
        case 2: bytes.insert(at, random.bytes(length)); break;
        default: bytes.insert(random.below(bytes.size()), bytes.substr(at, length));
      }
    }
    if (const auto manifest = decode(bytes, random.below(300) + 1)) expect_harmless(*manifest);
  }
}

TEST(ManifestDecoder, NamesThatLeadOutAreRefused) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("/"), std::string("a/b"), std::string("../x"),
        std::string("a\0b", 3), std::string(256, 'a')})
    EXPECT_NE(refusal({file(name, 0, 1)}), "accepted") << name;
  EXPECT_EQ(refusal({file(std::string(255, 'a'), 0, 1)}), "accepted");
  EXPECT_EQ(refusal({file("..a", 0, 1), file("\xff\n", 0, 1)}), "accepted");
}

TEST(ManifestDecoder, OrderAndUniquenessAreChecked) {
  EXPECT_NE(refusal({file("b", 0, 1), file("a", 0, 1)}), "accepted");
  EXPECT_NE(refusal({file("a", 0, 1), file("a", 0, 1)}), "accepted");
  EXPECT_NE(refusal({entry("a", 0, Type::directory), file("x", 1, 1), file("b", 0, 1)}), "accepted");
  EXPECT_NE(refusal({entry("a", 0, Type::directory), entry("a", 0, Type::symlink)}), "accepted");
  EXPECT_EQ(refusal({entry("a", 0, Type::directory), file("b", 0, 1), file("a", 1, 1)}), "accepted");
}

TEST(ManifestDecoder, OnlyDirectoriesHoldEntries) {
  for (const Type type : {Type::symlink, Type::fifo, Type::regular, Type::character_device})
    EXPECT_NE(refusal({entry("a", 0, type), file("x", 1, 1)}), "accepted");
  EXPECT_NE(refusal({file("x", 1, 1)}), "accepted");  // itself
  EXPECT_NE(refusal({file("x", 2, 1), entry("y", 0, Type::directory)}), "accepted");
  EXPECT_NE(refusal({file("x", 4'000'000'000U, 1)}), "accepted");
}

TEST(ManifestDecoder, LinksLeadToEarlierFilesOnly) {
  EXPECT_EQ(refusal({file("a", 0, 1), hard_link("b", 0, 1)}), "accepted");
  EXPECT_EQ(refusal({entry("a", 0, Type::symlink), hard_link("b", 0, 1)}), "accepted");
  EXPECT_NE(refusal({hard_link("b", 0, 1)}), "accepted");
  EXPECT_NE(refusal({hard_link("b", 0, 0)}), "accepted");
  EXPECT_NE(refusal({hard_link("b", 0, 2), file("c", 0, 1)}), "accepted");
  EXPECT_NE(refusal({file("a", 0, 1), hard_link("b", 0, 1), hard_link("c", 0, 2)}), "accepted");
}

TEST(ManifestDecoder, TheFirstEntryIsARootAndNoOtherIs) {
  EXPECT_FALSE(decode(manifest_of({})));
  EXPECT_FALSE(decode(manifest_of({file("a", 0, 1)})));
  EXPECT_FALSE(decode(manifest_of({entry("", 0, Type::symlink)})));
  EXPECT_FALSE(decode(manifest_of({entry("", 7, Type::directory)})));
  EXPECT_FALSE(decode(manifest_of({entry("", 0, Type::directory), entry("", 0, Type::directory)})));
}

TEST(ManifestDecoder, FieldsAreChecked) {
  const auto with = [](auto change) {
    Entry made = file("a", 0, 100);
    change(made);
    return refusal({made});
  };
  EXPECT_EQ(with([](Entry&) {}), "accepted");
  EXPECT_NE(with([](Entry& e) { e.uid = 0xffffffff; }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.gid = 0xffffffff; }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_mtime({0, 1'000'000'000}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_mtime({0, (1U << 30) - 1}); }), "accepted");  // UTIME_NOW
  EXPECT_NE(with([](Entry& e) { e.set_data(101); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.size = 1ULL << 63; }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.device = 1}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.target = "x"}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{"", "x"}}}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{"b", "x"}, {"a", "x"}}}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{"a", "x"}, {"a", "x"}}}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{std::string("a\0b", 3), "x"}}}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{std::string(256, 'a'), "x"}}}); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.set_extra({.xattrs = {{"a", std::string(65537, 'x')}}}); }), "accepted");
  EXPECT_EQ(with([](Entry& e) {
              e.set_extra({.xattrs = {{std::string(255, 'a'), std::string(65536, 'x')}}});
            }),
            "accepted");
  EXPECT_NE(with([](Entry& e) { e.type = static_cast<Type>(0); }), "accepted");
  EXPECT_NE(with([](Entry& e) { e.type = Type::fifo; }), "accepted");  // with a size
  Entry link = entry("a", 0, Type::symlink);
  link.set_extra({.target = std::string("x\0y", 3)});
  EXPECT_NE(refusal({link}), "accepted");
  link.set_extra({.target = std::string(4097, 'x')});
  EXPECT_NE(refusal({link}), "accepted");
  link.set_extra({});
  EXPECT_NE(refusal({link}), "accepted");
}

TEST(ManifestDecoder, FieldsThatNoEntryHoldsAreRefused) {
  Entry made = file("a", 0, 100);
  made.mode = 07777;
  const std::string good = manifest_of({entry("", 0, Type::directory), made});
  const std::string fields("\1\2\0\1a\xff\x1f", 7);  // a record's kind, type, parent, name and mode
  const std::size_t at = good.find(fields);
  ASSERT_NE(at, std::string::npos);
  const auto with = [&](std::size_t field, const std::string& bytes) {
    return std::string(good).replace(at + field, bytes.size(), bytes);
  };
  EXPECT_TRUE(decode(good));
  EXPECT_TRUE(decode(with(5, "\x80\x10")));   // a mode of 04000
  EXPECT_FALSE(decode(with(5, "\x80\x20")));  // 010000
  EXPECT_FALSE(decode(with(1, "\x08")));
  EXPECT_FALSE(decode(with(1, "\x0a")));  // Type::regular and a bit more
}

TEST(ManifestDecoder, WhatIsRareComesUnchanged) {
  std::vector<Entry> entries = {entry("", 0, Type::directory), file("a", 0, 1ULL << 40), file("b", 0, 7)};
  entries[0].set_mtime({INT64_MAX, 999'999'999});
  entries[1].set_mtime({INT64_MIN, 0});
  entries[1].set_data(1 << 20);
  entries[2].set_data(0);
  const auto manifest = decode(manifest_of(entries));
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(encode(*manifest), manifest_of(entries));
  EXPECT_EQ(manifest->entries[1].mtime(), (Timestamp{INT64_MIN, 0}));
  EXPECT_EQ(manifest->entries[1].data(), 1U << 20);
}

TEST(ManifestDecoder, MoreIsRefusedBeforeItFillsTheMemory) {
  std::vector<Entry> entries = {entry("", 0, Type::directory)};
  for (int i = 0; i < 10; ++i) entries.push_back(file(std::string(1, static_cast<char>('a' + i)), 0, 1));
  EXPECT_TRUE(decode(manifest_of(entries), 100, 11));
  EXPECT_THAT(decode(manifest_of(entries), 100, 10).error().message, HasSubstr("more than 10 entries"));
  EXPECT_NE(refusal({file("a", 0, INT64_MAX), file("b", 0, 1)}), "accepted");
  std::string bytes;
  append_record(bytes, std::string(longest_manifest_record + 1, '\1'));
  EXPECT_FALSE(decode(bytes, 1000));
}

TEST(ManifestDecoder, LongEntriesFillTheMemoryEarlierThanMany) {
  std::vector<Entry> entries = {entry("", 0, Type::directory)};
  for (int i = 0; i < 20; ++i) {
    entries.push_back(file(std::string(1, static_cast<char>('a' + i)), 0, 1));
    entries.back().set_extra({.xattrs = {{"user.a", std::string(60'000, static_cast<char>('a' + i))}}});
  }
  EXPECT_TRUE(decode(manifest_of(entries), 1 << 20, 1000, 1'300'000));
  const auto refused = decode(manifest_of(entries), 1 << 20, 1000, 1'000'000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("1000000 bytes of memory"));
  for (auto& each : entries) {
    if (each.type != Type::regular) continue;
    each = entry(each.name.str(), 0, Type::symlink);
    each.set_extra({.target = std::string(4096, 't')});
  }
  EXPECT_FALSE(decode(manifest_of(entries), 1 << 20, 1000, 80'000));
  for (auto& each : entries) each.set_extra({.target = each.type == Type::symlink ? "t" : ""});
  EXPECT_TRUE(decode(manifest_of(entries), 1 << 20, 1000, 80'000));
  EXPECT_FALSE(decode(manifest_of(entries), 1 << 20, 1000, 20 * sizeof(Entry)));
  EXPECT_GT(memory_for_manifests(), 100U << 20);
}

TEST(ManifestDecoder, XattrsThatManyHaveFillTheMemoryOnce) {
  std::vector<Entry> entries = {entry("", 0, Type::directory)};
  for (int i = 0; i < 20; ++i) {
    const Type type = i % 2 == 0 ? Type::fifo : Type::symlink;
    entries.push_back(entry(std::string(1, static_cast<char>('a' + i)), 0, type));
    entries.back().set_extra(
        {.target = type == Type::symlink ? "t" : "", .xattrs = {{"user.a", std::string(60'000, 'x')}}});
  }
  const auto manifest = decode(manifest_of(entries), 1 << 20, 1000, 100'000);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(encode(*manifest), manifest_of(entries));
}

// Each extent of a hole of an exbibyte may be wanted, and costs a peer nothing.
TEST(ManifestDecoder, HolesFillTheMemoryToo) {
  std::vector<Entry> entries = {entry("", 0, Type::directory)};
  for (int i = 0; i < 20; ++i) {
    entries.push_back(file(std::string(1, static_cast<char>('a' + i)), 0, 0));
    entries.back().size = 1ULL << 58;
  }
  EXPECT_TRUE(decode(manifest_of(entries), 1 << 20, 1000, 200U << 20));
  EXPECT_FALSE(decode(manifest_of(entries), 1 << 20, 1000, 100U << 20));
}

TEST(ManifestDecoder, WarningsAreFewShortAndPrintable) {
  std::string bytes;
  append_entry(bytes, entry("", 0, Type::directory));
  append_trailer(bytes, {0, std::vector<std::string>(1000, "a\nb" + std::string(4000, 'x'))}, 1);
  const auto manifest = decode(bytes);
  ASSERT_TRUE(manifest) << manifest.error().message;
  ASSERT_EQ(manifest->info.warnings.size(), 20U);
  for (const auto& warning : manifest->info.warnings) {
    EXPECT_THAT(warning, testing::StartsWith("a\\x0ab"));
    EXPECT_LT(warning.size(), 600U);
  }
}

TEST(ManifestDecoder, TheTrailersCountMustBeRight) {
  const auto entries = test::sample_entries();
  for (const std::uint64_t count : {std::uint64_t{0}, entries.size() - 1, entries.size() + 1}) {
    std::string bytes;
    for (const auto& each : entries) append_entry(bytes, each);
    append_trailer(bytes, {}, count);
    EXPECT_FALSE(decode(bytes)) << count;
  }
}

TEST(ManifestDecoder, TheSendersFailureIsPassedOnAsOneLine) {
  std::string bytes;
  append_entry(bytes, entry("", 0, Type::directory));
  append_failure(bytes, {Code::io, "dir: Input/output error\n\x1b[2J"});
  test::expect_golden("sync", "manifest-failure", bytes);
  const auto manifest = decode(test::read_golden("sync", "manifest-failure"));
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().message, "the peer reports: dir: Input/output error\\x0a\\x1b[2J");
}

}  // namespace
}  // namespace ferry::sync
