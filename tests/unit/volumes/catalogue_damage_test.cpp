#include <sys/stat.h>

#include "catalogue_fixture.h"
#include "support/golden.h"

namespace ferry::volumes {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

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

TEST_F(CatalogueTest, AReadyVolumeWithoutItsDataIsNotServedAsReady) {
  open();
  ASSERT_TRUE(catalogue_->create(record_of("one")));
  fs::remove_all(layout_.data("one"));
  open();
  EXPECT_EQ(state("one"), State::quarantined);
  EXPECT_THAT(error("one"), HasSubstr("data directory is missing"));
  EXPECT_TRUE(fs::exists(layout_.record("one")));
}

}  // namespace
}  // namespace ferry::volumes
