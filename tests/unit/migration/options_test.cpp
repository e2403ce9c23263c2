#include "migration/options.h"

#include <gmock/gmock.h>

namespace ferry::migration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using volumes::StringMap;

Error refusal(const StringMap& options, const std::string& name = "copy") {
  const auto request = parse_options(name, options);
  return request ? Error{Code::io, "accepted"} : request.error();
}

TEST(Options, NoneIsAPlainVolume) {
  const auto request = parse_options("copy", {});
  ASSERT_TRUE(request);
  EXPECT_FALSE(request->import);
  EXPECT_FALSE(request->mode);
  EXPECT_TRUE(request->own_options.empty());
}

TEST(Options, ModeBelongsToTheVolume) {
  const auto request = parse_options("copy", {{"mode", "ro"}});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->mode, volumes::Mode::ro);
  EXPECT_EQ(request->own_options, (StringMap{{"mode", "ro"}}));
  EXPECT_EQ(parse_options("copy", {{"mode", "rw"}})->mode, volumes::Mode::rw);
}

TEST(Options, FromNamesAPeerAndAVolume) {
  const std::tuple<const char*, const char*, int, const char*> cases[] = {
      {"hostA", "hostA", 7766, "copy"},
      {"hostA:1", "hostA", 1, "copy"},
      {"hostA/pgdata", "hostA", 7766, "pgdata"},
      {"192.0.2.1:65535/pg.data", "192.0.2.1", 65535, "pg.data"},
      {"[2001:db8::1]:8/pgdata", "2001:db8::1", 8, "pgdata"},
      {"[::1]/pgdata", "::1", 7766, "pgdata"},
  };
  for (const auto& [from, host, port, volume] : cases) {
    const auto request = parse_options("copy", {{"from", from}});
    ASSERT_TRUE(request && request->import) << from;
    EXPECT_EQ(request->import->peer.host, host);
    EXPECT_EQ(request->import->peer.port, port);
    EXPECT_EQ(request->import->volume, volume);
    EXPECT_EQ(request->import->freeze, Freeze::refuse);
    EXPECT_TRUE(request->own_options.empty());
  }
}

TEST(Options, FreezeNoneIsForImports) {
  EXPECT_EQ(parse_options("copy", {{"from", "a"}, {"freeze", "none"}})->import->freeze, Freeze::none);
  EXPECT_THAT(refusal({{"freeze", "none"}}).message, AllOf(HasSubstr("freeze"), HasSubstr("from=")));
}

TEST(Options, LimitIsForImports) {
  EXPECT_EQ(parse_options("copy", {{"from", "a"}, {"limit", "50M"}})->import->limit, 50'000'000U);
  EXPECT_EQ(parse_options("copy", {{"from", "a"}})->import->limit, 0U);
}

TEST(Options, EveryBadOneIsNamedWithWhatWouldBeRight) {
  const std::tuple<StringMap, Code, std::vector<std::string>> cases[] = {
      {{{"size", "1G"}}, Code::invalid_argument, {"unknown option \"size\"", "mode, from, freeze, limit"}},
      {{{"Mode", "ro"}}, Code::invalid_argument, {"unknown option \"Mode\""}},
      {{{"", ""}}, Code::invalid_argument, {"unknown option \"\""}},
      {{{"mode", "rx"}}, Code::invalid_argument, {"mode=", "rx", "mode=rw or mode=ro"}},
      {{{"mode", ""}}, Code::invalid_argument, {"mode=rw or mode=ro"}},
      {{{"from", ""}}, Code::invalid_argument, {"option from", "HOST"}},
      {{{"from", "/pgdata"}}, Code::invalid_argument, {"option from", "HOST"}},
      {{{"from", "a/"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a/../x"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a/b/c"}}, Code::invalid_argument, {"option from", "not a volume name"}},
      {{{"from", "a:0"}}, Code::invalid_argument, {"option from", "65535"}},
      {{{"from", "a:65536"}}, Code::invalid_argument, {"option from", "65535"}},
      {{{"from", "a b"}}, Code::invalid_argument, {"option from", "host name"}},
      {{{"from", "::1"}}, Code::invalid_argument, {"option from", "brackets"}},
      {{{"from", "http://a/x"}}, Code::invalid_argument, {"\"http\"", "unknown scheme"}},
      {{{"from", "ssh://ops@a/x"}}, Code::unsupported, {"from=ssh://", "not in this version"}},
      {{{"from", "sftp://ops@a/x"}}, Code::unsupported, {"from=sftp://", "not in this version"}},
      {{{"from", "file:///x"}}, Code::unsupported, {"from=file://", "not in this version"}},
      {{{"from", "a"}, {"freeze", "pause"}}, Code::unsupported, {"freeze=pause", "freeze=none"}},
      {{{"from", "a"}, {"freeze", "stop"}}, Code::unsupported, {"freeze=stop", "freeze=none"}},
      {{{"from", "a"}, {"limit", "fast"}}, Code::invalid_argument, {"option limit", "\"fast\"", "50M"}},
      {{{"from", "a"}, {"limit", ""}}, Code::invalid_argument, {"option limit", "50M"}},
      {{{"from", "a"}, {"limit", "1K"}}, Code::invalid_argument, {"option limit", "100K"}},
      {{{"limit", "50M"}}, Code::invalid_argument, {"option limit", "from="}},
      {{{"from", "a"}, {"freeze", "x\ny"}}, Code::invalid_argument, {"freeze=\"x\\x0ay\"", "freeze=none"}},
  };
  for (const auto& [options, code, parts] : cases) {
    const Error refused = refusal(options);
    EXPECT_EQ(refused.code, code) << refused.message;
    for (const auto& part : parts) EXPECT_THAT(refused.message, HasSubstr(part));
    EXPECT_EQ(refused.message.find('\n'), std::string::npos);
  }
}

TEST(Options, ThoseOfTheDocumentationThatAreStillToComeSaySo) {
  for (const auto* key : {"to",    "volume",     "container", "as",           "rename",  "move",  "retry",  "reclaim",
                          "force", "max-freeze", "rounds",    "max-downtime", "strict",  "layer", "memory", "start",
                          "binds", "shared",     "exclude",   "compress",     "dry-run", "rest"}) {
    const Error refused = refusal({{key, "true"}, {"from", "a"}});
    EXPECT_EQ(refused.code, Code::unsupported) << key;
    EXPECT_THAT(refused.message, AllOf(HasSubstr(std::string("option ") + key), HasSubstr("not in this version")));
  }
}

TEST(Options, AnErrorIsShortWhateverIsGiven) {
  const std::string longest(1 << 20, 'x');
  for (const StringMap& options : {StringMap{{longest, ""}}, StringMap{{"mode", longest}}, StringMap{{"from", longest}},
                                   StringMap{{"from", "a/" + longest}}, StringMap{{"from", longest + "://"}},
                                   StringMap{{"from", "a"}, {"freeze", longest}}})
    EXPECT_LT(refusal(options).message.size(), 1000U);
}

TEST(Options, TheNameIsCheckedFirst) {
  EXPECT_THAT(refusal({{"size", "1"}}, "../x").message, HasSubstr("not a volume name"));
}

}  // namespace
}  // namespace ferry::migration
