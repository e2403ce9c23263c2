#include "sync/journal.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "support/golden.h"
#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"
#include "sync/blocks.h"
#include "sync/wire.h"

namespace ferry::sync {
namespace {

FileProgress progress(std::uint64_t n, bool complete = true) {
  FileProgress made;
  made.inode = n;
  made.size = 1000 * n;
  made.ctime_ns = 1'700'000'000'000'000'000 + n;
  made.complete = complete;
  made.stable = true;
  made.digest = digest_of(std::to_string(n));
  made.bytes = 990 * n;
  return made;
}

std::string name(std::uint64_t n) { return "directory/file " + std::to_string(n); }

/// A record as the journal has them, with any body.
std::string record(std::string_view body) {
  std::string inner;
  Writer writer(inner);
  writer.digest(digest_of(body));
  writer.raw(body);
  std::string out;
  append_record(out, inner);
  return out;
}

std::string boot_record(const std::string& id) { return record('\x01' + id); }

class JournalTest : public testing::Test {
 protected:
  std::unique_ptr<Journal> open() {
    auto journal = Journal::open(path_);
    EXPECT_TRUE(journal);
    return std::move(*journal);
  }
  /// A session that ends with that record, durably.
  void record_durably(std::uint64_t n) {
    const auto journal = open();
    ASSERT_TRUE(journal->record(name(n), progress(n)));
    ASSERT_TRUE(journal->mark_durable(journal->position()));
  }
  std::string bytes() const { return *read_file(path_); }
  void write(const std::string& bytes) { std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes; }
  /// As if the machine had been started anew: every session so far is of another boot.
  void reboot() {
    std::string content = bytes();
    const std::string mine = boot_record(boot_id_);
    const std::string other = boot_record(std::string(boot_id_.size(), static_cast<char>('a' + reboots_++)));
    for (std::size_t at = content.find(mine); at != std::string::npos; at = content.find(mine, at))
      content.replace(at, mine.size(), other);
    write(content);
  }

  const std::string boot_id_ = *read_file("/proc/sys/kernel/random/boot_id");
  test::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "journal";
  int reboots_ = 0;
};

TEST_F(JournalTest, RemembersTheLatestOfEachFile) {
  {
    const auto journal = open();
    EXPECT_TRUE(journal->empty());
    ASSERT_TRUE(journal->record(name(1), progress(1)));
    ASSERT_TRUE(journal->record(name(2), progress(2)));
    ASSERT_TRUE(journal->record(name(1), progress(3)));
    ASSERT_TRUE(journal->mark_durable(journal->position()));
  }
  const auto journal = open();
  EXPECT_EQ(journal->find(name(1)), progress(3));
  EXPECT_EQ(journal->find(name(2)), progress(2));
  EXPECT_EQ(journal->find(name(3)), std::nullopt);
}

TEST_F(JournalTest, WhatIsForgottenStaysForgotten) {
  {
    const auto journal = open();
    EXPECT_FALSE(*journal->forget(name(1)));
    ASSERT_TRUE(journal->record(name(1), progress(1)));
    EXPECT_TRUE(*journal->forget(name(1)));
    EXPECT_FALSE(*journal->forget(name(1)));
    ASSERT_TRUE(journal->mark_durable(journal->position()));
  }
  Entry entry;
  entry.inode = 1;
  entry.size = 1000;
  entry.ctime_ns = progress(1).ctime_ns;
  EXPECT_TRUE(progress(1).same_version(entry));
  EXPECT_FALSE(open()->find(name(1))->same_version(entry));
}

TEST_F(JournalTest, ATornTailCostsWhatIsInItOnly) {
  (void)open();
  std::vector<std::size_t> ends = {bytes().size()};
  for (std::uint64_t n = 1; n <= 3; ++n) {
    record_durably(n);
    ends.push_back(bytes().size());
  }
  const std::string whole = bytes();
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    write(whole.substr(0, cut));
    {
      const auto journal = open();
      for (std::uint64_t n = 1; n <= 3; ++n)
        ASSERT_EQ(journal->find(name(n)).has_value(), cut >= ends[n]) << "cut at " << cut << ", file " << n;
    }
    record_durably(9);  // it goes on behind the cut
    ASSERT_EQ(open()->find(name(9)), progress(9)) << "cut at " << cut;
  }
}

TEST_F(JournalTest, AProcessThatIsKilledLosesWhatItHasNotMadeDurable) {
  const auto journal = open();
  const auto on_disk = [&](std::uint64_t n) {
    const auto copy = directory_ / "copy";
    std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
    return (*Journal::open(copy))->find(name(n));
  };
  for (std::uint64_t n = 1; n <= 100; ++n) ASSERT_TRUE(journal->record(name(n), progress(n)));
  EXPECT_EQ(on_disk(1), std::nullopt);
  ASSERT_TRUE(journal->mark_durable(journal->position()));
  EXPECT_EQ(on_disk(100), progress(100));
}

TEST_F(JournalTest, AFlippedBitIsNeverBelieved) {
  for (std::uint64_t n = 1; n <= 3; ++n) record_durably(n);
  const std::string whole = bytes();
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    write(damaged);
    const auto journal = open();
    for (std::uint64_t n = 1; n <= 3; ++n) {
      const auto found = journal->find(name(n));
      ASSERT_TRUE(!found || *found == progress(n)) << "bit " << bit << ", file " << n;
    }
  }
}

