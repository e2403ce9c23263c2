#include "volumes/catalogue.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "base/files.h"
#include "base/random.h"
#include "support/golden.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "support/temporary_directory.h"

namespace ferry::volumes {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

VolumeRecord record_of(const std::string& name, State state = State::ready) {
  VolumeRecord record;
  record.name = name;
  record.created = "2026-11-22T17:05:09Z";
  record.lineage = random_uuid();
  record.state = state;
  return record;
}

class CatalogueTest : public testing::Test {
 protected:
  void open() {
    catalogue_.reset();  // the lock
    auto opened = Catalogue::open(layout_);
    ASSERT_TRUE(opened) << opened.error().message;
    catalogue_ = std::move(*opened);
  }
  Error open_error() {
    catalogue_.reset();
    auto opened = Catalogue::open(layout_);
    if (opened) return {Code::io, "opened"};
    return opened.error();
  }
  State state(const std::string& name) { return catalogue_->find(name)->state; }
  std::string error(const std::string& name) { return catalogue_->find(name)->migration["error"].get<std::string>(); }
  static std::vector<std::string> names_in(const fs::path& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
    return names;
  }
  static void write(const fs::path& path, const std::string& text) { ASSERT_TRUE(write_file_atomically(path, text)); }

  /// Creates a volume again and again until it succeeds, while calls fail with EIO, later ones each time. `fails` tells
  /// which: it has the number of calls it has counted so far, and that from which on they fail. Each failure has to
  /// leave nothing.
  void create_despite(const std::function<bool(const test::Call& call, int& number, int failing)>& fails) {
    for (int failing = 0;; ++failing) {
      int number = 0;
      Result<> created;
      {
        const test::InterceptedCalls intercepted(
            [&](const test::Call& call) { return fails(call, number, failing) ? EIO : 0; });
        created = catalogue_->create(record_of("one"));
      }
      if (created) break;
      EXPECT_EQ(catalogue_->find("one"), nullptr) << "call " << failing;
      EXPECT_THAT(names_in(layout_.incoming()), IsEmpty()) << "call " << failing;
      EXPECT_THAT(names_in(layout_.volumes()), IsEmpty()) << "call " << failing;
      ASSERT_LT(failing, 100);
    }
  }

  test::TemporaryDirectory directory_;
  Layout layout_{directory_.path()};
  std::unique_ptr<Catalogue> catalogue_;
};

TEST_F(CatalogueTest, StartsEmptyAndKeepsItsIdentity) {
  open();
  EXPECT_THAT(catalogue_->list(), IsEmpty());
  const std::string uuid = catalogue_->uuid();
  open();
  EXPECT_EQ(catalogue_->uuid(), uuid);
}

TEST_F(CatalogueTest, WhatWasCreatedIsThereAfterARestart) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  ASSERT_TRUE(catalogue_->create(record_of("two", State::importing)));
  open();
  EXPECT_EQ(catalogue_->list().size(), 2U);
  EXPECT_EQ(state("two"), State::importing);
  EXPECT_TRUE(fs::is_directory(layout_.data("one")));
  EXPECT_TRUE(fs::is_directory(layout_.staging("two")));
  EXPECT_FALSE(fs::exists(layout_.data("two")));
}

// Each fsync that finds something new to write is a write of the journal, for which the user waits.
TEST_F(CatalogueTest, ANewVolumeIsDurableBeforeItIsVisibleAndBeforeItIsAnswered) {
  open();
  std::vector<std::string> calls;
  {
    const test::InterceptedCalls intercepted([&](const test::Call& call) {
      const fs::path place(call.place);
      const bool is_new = place.parent_path() == layout_.incoming();
      calls.push_back(std::string(call.name) + " " + (is_new ? "ID" : place.filename().string()));
      return 0;
    });
    ASSERT_TRUE(catalogue_->create(record_of("one")));
  }
  EXPECT_THAT(calls,
              ElementsAre("mkdir ID", "mkdir data", "openat record.json", "write record.json", "fchmod record.json",
                          "fsync record.json", "fsync ID", "renameat2 one", "fsync volumes", "fsync incoming"));
}

