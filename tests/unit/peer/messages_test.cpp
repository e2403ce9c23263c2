#include "peer/messages.h"

#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/seed.h"

namespace ferry::peer {
namespace {

using testing::HasSubstr;
using testing::Not;

migration::VolumeDescription description() {
  migration::VolumeDescription made;
  made.volume = "pgdata";
  made.driver = "ferry";
  made.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
  made.epoch = UINT64_MAX;
  made.mode = volumes::Mode::ro;
  made.labels = {{"a,b", "c d"}, {"x", "\"y\""}};
  made.options = {{"mode", "ro"}};
  made.labels_known = false;
  made.bytes = 1ULL << 40;
  made.instance = "131073-1795952599.5";
  return made;
}

migration::HandOffRequest hand_off_request() {
  migration::HandOffRequest made;
  made.port = 7766;
  made.uuid = "6fa459ea-ee8a-3ca4-894e-db77e160355e";
  made.volumes = {{"pgdata", "pg", UINT64_MAX, "1b4e28ba-2fa1-4d2f-883f-0016d3cca427", false},
                  {"uploads", "uploads", 1, "", true}};
  made.name = "db-2.example";
  return made;
}

migration::HandOffRequest hand_off_request_of_service() {
  auto request = hand_off_request();
  request.container = "db";
  request.after = "fedcba9876543210fedcba9876543210";
  request.as = "database";
  return request;
}

migration::FenceRequest fence_request() {
  migration::FenceRequest made;
  made.volume = "pgdata";
  made.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
  made.epoch = INT64_MAX / 2;
  made.target = "pg";
  made.port = 7766;
  made.name = "db-2.example";
  return made;
}

Hello greeting() {
  Hello made{"0.1.0", "1b4e28ba-2fa1-4d2f-883f-0016d3cca427", {fence_request()}};
  made.fences[0].id = "0123456789abcdef0123456789abcdef";
  return made;
}

migration::FenceAnswer fence_answer() { return {migration::FenceAnswer::Stand::left, 3, true, "c:7766"}; }

/// Every message of the protocol by the name of its golden file.
std::map<std::string, std::string> messages() {
  return {{"hello.json", encode(Hello{"0.1.0", "1b4e28ba-2fa1-4d2f-883f-0016d3cca427"})},
          {"hello-with-fences.json", encode(greeting())},
          {"fence-report.json", encode(FenceReport{"pgdata", fence_answer()})},
          {"description.json", encode(description())},
          {"open-request.json", encode(OpenRequest{"pgdata", migration::Freeze::refuse})},
          {"describe-request.json", encode(DescribeRequest{{"pgdata", migration::Freeze::refuse}, 1'000'000'000'000})},
          {"open-request-freeze-none.json", encode(OpenRequest{"pgdata", migration::Freeze::none})},
          {"opened.json", encode_opened("0123456789abcdef0123456789abcdef")},
          {"seal-request.json", encode(SealRequest{true})},
          {"seal.json", encode(sync::Seal{7, {3, 12}, "live", "a container had it mounted"})},
          {"hand-off-request.json", encode(hand_off_request())},
          {"hand-off-request-of-service-with-name.json", encode(hand_off_request_of_service())},
          {"hand-off-answer.json", encode(migration::hand_off::Answer::given)},
          {"fence-request.json", encode(fence_request())},
          {"fence-answer.json", encode(fence_answer())},
          {"error.json", encode(Error{Code::not_found, "no such volume: x"})}};
}

/// True if some decoder accepts the text; none may do anything worse than refuse.
bool any_accepts(const std::string& text) {
  (void)decode_error(500, text, "a:7766");
  return decode_hello(text) || decode_description(text) || decode_open_request(text) || decode_describe_request(text) ||
         decode_opened(text) || decode_seal(text) || decode_seal_request(text) || decode_hand_off_request(text) ||
         decode_hand_off_answer(text) || decode_fence_request(text) || decode_fence_answer(text) ||
         decode_fence_report(text);
}

TEST(Messages, GoldenFilesOfEveryVersion) {
  for (const auto& [name, text] : messages()) test::expect_golden("peer", name, text);
  const auto golden = [](const char* name) { return test::read_golden("peer", name); };
  EXPECT_EQ(decode_hello(golden("hello.json"))->uuid, "1b4e28ba-2fa1-4d2f-883f-0016d3cca427");
  const auto described = decode_description(golden("description.json"));
  ASSERT_TRUE(described);
  EXPECT_EQ(encode(*described), encode(description()));
  EXPECT_EQ(decode_description(golden("description-without-instance.json"))->instance, "");  // of earlier versions
  EXPECT_FALSE(decode_description(golden("description-without-owner.json"))->owner);         // these hand nothing off
  EXPECT_EQ(encode(*decode_hand_off_request(golden("hand-off-request.json"))), encode(hand_off_request()));
  EXPECT_EQ(encode(*decode_hand_off_request(golden("hand-off-request-of-service-with-name.json"))),
            encode(hand_off_request_of_service()));
  EXPECT_EQ(decode_hand_off_request(golden("hand-off-request-of-service.json"))->as, "");  // of earlier versions
  EXPECT_EQ(decode_hand_off_answer(golden("hand-off-answer.json")), migration::hand_off::Answer::given);
  EXPECT_EQ(encode(*decode_fence_request(golden("fence-request.json"))), encode(fence_request()));
  EXPECT_EQ(encode(*decode_fence_answer(golden("fence-answer.json"))), encode(fence_answer()));
  EXPECT_EQ(decode_fence_request(golden("fence-request-without-name.json"))->name, "");  // of earlier versions
  EXPECT_EQ(decode_hand_off_request(golden("hand-off-request-without-name.json"))->name, "");
  EXPECT_TRUE(decode_hello(golden("hello.json"))->fences.empty());
  EXPECT_EQ(encode(*decode_hello(golden("hello-with-fences.json"))), encode(greeting()));
  EXPECT_EQ(decode_fence_report(golden("fence-report.json"))->volume, "pgdata");
  EXPECT_EQ(decode_describe_request(golden("describe-request.json"))->of.volume, "pgdata");
  EXPECT_EQ(decode_describe_request(golden("describe-request.json"))->room, 1'000'000'000'000U);
  EXPECT_TRUE(decode_seal_request(golden("seal-request.json"))->unchanged);
  EXPECT_EQ(decode_open_request(golden("open-request.json"))->freeze, migration::Freeze::refuse);
  EXPECT_EQ(decode_open_request(golden("open-request-freeze-none.json"))->freeze, migration::Freeze::none);
  EXPECT_EQ(*decode_opened(golden("opened.json")), "0123456789abcdef0123456789abcdef");
  const auto seal = decode_seal(golden("seal.json"));
  EXPECT_EQ(seal->changed, 7U);
  EXPECT_EQ(seal->examples, (std::vector<std::uint32_t>{3, 12}));
  EXPECT_EQ(seal->consistency, "live");
  EXPECT_EQ(decode_seal(golden("seal-without-examples.json"))->changed, 7U);  // of earlier versions
  const Error error = decode_error(404, golden("error.json"), "a:7766");
  EXPECT_EQ(error.code, Code::not_found);
  EXPECT_EQ(error.message, "peer a:7766: no such volume: x");
}

TEST(Messages, NoTruncationIsAccepted) {
  for (const auto& [name, text] : messages())
    for (std::size_t cut = 0; cut < text.size(); ++cut)
      EXPECT_FALSE(any_accepts(text.substr(0, cut))) << name << " cut at " << cut;
}

TEST(Messages, DamageIsRefusedOrHarmless) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (int i = 0; i < 500; ++i)
    for (auto [name, text] : messages()) {
      for (std::size_t n = 1 + random.below(3); n > 0; --n) random.pick(text) = static_cast<char>(random.below(256));
      (void)any_accepts(text);
      const auto request = decode_open_request(text);
      EXPECT_TRUE(!request || request->volume.find('/') == std::string::npos);
    }
}

TEST(Messages, NestingAsDeepAsAMessageIsNoCatastrophe) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string text;
    while (text.size() < 4U << 20) text += open;
    EXPECT_FALSE(any_accepts(text));
  }
}

