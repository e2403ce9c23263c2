#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "catalogue_fixture.h"
#include "support/mounts.h"

namespace ferry::volumes {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

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