// What a power cut may leave, at worst: of a file without fsync a part, and of a directory without fsync no new
// entries.
TEST_F(CatalogueTest, APowerCutDuringACreateLeavesAVolumeOrNone) {
  open();
  const test::TemporaryDirectory cuts;
  int instants = 0;
  bool has_content = false, has_entries = false;
  const auto cut = [&](const test::Call& call) {
    const fs::path base = cuts / std::to_string(instants++) / "ferry";
    fs::create_directories(base.parent_path());
    fs::copy(layout_.base(), base, fs::copy_options::recursive);
    for (const auto& parent : {base / "incoming", base / "volumes"})
      for (const auto& entry : fs::directory_iterator(parent)) {
        const fs::path record = entry.path() / Layout::record_name;
        if (!has_content && fs::exists(record)) fs::resize_file(record, fs::file_size(record) / 2);
        if (!has_entries && fs::exists(record) && instants % 2 == 0) fs::remove(record);
      }
    if (call.name != "fsync") return 0;
    has_content = has_content || fs::path(call.place).filename() == Layout::record_name;
    has_entries = has_entries || fs::path(call.place).parent_path() == layout_.incoming();
    return 0;
  };
  {
    const test::InterceptedCalls intercepted(cut);
    ASSERT_TRUE(catalogue_->create(record_of("one")));
  }
  for (int i = 0; i < instants; ++i) {
    const Layout left(cuts / std::to_string(i));
    const auto opened = Catalogue::open(left);
    ASSERT_TRUE(opened) << opened.error().message;
    for (const auto& record : (*opened)->list()) EXPECT_EQ(record->state, State::ready) << "instant " << i;
    EXPECT_THAT(names_in(left.incoming()), IsEmpty());
    EXPECT_THAT(names_in(left.quarantine()), IsEmpty());
  }
}

TEST_F(CatalogueTest, ACreateThatFailsLeavesNothingAndMayBeRepeated) {
  open();
  create_despite(
      [](const test::Call& call, int& number, int failing) { return call.name != "unlinkat" && number++ == failing; });
}

TEST_F(CatalogueTest, ADiskThatSyncsNoMoreHasNoHalfOfAVolume) {
  open();
  create_despite(
      [](const test::Call& call, int& number, int failing) { return call.name == "fsync" && number++ >= failing; });
}

TEST_F(CatalogueTest, AnOrphanThatCannotBeAdoptedDurablyStaysOne) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  const auto id = catalogue_->orphan("one");
  ASSERT_TRUE(id);
  {
    const test::InterceptedCalls intercepted([&](const test::Call& call) {
      return call.name == "fsync" && fs::path(call.place) == layout_.volumes() ? EIO : 0;
    });
    EXPECT_FALSE(catalogue_->adopt(record_of("two", State::importing), *id));
  }
  EXPECT_EQ(catalogue_->find("two"), nullptr);
  EXPECT_THAT(names_in(layout_.orphans()), ElementsAre(*id));
  EXPECT_TRUE(catalogue_->adopt(record_of("two", State::importing), *id));
}

TEST_F(CatalogueTest, ANameIsTakenOnce) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  EXPECT_EQ(catalogue_->create(record_of("one")).error().code, Code::already_exists);
  EXPECT_THAT(names_in(layout_.incoming()), IsEmpty());
}

TEST_F(CatalogueTest, OfManyCreatesOfOneNameOneSucceeds) {
  open();
  std::atomic<int> succeeded{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { succeeded += catalogue_->create(record_of("one")) ? 1 : 0; });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(succeeded, 1);
  EXPECT_THAT(names_in(layout_.incoming()), IsEmpty());
}

TEST_F(CatalogueTest, ChangesOfOneVolumeAreSerialisedAndDurable) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 5; ++n) EXPECT_TRUE(catalogue_->update("one", [](VolumeRecord& record) { ++record.epoch; }));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(catalogue_->find("one")->epoch, 41U);
  open();
  EXPECT_EQ(catalogue_->find("one")->epoch, 41U);
}

TEST_F(CatalogueTest, OnlyOneProcessMayServeIt) {
  open();
  const auto second = Catalogue::open(layout_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
}

TEST_F(CatalogueTest, ARemovedVolumeGoesToTheTrash) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  write(layout_.data("one") / "file", "content");
  ASSERT_TRUE(catalogue_->remove("one"));
  EXPECT_EQ(catalogue_->find("one"), nullptr);
  EXPECT_EQ(catalogue_->remove("one").error().code, Code::not_found);
  ASSERT_EQ(names_in(layout_.trash()).size(), 1U);
  EXPECT_TRUE(fs::exists(layout_.trash() / names_in(layout_.trash())[0] / "data" / "file"));
  EXPECT_TRUE(catalogue_->create(record_of("one")));
}