TEST_F(JournalTest, AForeignFileIsStartedAnew) {
  for (const std::string& text :
       {std::string("hello, world"), std::string(10'000, '\0'), std::string(10'000, '\xff')}) {
    write(text);
    EXPECT_TRUE(open()->empty());
    record_durably(1);
    EXPECT_EQ(open()->find(name(1)), progress(1));
  }
}

/// Whatever went down: the process, the journal says nothing of it, or the machine.
TEST_F(JournalTest, OnlyWhatWasMadeDurableCounts) {
  for (const bool machine : {false, true}) {
    write("");
    {
      const auto journal = open();
      ASSERT_TRUE(journal->record(name(1), progress(1)));
      ASSERT_TRUE(journal->record(name(2), progress(2)));
      const std::uint64_t position = journal->position();
      ASSERT_TRUE(journal->record(name(3), progress(3)));  // between the sync and its mark
      ASSERT_TRUE(journal->mark_durable(position));
      ASSERT_TRUE(journal->record(name(4), progress(4)));
    }
    if (machine) reboot();
    const auto journal = open();
    EXPECT_EQ(journal->find(name(1)), progress(1));
    EXPECT_EQ(journal->find(name(2)), progress(2));
    EXPECT_EQ(journal->find(name(3)), std::nullopt);
    EXPECT_EQ(journal->find(name(4)), std::nullopt);
  }
}

TEST_F(JournalTest, AMarkDoesNotCoverWhatWasDroppedBefore) {
  for (const bool machine : {false, true}) {
    write("");
    ASSERT_TRUE(open()->record(name(1), progress(1)));
    if (machine) reboot();
    record_durably(2);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(open()->find(name(1)), std::nullopt);
      EXPECT_EQ(open()->find(name(2)), progress(2));
    }
  }
}

TEST_F(JournalTest, WhatWasForgottenButNotDurablyIsKnownAgain) {
  record_durably(1);
  ASSERT_TRUE(*open()->forget(name(1)));
  EXPECT_EQ(open()->find(name(1)), progress(1));  // which is why Receiver makes it durable before it writes
}

/// Files 1 and 2 before a mark, 3 between the sync and its mark, 4 afterwards; then a sync fails.
class DistrustedJournal : public JournalTest {
 protected:
  void fail_a_sync() {
    const auto journal = open();
    for (std::uint64_t n = 1; n <= 2; ++n) ASSERT_TRUE(journal->record(name(n), progress(n)));
    const std::uint64_t position = journal->position();
    ASSERT_TRUE(journal->record(name(3), progress(3)));
    ASSERT_TRUE(journal->mark_durable(position));
    ASSERT_TRUE(journal->record(name(4), progress(4)));
    const test::InterceptedCalls calls([this](const test::Call& call) { return call.place == path_ ? fail(call) : 0; });
    journal->distrust({Code::io, "the reason"});
    for (const auto& result :
         {journal->check(), journal->record(name(5), progress(5)), journal->record_extent(name(1), {}),
          journal->mark_durable(journal->position()), journal->end()}) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().message, "the reason");
    }
  }

  std::vector<std::uint64_t> known() {
    const auto journal = open();
    EXPECT_TRUE(journal->check());
    std::vector<std::uint64_t> known;
    for (std::uint64_t n = 1; n <= 5; ++n)
      if (journal->find(name(n))) known.push_back(n);
    return known;
  }

  std::function<int(const test::Call&)> fail = [](const test::Call&) { return 0; };
};