TEST(Messages, EveryMemberIsNeededInItsType) {
  const auto good = nlohmann::json::parse(encode(description()));
  for (const auto& [key, value] : good.items()) {
    auto missing = good;
    missing.erase(key);
    if (key != "instance" && key != "owner") {  // which earlier versions do not have
      EXPECT_EQ(decode_description(missing.dump()).error().code, Code::corrupt) << key;
    }
    for (const auto& wrong : {nlohmann::json(-1), nlohmann::json(1.5), nlohmann::json(1e300), nlohmann::json(nullptr),
                              nlohmann::json({1})}) {
      auto bad = good;
      bad[key] = wrong;
      const auto decoded = decode_description(bad.dump());
      ASSERT_FALSE(decoded) << key << " is " << wrong;
      EXPECT_EQ(decoded.error().code, Code::corrupt);
    }
  }
  auto mode = good;
  mode["mode"] = "rx";
  EXPECT_EQ(decode_description(mode.dump()).error().code, Code::corrupt);
  for (const char* bad : {"-1", "1.5", "1e300", "18446744073709551616", "\"1\"", "null"})
    EXPECT_EQ(decode_seal(std::string(R"({"changed":)") + bad + R"(,"consistency":"idle","warning":""})").error().code,
              Code::corrupt)
        << bad;
  std::string many = "0";
  for (int i = 0; i < 20; ++i) many += ",0";
  for (const std::string& bad : {std::string("-1"), std::string("4294967296"), std::string("\"a\""), many})
    EXPECT_EQ(
        decode_seal(R"({"changed":1,"examples":[)" + bad + R"(],"consistency":"idle","warning":""})").error().code,
        Code::corrupt)
        << bad;
}