// What a record may have become, and what must not come of it.
TEST_F(CatalogueTest, EightKindsOfBadRecordsAreQuarantinedAndTheOthersServed) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("good")));
  const std::string good = *read_file(layout_.record("good"));
  const std::map<std::string, std::string> bad = {
      {"empty", ""},
      {"zeros", std::string(good.size(), '\0')},
      {"truncated", good.substr(0, good.size() / 2)},
      {"doubled", good + good},
      {"binary",
       "\x7f"
       "ELF\xff\xfe"},
      {"foreign", "[1, 2, 3]\n"},
      {"other-name", good},
      {"huge", std::string((64U << 20) + 1, ' ')},
  };
  for (const auto& [name, text] : bad) {
    ASSERT_TRUE(catalogue_->create(record_of(name)));
    write(layout_.data(name) / "file", "content of " + name);
    write(layout_.record(name), text);
  }
  open();
  EXPECT_EQ(state("good"), State::ready);
  EXPECT_EQ(catalogue_->list().size(), bad.size() + 1);
  EXPECT_EQ(names_in(layout_.quarantine()).size(), bad.size());
  for (const auto& [name, text] : bad) {
    EXPECT_EQ(state(name), State::quarantined) << name;
    EXPECT_THAT(error(name), HasSubstr("quarantine")) << name;
    EXPECT_EQ(*read_file(layout_.data(name) / "file"), "content of " + name);
    EXPECT_EQ(catalogue_->create(record_of(name)).error().code, Code::already_exists) << name;
    EXPECT_EQ(catalogue_->update(name, [](VolumeRecord&) {}).error().code, Code::not_found) << name;
  }
  open();  // the records are gone now: the volumes stay listed
  EXPECT_EQ(catalogue_->list().size(), bad.size() + 1);
  for (const auto& [name, text] : bad) EXPECT_EQ(state(name), State::quarantined) << name;
}

TEST_F(CatalogueTest, ARecordOfALaterFormatWaitsWhereItIsForALaterVersion) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  const std::string good = *read_file(layout_.record("one"));
  auto later = nlohmann::json::parse(good);
  later["format"] = 2;
  write(layout_.record("one"), later.dump());
  open();
  EXPECT_EQ(state("one"), State::quarantined);
  EXPECT_THAT(error("one"), HasSubstr("later version"));
  EXPECT_EQ(catalogue_->update("one", [](VolumeRecord&) {}).error().code, Code::not_found);
  EXPECT_EQ(*read_file(layout_.record("one")), later.dump());
  EXPECT_THAT(names_in(layout_.quarantine()), IsEmpty());
  write(layout_.record("one"), good);
  open();
  EXPECT_EQ(state("one"), State::ready);
}

TEST_F(CatalogueTest, WhatIsNoFileIsNoRecordAndStopsNobody) {
  open();
  for (const auto* name : {"good", "directory", "fifo", "link", "none"})
    ASSERT_TRUE(catalogue_->create(record_of(name)));
  for (const auto* name : {"directory", "fifo", "link", "none"}) fs::remove(layout_.record(name));
  fs::create_directory(layout_.record("directory"));
  ASSERT_EQ(::mkfifo(layout_.record("fifo").c_str(), 0600), 0);
  fs::create_symlink(layout_.record("good"), layout_.record("link"));
  open();
  EXPECT_EQ(state("good"), State::ready);
  for (const auto* name : {"directory", "fifo", "link", "none"}) EXPECT_EQ(state(name), State::quarantined) << name;
  EXPECT_EQ(names_in(layout_.quarantine()).size(), 3U);
}

TEST_F(CatalogueTest, AQuarantinedVolumeIsRemovedToQuarantineWithItsData) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  write(layout_.data("one") / "file", "content");
  write(layout_.record("one"), "?");
  open();
  ASSERT_TRUE(catalogue_->remove("one"));
  EXPECT_THAT(names_in(layout_.trash()), IsEmpty());
  bool kept = false;
  for (const auto& name : names_in(layout_.quarantine()))
    kept = kept || fs::exists(layout_.quarantine() / name / "data" / "file");
  EXPECT_TRUE(kept);
}

TEST_F(CatalogueTest, VolumesWithoutACatalogueAreNotServedAsAnEmptyOne) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  fs::remove(layout_.catalogue());
  const Error refused = open_error();
  EXPECT_EQ(refused.code, Code::corrupt);
  EXPECT_THAT(refused.message, HasSubstr("catalogue.json"));
  EXPECT_FALSE(fs::exists(layout_.catalogue()));
  EXPECT_TRUE(fs::exists(layout_.data("one")));
}

