#include <fcntl.h>

#include <atomic>

#include "catalogue_fixture.h"

namespace ferry::volumes {
namespace {

using testing::ElementsAre;

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

TEST_F(CatalogueTest, OneThatIsReadyIsEmptiedForAnImport) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one", State::ready)));
  write(layout_.data("one") / "file", "content");
  write(layout_.journal("one"), "x");
  ASSERT_TRUE(catalogue_->empty_for_import("one", [](VolumeRecord& record) { record.state = State::importing; }));
  open();
  EXPECT_EQ(state("one"), State::importing);
  EXPECT_FALSE(fs::exists(layout_.data("one")));
  EXPECT_TRUE(fs::is_empty(layout_.staging("one")));
  EXPECT_FALSE(fs::exists(layout_.journal("one")));
  const auto again = catalogue_->empty_for_import("one", [](VolumeRecord&) {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::busy);
}

TEST_F(CatalogueTest, OneThatCannotBeEmptiedIsReadyAllTheSame) {
  for (const char* call : {"rename", "fsync"}) {
    open();
    if (!catalogue_->find("one")) {
      ASSERT_TRUE(catalogue_->create(record_of("one", State::ready)));
    }
    {
      const test::InterceptedCalls intercepted([&](const test::Call& done) { return done.name == call ? ENOSPC : 0; });
      EXPECT_FALSE(catalogue_->empty_for_import("one", [](VolumeRecord& record) { record.state = State::importing; }));
    }
    open();  // also after a crash in between
    EXPECT_EQ(state("one"), State::ready);
    EXPECT_TRUE(fs::is_directory(layout_.data("one")));
  }
  EXPECT_TRUE(catalogue_->empty_for_import("one", [](VolumeRecord& record) { record.state = State::importing; }));
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

}  // namespace
}  // namespace ferry::volumes