TEST(Messages, AnEpochThatCannotBeRaisedIsRefused) {
  auto request = nlohmann::json::parse(encode(fence_request()));
  request["epoch"] = std::uint64_t{INT64_MAX / 2} + 1;
  EXPECT_FALSE(decode_fence_request(request.dump()));
  auto answer = nlohmann::json::parse(encode(fence_answer()));
  answer["epoch"] = UINT64_MAX;
  EXPECT_FALSE(decode_fence_answer(answer.dump()));
  answer["epoch"] = 3;
  answer["state"] = "unknown";
  EXPECT_FALSE(decode_fence_answer(answer.dump()));
}

migration::TicketRequest export_request() {
  migration::TicketRequest request;
  request.volumes = {{"pgdata", "copy"}, {"uploads", "uploads"}};
  request.terms = {migration::Freeze::none, 1'000'000, sync::Compression::zstd};
  request.replace = true;
  return request;
}

TEST(Messages, AnExportArrivesAsItWasAskedFor) {
  const auto request = decode_export_request(encode_export_request(export_request()));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(encode_export_request(*request), encode_export_request(export_request()));
  EXPECT_EQ(request->volumes.front().target, "copy");
  EXPECT_TRUE(request->replace && !request->dry_run);
}

migration::TicketRequest export_request_of_service() {
  migration::TicketRequest request;
  request.volumes = {{"pgdata", "copy"}, {std::string(64, 'a'), ""}};  // of which only this host speaks
  request.move = true;
  request.service.emplace().container = "db";
  request.service->renames = {{"pgdata", "copy"}};
  return request;
}

TEST(Messages, AnExportOfAServiceArrivesAsItWasAskedFor) {
  const std::string sent = encode_export_request(export_request_of_service());
  const auto request = decode_export_request(sent);
  ASSERT_TRUE(request && request->service) << request.error().message;
  EXPECT_EQ(encode_export_request(*request), sent);
  EXPECT_TRUE(request->volumes.empty() && request->hands_off());
  EXPECT_EQ(request->service->container, "db");
  const auto with = [&](const char* key, const nlohmann::json& value) {
    auto bad = nlohmann::json::parse(sent);
    bad[key] = value;
    return decode_export_request(bad.dump()).has_value();
  };
  EXPECT_FALSE(with("move", false));
  EXPECT_FALSE(with("dry_run", true));
  EXPECT_FALSE(with("service", nullptr));
  EXPECT_FALSE(with("service", {{"container", "a b"}}));
  EXPECT_FALSE(with("volumes", nlohmann::json::array({{{"source", "xx"}, {"target", "xx"}}})));
}

TEST(Messages, AnExportOfNothingOrOfNoNamesIsRefused) {
  const auto good = nlohmann::json::parse(encode_export_request(export_request()));
  const auto with = [&](const nlohmann::json& volumes) {
    auto bad = good;
    bad["volumes"] = volumes;
    return decode_export_request(bad.dump()).has_value();
  };
  EXPECT_TRUE(with(good["volumes"]));
  for (const auto& volumes :
       {nlohmann::json::array(), nlohmann::json("x"), nlohmann::json::array({{{"source", "../x"}, {"target", "xx"}}}),
        nlohmann::json::array({{{"source", "xx"}, {"target", "a/b"}}}),
        nlohmann::json::array({{{"source", "xx"}, {"target", "zz"}}, {{"source", "yy"}, {"target", "zz"}}}),
        nlohmann::json(1001, {{"source", "xx"}, {"target", "zz"}})})
    EXPECT_FALSE(with(volumes)) << volumes.dump().substr(0, 100);
  for (const auto& [key, value] : good.items()) {
    auto bad = good;
    bad.erase(key);
    EXPECT_EQ(decode_export_request(bad.dump()).has_value(), key == "move") << key;  // which earlier versions lack
    bad[key] = "what a later version may have";
    EXPECT_FALSE(decode_export_request(bad.dump())) << key;
  }
}