TEST_F(CatalogueTest, ADamagedOrOtherCatalogueIsRefusedAndLeftAlone) {
  open();
  for (const std::string text : {"", "{}", "[]", "null", "{\"uuid\":1,\"format\":1}", "{\"uuid\":\"x\",\"format\":2}",
                                 "{\"uuid\":\"x\",\"format\":\"1\"}", "{\"uuid\":\"x\"}",
                                 "{\"uuid\":\"\",\"format\":1}", "{\"uuid\":\"x\",\"form"}) {
    catalogue_.reset();
    write(layout_.catalogue(), text);
    EXPECT_EQ(open_error().code, Code::corrupt) << text;
    EXPECT_EQ(*read_file(layout_.catalogue()), text);
  }
}

TEST_F(CatalogueTest, ReadsTheGoldenCatalogue) {
  open();
  catalogue_.reset();
  std::string text = *read_file(layout_.catalogue());
  test::expect_golden("volumes", "catalogue-1.json",
                      "{\n  \"format\": 1,\n  \"uuid\": \"1b4e28ba-2fa1-4d2f-883f-0016d3cca427\"\n}\n");
  EXPECT_EQ(text.size(), test::read_golden("volumes", "catalogue-1.json").size());
  write(layout_.catalogue(), test::read_golden("volumes", "catalogue-1.json"));
  open();
  EXPECT_EQ(catalogue_->uuid(), "1b4e28ba-2fa1-4d2f-883f-0016d3cca427");
}

TEST_F(CatalogueTest, StrangersInTheDirectoryAreIgnoredOrListedButNeverTouched) {
  open();
  fs::create_directory(layout_.volumes() / "lost+found");
  write(layout_.volumes() / ".hidden", "x");
  write(layout_.volumes() / "a-file", "x");
  open();
  ASSERT_EQ(catalogue_->list().size(), 1U);
  EXPECT_EQ(state("a-file"), State::quarantined);
  EXPECT_EQ(*read_file(layout_.volumes() / "a-file"), "x");
}

// --- what a crash leaves, step by step ---

TEST_F(CatalogueTest, AnInterruptedCreateLeavesNothing) {
  open();
  catalogue_.reset();
  fs::create_directory(layout_.incoming() / "0");             // after mkdir
  fs::create_directories(layout_.incoming() / "1" / "data");  // after the second
  fs::create_directories(layout_.incoming() / "2" / "data");  // while the record was written
  write(layout_.incoming() / "2" / ".new-00", "{");
  fs::create_directories(layout_.incoming() / "3" / "data");  // before the rename
  write(layout_.incoming() / "3" / "record.json", encode(record_of("one")));
  open();
  EXPECT_THAT(catalogue_->list(), IsEmpty());
  EXPECT_THAT(names_in(layout_.incoming()), IsEmpty());
}

TEST_F(CatalogueTest, AnInterruptedUpdateLeavesTheOldRecord) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  catalogue_.reset();
  write(layout_.volume("one") / ".new-0123456789abcdef", "{\"format\"");
  open();
  EXPECT_EQ(state("one"), State::ready);
}

TEST_F(CatalogueTest, CommitMakesStagingTheData) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  write(layout_.staging("one") / "file", "content");
  write(layout_.journal("one"), "x");
  ASSERT_TRUE(catalogue_->commit_staging("one", [](VolumeRecord& record) { record.state = State::ready; }));
  EXPECT_EQ(state("one"), State::ready);
  EXPECT_EQ(*read_file(layout_.data("one") / "file"), "content");
  EXPECT_FALSE(fs::exists(layout_.staging("one")));
  EXPECT_FALSE(fs::exists(layout_.journal("one")));
}

TEST_F(CatalogueTest, ACommitInterruptedBeforeItsRecordIsAnImport) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  write(layout_.staging("one") / "file", "content");
  write(layout_.journal("one"), "x");
  open();
  EXPECT_EQ(state("one"), State::importing);
  EXPECT_FALSE(fs::exists(layout_.data("one")));
  EXPECT_TRUE(fs::exists(layout_.journal("one")));
}

TEST_F(CatalogueTest, ACommitInterruptedAfterItsRecordIsFinished) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  write(layout_.staging("one") / "file", "content");
  write(layout_.journal("one"), "x");
  write(layout_.record("one"), encode(record_of("one", State::ready)));
  open();
  EXPECT_EQ(state("one"), State::ready);
  EXPECT_EQ(*read_file(layout_.data("one") / "file"), "content");
  EXPECT_FALSE(fs::exists(layout_.staging("one")));
  EXPECT_FALSE(fs::exists(layout_.journal("one")));
  write(layout_.journal("one"), "x");  // after the rename
  open();
  EXPECT_EQ(state("one"), State::ready);
  EXPECT_FALSE(fs::exists(layout_.journal("one")));
}

