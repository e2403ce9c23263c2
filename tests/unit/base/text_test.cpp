#include <gmock/gmock.h>

#include <algorithm>

#include "base/duration.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time.h"

namespace ferry {
namespace {

TEST(Duration, HasANumberAndAUnit) {
  EXPECT_EQ(parse_duration("500ms")->count(), 500);
  EXPECT_EQ(parse_duration("0s")->count(), 0);
  EXPECT_EQ(parse_duration("30s")->count(), 30'000);
  EXPECT_EQ(parse_duration("2m")->count(), 120'000);
  EXPECT_EQ(parse_duration("24h")->count(), 86'400'000);
  EXPECT_EQ(parse_duration("87600h")->count(), 315'360'000'000);
}

TEST(Duration, AnythingElseIsRefused) {
  for (const auto* text : {"", "s", "5", "-5s", "+5s", " 5s", "5 s", "5s ", "5d", "5S", "1.5s", "0x5s", "87601h",
                           "99999999999999999999s", "18446744073709551615h", "5ms5"})
    EXPECT_EQ(parse_duration(text).error().code, Code::invalid_argument) << text;
}

TEST(Quote, MakesOneHarmlessLine) {
  EXPECT_EQ(quote("plain"), "\"plain\"");
  EXPECT_EQ(quote("a\nb\x1b[31m\"\\"), "\"a\\x0ab\\x1b[31m\\\"\\\\\"");
  EXPECT_EQ(quote(std::string(1, '\0')), "\"\\x00\"");
  EXPECT_EQ(quote(std::string(300, 'x')), '"' + std::string(300, 'x') + '"');
  EXPECT_EQ(quote(std::string(301, 'x')), '"' + std::string(300, 'x') + "…\"");
}

TEST(Printable, EscapesAndCuts) {
  EXPECT_EQ(printable("a\nb \"c\""), "a\\x0ab \"c\"");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_EQ(printable("abcd", 3), "abc…");
}

TEST(Logging, OneMessageIsOneLineWhateverItHolds) {
  const auto before = spdlog::default_logger();
  ASSERT_TRUE(set_up_logging("info"));
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  spdlog::info("names {}", "a\nb\r\x1b]0;");
  spdlog::warn("worse\n");
  spdlog::debug("unseen");
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  spdlog::set_default_logger(before);
  EXPECT_THAT(out, testing::EndsWith(" info names a\\x0ab\\x0d\\x1b]0;\n"));
  EXPECT_THAT(err, testing::EndsWith(" warning worse\\x0a\n"));
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
  EXPECT_EQ(set_up_logging("loud").error().code, Code::invalid_argument);
}

TEST(Logging, ALongMessageIsCut) {
  const auto before = spdlog::default_logger();
  ASSERT_TRUE(set_up_logging("info"));
  const std::string bytes[] = {"x", "\n", "\x80", "ä"};
  for (const std::string& byte : bytes) {
    std::string message;
    while (message.size() < 100'000) message += byte;
    testing::internal::CaptureStdout();
    spdlog::info("{}", message);
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_LT(out.size(), 8300U);
    EXPECT_THAT(
        out, testing::MatchesRegex(".*" + (byte == "\n" ? std::string("x0a") : byte) + "… \\([0-9]+ more bytes\\)\n"));
  }
  spdlog::set_default_logger(before);
}

TEST(RandomText, HasTheFormItShould) {
  EXPECT_THAT(random_hex(8), testing::MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(random_hex(8), random_hex(8));
  for (int i = 0; i < 50; ++i)
    EXPECT_THAT(random_uuid(),
                testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_THAT(now_rfc3339(),
              testing::MatchesRegex("20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z"));
}

}  // namespace
}  // namespace ferry