TEST(Messages, OfAStatusOnlyWhatIsKnownIsTaken) {
  const nlohmann::json status = {
      {"state", "done"},
      {"migration", {{"phase", "done"}, {"unknown", "x"}, {"error", "a\nb\x1b[2J"}}},
      {"volumes", nlohmann::json::array({{{"name", "xx"}, {"bytes_sent", 7}, {"unknown", nlohmann::json::object()}}})}};
  const auto decoded = decode_status(encode_status(status));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_FALSE((*decoded)["migration"].contains("unknown") || (*decoded)["volumes"][0].contains("unknown"));
  EXPECT_EQ((*decoded)["migration"]["error"], "a\\x0ab\\x1b[2J");
  EXPECT_EQ((*decoded)["volumes"][0]["bytes_sent"], 7);
  for (const char* bad :
       {"[]", "{}", R"({"state":1,"migration":{},"volumes":[]})", R"({"state":"done","migration":{}})"})
    EXPECT_FALSE(decode_status(bad)) << bad;
}

TEST(Messages, OfTheStatusOfAServiceItsStepsAreTaken) {
  nlohmann::json status = {{"state", "importing"},
                           {"migration", {{"downtime_ms", 7}}},
                           {"volumes", nlohmann::json::array()},
                           {"service",
                            {{"container", "another"},
                             {"step", "hold"},
                             {"steps", nlohmann::json::array({{{"step", "hold"}, {"at", "x\n"}, {"unknown", 1}}})}}}};
  const auto decoded = decode_status(encode_status(status));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(
      (*decoded)["service"],
      nlohmann::json({{"step", "hold"}, {"steps", nlohmann::json::array({{{"step", "hold"}, {"at", "x\\x0a"}}})}}));
  EXPECT_EQ((*decoded)["migration"]["downtime_ms"], 7);
  status["service"]["step"] = nullptr;
  EXPECT_TRUE(decode_status(encode_status(status)));
  for (const nlohmann::json& steps :
       {nlohmann::json(1), nlohmann::json::array({1}), nlohmann::json(1001, {{"step", "hold"}, {"at", "x"}})}) {
    status["service"]["steps"] = steps;
    EXPECT_FALSE(decode_status(encode_status(status))) << steps.dump().substr(0, 50);
  }
}

TEST(Messages, AVolumeNameInARequestIsChecked) {
  for (const char* name : {"", "..", "../x", "a/b", "/etc"})
    EXPECT_FALSE(decode_open_request(encode(OpenRequest{name, migration::Freeze::none}))) << name;
  EXPECT_EQ(decode_open_request(R"({"volume":"ab","freeze":"stop"})")->freeze, migration::Freeze::stop);
  EXPECT_EQ(decode_open_request(R"({"volume":"ab","freeze":"snapshot"})").error().code, Code::unsupported);
}