TEST_F(CatalogueTest, ACommitThatCannotRenameLeavesDiskAndMemoryAsTheyWere) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  write(layout_.staging("one") / "file", "content");
  write(layout_.data("one"), "in the way");
  const auto committed = catalogue_->commit_staging("one", [](VolumeRecord& record) { record.state = State::ready; });
  EXPECT_FALSE(committed);
  EXPECT_EQ(state("one"), State::importing);
  open();
  EXPECT_EQ(state("one"), State::importing);
  EXPECT_EQ(*read_file(layout_.staging("one") / "file"), "content");
}

/// As fsync of the directory may, after the rename: here because there is no descriptor left to open it with.
TEST_F(CatalogueTest, ACommitWhoseRecordMayBeOnDiskIsTakenBack) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  Result<> committed;
  {
    const test::InterceptedCalls intercepted([&](const test::Call& call) {
      return call.name == "fsync" && fs::path(call.place) == layout_.volume("one") ? EIO : 0;
    });
    committed = catalogue_->commit_staging("one", [](VolumeRecord& record) { record.state = State::ready; });
  }
  ASSERT_FALSE(committed);
  EXPECT_EQ(state("one"), State::importing);
  open();
  EXPECT_EQ(state("one"), State::importing);
  EXPECT_TRUE(fs::exists(layout_.staging("one")));
}

TEST_F(CatalogueTest, ACommitOfWhichASyncFailsIsTakenBackAndMayBeRepeated) {
  open();
  const auto commit = [&] {
    return catalogue_->commit_staging("one", [](VolumeRecord& record) { record.state = State::ready; });
  };
  for (const int failures : {1, 2, 3}) {
    ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
    write(layout_.staging("one") / "file", "content");
    int left = failures;
    {
      // The first is that of the record, the second that of staging, which is data by then.
      int syncs = 0;
      const test::InterceptedCalls calls([&](const test::Call& call) {
        const bool counts = call.name == "fsync" && call.place == layout_.volume("one") && ++syncs >= 2;
        return counts && left-- > 0 ? EIO : 0;
      });
      EXPECT_FALSE(commit());
    }
    EXPECT_EQ(state("one"), State::importing);
    if (failures == 3) open();  // as another process finds it
    if (state("one") == State::importing) {
      ASSERT_TRUE(commit());
    }
    EXPECT_EQ(state("one"), State::ready);
    EXPECT_EQ(*read_file(layout_.data("one") / "file"), "content");
    EXPECT_FALSE(fs::exists(layout_.staging("one")));
    open();
    EXPECT_EQ(state("one"), State::ready);
    ASSERT_TRUE(catalogue_->remove("one"));
  }
}

TEST_F(CatalogueTest, DroppedStagingIsGone) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::importing)));
  write(layout_.staging("one") / "file", "half");
  write(layout_.journal("one"), "x");
  ASSERT_TRUE(catalogue_->update("one", [](VolumeRecord& record) { record.state = State::failed; }));
  EXPECT_TRUE(catalogue_->drop_staging("one", nullptr));
  EXPECT_EQ(names_in(layout_.volume("one")), std::vector<std::string>{"record.json"});
  EXPECT_TRUE(catalogue_->drop_staging("one", nullptr));
}

TEST_F(CatalogueTest, OnlyAnImportHasStagingToDrop) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  EXPECT_EQ(catalogue_->drop_staging("one", nullptr).error().code, Code::not_found);
  EXPECT_EQ(catalogue_->drop_staging("two", nullptr).error().code, Code::not_found);
  EXPECT_TRUE(fs::exists(layout_.data("one")));
}