class CacheTrust : public JournalTest {
 protected:
  bool is_given(Journal::Begin begin = Journal::Begin::again) {
    const auto journal = *Journal::open(path_, begin);
    EXPECT_TRUE(journal->end());
    return journal->trusts_cache();
  }
};

TEST_F(CacheTrust, LastsWhileSessionsEnd) {
  EXPECT_TRUE(is_given(Journal::Begin::anew));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(is_given());
}

TEST_F(CacheTrust, IsLostForThisBootByASessionWithoutAnEnd) {
  EXPECT_TRUE(is_given(Journal::Begin::anew));
  record_durably(1);  // what came afterwards may not have been recorded
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(is_given());
  reboot();
  EXPECT_TRUE(is_given());
}

TEST_F(CacheTrust, IsLostIfASyncFailed) {
  EXPECT_TRUE(is_given(Journal::Begin::anew));
  (*Journal::open(path_))->distrust({Code::io, "the reason"});
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(is_given());
}

TEST_F(CacheTrust, IsNotGivenWithoutAJournalThatCouldTell) {
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(is_given());
}

TEST_F(DistrustedJournal, KeepsWhatWasDurable) {
  fail_a_sync();
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{1, 2}));
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record(name(3), progress(3)));
    ASSERT_TRUE(journal->mark_durable(journal->position()));
    ASSERT_TRUE(journal->record(name(4), progress(4)));
  }
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST_F(DistrustedJournal, IsEmptyIfItCannotTellWhatIsLost) {
  for (const auto* name : {"write", "fdatasync"}) {
    fail = [name](const test::Call& call) { return call.name == name ? EIO : 0; };
    fail_a_sync();
    EXPECT_TRUE(open()->empty());
  }
}

TEST_F(JournalTest, GoldenFile) {
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record(name(1), progress(1)));
    ASSERT_TRUE(journal->record(name(2), progress(2, false)));
    ASSERT_TRUE(journal->mark_durable(journal->position()));
    ASSERT_TRUE(journal->record(name(3), progress(3)));
  }
  std::string content = bytes();
  content.replace(0, boot_record(boot_id_).size(), boot_record("00000000-0000-4000-8000-000000000000\n"));
  test::expect_golden("sync", "journal", content);
  write(test::read_golden("sync", "journal"));
  const auto journal = open();
  EXPECT_EQ(journal->find(name(1)), progress(1));
  EXPECT_EQ(journal->find(name(2)), progress(2, false));
  EXPECT_EQ(journal->find(name(3)), std::nullopt);  // not durable, and of another boot
}

TEST_F(JournalTest, ExtentsAddUp) {
  FileProgress expected = progress(1, false);
  expected.digest = {};
  expected.bytes = 0;
  expected.old = OldFile{7, 8};
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record(name(1), expected));
    ASSERT_TRUE(journal->record_extent(name(1), {2, digest_of("b"), 20, false, "patch"}));
    ASSERT_TRUE(journal->record_extent(name(1), {0, digest_of("a"), 10, false, ""}));
    ASSERT_TRUE(journal->record_extent(name(1), {0, digest_of("a"), 10, false, ""}));  // once more
    ASSERT_TRUE(journal->mark_durable(journal->position()));
  }
  expected.extents = {{0, {}}, {2, Rare<std::string>("patch")}};
  expected.digest = add(digest_of("a"), digest_of("b"));
  expected.bytes = 30;
  EXPECT_EQ(open()->find(name(1)), expected);
  const auto journal = open();
  ASSERT_TRUE(journal->record_extent(name(1), {1, {}, 0, true, ""}));
  EXPECT_FALSE(journal->find(name(1))->stable);
}

TEST_F(JournalTest, PatchesThatAreFoundAreNotCopied) {
  const auto journal = open();
  ASSERT_TRUE(journal->record(name(1), progress(1, false)));
  ASSERT_TRUE(journal->record_extent(name(1), {0, {}, 10, false, std::string(100'000, 'x')}));
  const auto found = journal->find(name(1));
  EXPECT_EQ(found->extents.at(0)->data(), journal->find(name(1))->extents.at(0)->data());
  ASSERT_TRUE(journal->record(name(1), progress(2, false)));
  EXPECT_EQ(*found->extents.at(0), std::string(100'000, 'x'));
}

TEST_F(JournalTest, OneOfAVersionWithoutExtentsIsStartedAnew) {
  write(test::read_golden("sync", "journal-without-extents"));
  EXPECT_TRUE(open()->empty());
}

}  // namespace
}  // namespace ferry::sync
