#include "volumes/record.h"

#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/seed.h"

namespace ferry::volumes {
namespace {

using testing::HasSubstr;

VolumeRecord full() {
  VolumeRecord record;
  record.name = "pgdata";
  record.created = "2026-11-22T17:05:09Z";
  record.mode = Mode::ro;
  record.state = State::importing;
  record.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
  record.epoch = 18446744073709551615U;
  record.options = {{"mode", "ro"}, {"o", "a=b,c"}};
  record.labels = {{"a,b", "c d"}, {"x", "\"y\"\n"}};
  record.labels_pending = true;
  record.reregistration = Reregistration{"ferry:latest", {{"team", "web"}}, {{"mode", "ro"}}};
  record.import = {{"host", "a"}, {"port", 7766}};
  record.migration = {{"id", "1"}, {"warnings", nlohmann::json::array()}};
  return record;
}

VolumeRecord plain() {
  VolumeRecord record;
  record.name = "web";
  record.created = "2026-11-22T17:05:09Z";
  record.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
  return record;
}

TEST(Record, GoldenFilesOfEveryVersion) {
  test::expect_golden("volumes", "record-1-full.json", encode(full()));
  test::expect_golden("volumes", "record-1-plain.json", encode(plain()));
  EXPECT_EQ(encode(*decode(test::read_golden("volumes", "record-1-full.json"), "pgdata")), encode(full()));
  EXPECT_EQ(encode(*decode(test::read_golden("volumes", "record-1-plain.json"), "web")), encode(plain()));
}

TEST(Record, EveryStateOfALabelsProcedureSurvives) {
  for (const bool armed : {false, true}) {
    for (const bool pending : {false, true}) {
      VolumeRecord record = full();
      record.labels_pending = pending;
      if (!armed) record.reregistration.reset();
      const auto read = decode(encode(record), "pgdata");
      ASSERT_TRUE(read);
      EXPECT_EQ(read->labels_pending, pending);
      ASSERT_EQ(read->reregistration.has_value(), armed);
      if (!armed) continue;
      EXPECT_EQ(read->reregistration->driver, "ferry:latest");
      EXPECT_EQ(read->reregistration->labels, record.reregistration->labels);
      EXPECT_EQ(read->reregistration->options, record.reregistration->options);
    }
  }
}

TEST(Record, BytesThatAreNoUtf8AreReplacedAndNeverThrow) {
  VolumeRecord record = plain();
  record.labels = {{"key", "\xff\xfe"}};
  EXPECT_TRUE(decode(encode(record), "web"));
}

std::string refusal(const std::string& text) {
  const auto record = decode(text, "pgdata");
  if (record) return "accepted";
  EXPECT_EQ(record.error().code, Code::corrupt) << record.error().message;
  return record.error().message;
}

TEST(Record, EveryMemberIsNeededInItsType) {
  const auto good = nlohmann::json::parse(encode(full()));
  ASSERT_EQ(refusal(good.dump()), "accepted");
  for (const auto& [key, value] : good.items()) {
    auto missing = good;
    missing.erase(key);
    EXPECT_NE(refusal(missing.dump()), "accepted") << key << " is missing";
    if (key == "import" || key == "migration") continue;  // of any type; others own them
    for (const auto& wrong : {nlohmann::json(-1), nlohmann::json(1.5), nlohmann::json("wrong"),
                              nlohmann::json{{"a", 1}}, nlohmann::json({1})}) {
      if (wrong.type() == value.type() && (wrong.is_string() && key != "mode" && key != "state" && key != "name"))
        continue;
      auto bad = good;
      bad[key] = wrong;
      EXPECT_NE(refusal(bad.dump()), "accepted") << key << " is " << wrong;
    }
  }
}

TEST(Record, OtherFormatsAndNamesAreRefusedByName) {
  auto later = nlohmann::json::parse(encode(full()));
  later["format"] = 2;
  const auto read = decode(later.dump(), "pgdata");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::unsupported);
  EXPECT_THAT(read.error().message, HasSubstr("format 2"));
  later["format"] = 0;
  EXPECT_THAT(refusal(later.dump()), HasSubstr("format 0"));
  auto other = nlohmann::json::parse(encode(full()));
  other["name"] = "other";
  EXPECT_THAT(refusal(other.dump()), HasSubstr("other"));
  auto state = nlohmann::json::parse(encode(full()));
  state["state"] = "quarantined";
  EXPECT_THAT(refusal(state.dump()), HasSubstr("quarantined"));
}

TEST(Record, AnErrorDoesNotQuoteTheRecord) {
  VolumeRecord record = plain();
  record.options = {{"o", "password=s3cret"}};
  const std::string text = encode(record);
  for (std::size_t cut = 0; cut + 1 < text.size(); ++cut)
    EXPECT_THAT(decode(text.substr(0, cut), "web").error().message, testing::Not(HasSubstr("s3c"))) << cut;
}

TEST(Record, NoTruncationAndNoDamageIsAcceptedAsSomethingElse) {
  const std::string text = encode(full());
  for (std::size_t cut = 0; cut + 1 < text.size(); ++cut) EXPECT_FALSE(decode(text.substr(0, cut), "pgdata")) << cut;
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = text;
    for (std::size_t n = random.below(4) + 1; n > 0; --n) random.pick(damaged) = static_cast<char>(random.below(256));
    const auto read = decode(damaged, "pgdata");
    EXPECT_TRUE(!read || read->name == "pgdata");
  }
}

}  // namespace
}  // namespace ferry::volumes