TEST_F(CatalogueTest, ADropThatWasInterruptedIsLeftToTheTrash) {
  open();
  for (const auto* name : {"stopped", "before"}) {
    ASSERT_TRUE(catalogue_->create(record_of(name, State::importing)));
    write(layout_.staging(name) / "file", "half");
    write(layout_.journal(name), "x");
    ASSERT_TRUE(catalogue_->update(name, [](VolumeRecord& record) { record.state = State::failed; }));
  }
  const std::atomic<bool> stop{true};
  EXPECT_EQ(catalogue_->drop_staging("stopped", &stop).error().code, Code::cancelled);
  EXPECT_FALSE(fs::exists(layout_.staging("stopped")));
  open();
  EXPECT_EQ(names_in(layout_.trash()).size(), 2U);
  for (const auto& entry : names_in(layout_.trash())) EXPECT_THAT(entry, testing::StartsWith("0-"));
  for (const auto* name : {"stopped", "before"}) {
    EXPECT_EQ(state(name), State::failed);
    EXPECT_EQ(names_in(layout_.volume(name)), std::vector<std::string>{"record.json"});
  }
}

TEST_F(CatalogueTest, AReadyVolumeWithoutItsDataIsNotServedAsReady) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  fs::remove_all(layout_.data("one"));
  open();
  EXPECT_EQ(state("one"), State::quarantined);
  EXPECT_THAT(error("one"), HasSubstr("data directory is missing"));
  EXPECT_TRUE(fs::exists(layout_.record("one")));
}

TEST_F(CatalogueTest, AnOrphanIsKeptAndAdopted) {
  open();
  VolumeRecord first = record_of(std::string(64, 'a'), State::importing);
  first.import = {{"host", "a"}};
  ASSERT_TRUE(catalogue_->create(first));
  write(layout_.staging(first.name) / "file", "arrived");
  const auto id = catalogue_->orphan(first.name);
  ASSERT_TRUE(id);
  EXPECT_EQ(catalogue_->find(first.name), nullptr);
  open();
  const auto orphans = catalogue_->orphans();
  ASSERT_TRUE(orphans);
  ASSERT_EQ(orphans->size(), 1U);
  EXPECT_EQ(orphans->at(*id).import, first.import);
  ASSERT_TRUE(catalogue_->adopt(record_of(std::string(64, 'b'), State::importing), *id));
  EXPECT_EQ(*read_file(layout_.staging(std::string(64, 'b')) / "file"), "arrived");
  EXPECT_TRUE(catalogue_->orphans()->empty());
  open();
  EXPECT_EQ(state(std::string(64, 'b')), State::importing);
}

TEST_F(CatalogueTest, WhatIsNoImportAnyMoreCannotBeAdopted) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("ready")));
  ASSERT_TRUE(catalogue_->create(record_of("bare", State::importing)));
  fs::remove_all(layout_.staging("bare"));
  ASSERT_TRUE(catalogue_->orphan("ready"));
  ASSERT_TRUE(catalogue_->orphan("bare"));
  fs::create_directory(layout_.orphans() / "no-record");
  write(layout_.orphans() / "stray", "x");
  EXPECT_TRUE(catalogue_->orphans()->empty());
}

// --- a disk that is full, or that cannot be written ---

class FullDisk : public CatalogueTest {
 protected:
  test::PrivateMount disk_ = test::PrivateMount::tmpfs(directory_ / "disk", "size=1m");
  Layout small_{disk_.path()};
};

TEST_F(FullDisk, WhatCannotBeWrittenIsNeitherOnDiskNorInMemory) {
  auto opened = Catalogue::open(small_);
  ASSERT_TRUE(opened);
  Catalogue& catalogue = **opened;
  ASSERT_TRUE(catalogue.create(record_of("one")));
  ASSERT_TRUE(catalogue.create(record_of("two", State::importing)));
  const Fd file = *open_at(AT_FDCWD, (small_.base() / "filler").string(), O_WRONLY | O_CREAT, 0600);
  while (write_all(file.get(), std::string(4096, 'x'), "filler")) {
  }
  EXPECT_EQ(catalogue.update("one", [](VolumeRecord& record) { record.epoch = 7; }).error().code, Code::no_space);
  EXPECT_EQ(catalogue.create(record_of("three")).error().code, Code::no_space);
  EXPECT_EQ(catalogue.commit_staging("two", [](VolumeRecord& r) { r.state = State::ready; }).error().code,
            Code::no_space);
  EXPECT_EQ(catalogue.find("one")->epoch, 1U);
  EXPECT_EQ(catalogue.find("two")->state, State::importing);
  EXPECT_EQ(catalogue.find("three"), nullptr);
  EXPECT_THAT(names_in(small_.incoming()), IsEmpty());
  EXPECT_TRUE(catalogue.remove("one"));  // needs no space
  opened->reset();
  opened = Catalogue::open(small_);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->find("two")->state, State::importing);
  EXPECT_EQ((*opened)->list().size(), 1U);
}

}  // namespace
}  // namespace ferry::volumes