TEST(Messages, ASourceIdIsHex) {
  for (const char* id :
       {"", "..", "a/b", "A", "g", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"})
    EXPECT_FALSE(decode_opened(encode_opened(id))) << id;
}

TEST(Messages, OnlyIdleIsIdle) {
  EXPECT_EQ(decode_seal(encode(sync::Seal{0, {}, "frozen", ""}))->consistency, "frozen");
  for (const char* consistency : {"live", "IDLE", "", "FROZEN"})
    EXPECT_EQ(decode_seal(encode(sync::Seal{0, {}, consistency, ""}))->consistency, "live");
}

TEST(Messages, WhatIsToStandStill) {
  migration::FreezeRequest request{{"pg", "wal"}, migration::FreezeKind::stop, std::chrono::milliseconds(1500)};
  const auto decoded = decode_freeze_request(encode(request));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->volumes, request.volumes);
  EXPECT_EQ(decoded->kind, request.kind);
  using migration::FreezeKind;
  for (const auto kind : {FreezeKind::pause, FreezeKind::stop, FreezeKind::watch})
    EXPECT_EQ(decode_freeze_request(encode(migration::FreezeRequest{{"pg"}, kind}))->kind, kind);
  EXPECT_EQ(decoded->longest, request.longest);
  for (const char* bad :
       {"{}", R"({"volumes":[],"kind":"pause","longest_ms":1})",
        R"({"volumes":["../x"],"kind":"pause","longest_ms":1})",
        R"({"volumes":["pg","pg"],"kind":"pause","longest_ms":1})", R"({"volumes":["pg"],"kind":"end","longest_ms":1})",
        R"({"volumes":["pg"],"kind":"pause","longest_ms":-1})", R"({"volumes":"pg","kind":"pause","longest_ms":1})"})
    EXPECT_FALSE(decode_freeze_request(bad)) << bad;
  EXPECT_LE(decode_freeze_request(R"({"volumes":["pg"],"kind":"pause","longest_ms":99999999999})")->longest,
            std::chrono::hours(24));
  EXPECT_TRUE(*decode_lasted(encode_lasted(true)) && !*decode_lasted(encode_lasted(false)));
  EXPECT_TRUE(*decode_held(encode_held(true)) && !*decode_held(encode_held(false)));
  EXPECT_FALSE(decode_held("{}"));
}

TEST(Messages, EveryErrorComesBackButCancelled) {
  for (const Code code : {Code::invalid_argument, Code::not_found, Code::already_exists, Code::busy, Code::denied,
                          Code::unavailable, Code::no_space, Code::corrupt, Code::unsupported, Code::io}) {
    EXPECT_EQ(decode_error(status_of(code), encode(Error{code, "x"}), "a").code, code);
    EXPECT_GE(status_of(code), 400);
  }
  EXPECT_EQ(decode_error(500, encode(Error{Code::cancelled, "x"}), "a").code, Code::io);
  EXPECT_EQ(decode_error(500, R"({"code":"new","error":"x"})", "a").code, Code::io);
}

TEST(Messages, AnAnswerOfSomethingElseSaysSo) {
  for (const char* text : {"", "<html>", "{}", R"({"error":1,"code":"io"})", R"({"error":"x"})", "[]"}) {
    const Error error = decode_error(404, text, "a:7766");
    EXPECT_EQ(error.code, Code::unsupported);
    EXPECT_THAT(error.message, HasSubstr("HTTP status 404"));
  }
}

TEST(Messages, APeersErrorIsOneBoundedLine) {
  const Error error = decode_error(500, encode(Error{Code::io, "a\nb\x1b[2J"}), "a");
  EXPECT_EQ(error.message, "peer a: a\\x0ab\\x1b[2J");
  EXPECT_LT(decode_error(500, encode(Error{Code::io, std::string(10'000, 'x')}), "a").message.size(), 5000U);
}

TEST(Messages, APeersWarningIsOneBoundedLine) {
  const auto seal = decode_seal(encode(sync::Seal{0, {}, "live", "a\nb\x1b[2J" + std::string(10'000, 'x')}));
  ASSERT_TRUE(seal);
  EXPECT_THAT(seal->warning, testing::StartsWith("a\\x0ab\\x1b[2Jxx"));
  EXPECT_LT(seal->warning.size(), 600U);
}

TEST(Messages, AnErrorDoesNotQuoteTheMessage) {
  auto secret = description();
  secret.options = {{"o", "password=s3cret"}};
  const std::string text = encode(secret);
  for (std::size_t cut = 0; cut < text.size(); ++cut)
    EXPECT_THAT(decode_description(text.substr(0, cut)).error().message, Not(HasSubstr("s3c"))) << cut;
}

TEST(Messages, BytesThatAreNoUtf8NeverThrow) {
  auto odd = description();
  odd.labels = {{"\xff", "\xfe"}};
  EXPECT_TRUE(decode_description(encode(odd)));
  (void)encode(Error{Code::io, "\xff"});
}

/// They are shown, and the IDs are part of a path.
TEST(Messages, NamesAndIdsAreNoneThatCouldDoHarm) {
  for (const char* bad : {"", "a b", "a\nb", "../x", "\u0000", "ä"}) {
    auto request = nlohmann::json::parse(encode(fence_request()));
    request["name"] = bad;
    EXPECT_EQ(decode_fence_request(request.dump())->name, "") << bad;
    auto hello = nlohmann::json::parse(encode(greeting()));
    hello["fences"][0]["id"] = bad;
    EXPECT_FALSE(decode_hello(hello.dump())) << bad;
  }
  auto hello = nlohmann::json::parse(encode(greeting()));
  hello["fences"][0]["volume"] = "../x";
  EXPECT_FALSE(decode_hello(hello.dump()));
  hello["fences"] = "none";
  EXPECT_FALSE(decode_hello(hello.dump()));
}

}  // namespace
}  // namespace ferry::peer
