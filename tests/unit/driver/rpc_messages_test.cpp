#include "driver/rpc_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::driver {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string parse_error(std::string_view body, Needs needs) {
  const auto request = parse_request(body, needs);
  return request ? "accepted" : request.error().message;
}

TEST(RpcMessages, ParsesWhatAnRpcNeeds) {
  const auto create =
      parse_request(R"({"Name":"v\u003c","Opts":{"from":"a","x":""},"Later":[1]})", Needs::name_and_options);
  ASSERT_TRUE(create);
  EXPECT_EQ(create->name, "v<");
  EXPECT_EQ(create->options, (std::map<std::string, std::string>{{"from", "a"}, {"x", ""}}));
  const auto mount = parse_request("{\"Name\":\"v\",\"ID\":\"0a\"}\n", Needs::name_and_id);
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->id, "0a");
}

TEST(RpcMessages, OptionsMayBeNullOrMissing) {
  for (const auto* body : {R"({"Name":"v","Opts":null})", R"({"Name":"v"})", R"({"Name":"v","Opts":{}})"}) {
    const auto request = parse_request(body, Needs::name_and_options);
    ASSERT_TRUE(request) << body;
    EXPECT_TRUE(request->options.empty());
  }
}

TEST(RpcMessages, WhereNothingIsNeededAnythingGoes) {
  for (const auto* body : {"", "{}", "null", "{"}) EXPECT_TRUE(parse_request(body, Needs::nothing)) << body;
}

TEST(RpcMessages, AnEmptyBodyIsWorthARetry) {
  EXPECT_EQ(parse_request("", Needs::name).error().code, Code::unavailable);
  EXPECT_THAT(parse_error("", Needs::name), HasSubstr("the request has no body"));
}

TEST(RpcMessages, ErrorsNameTheField) {
  const std::pair<std::string, std::string> cases[] = {
      {"{}", "the request has no Name"},
      {R"({"Name":1})", "the request's Name is not a string"},
      {R"({"Name":"v"})", "the request has no ID"},
      {R"({"Name":"v","ID":null})", "the request's ID is not a string"},
      {"[]", "is not a JSON object"},
      {"null", "is not a JSON object"},
      {"{\"Name\":\"v\"", "is not valid JSON"},
      {"{\"Name\":\"\xff\"}", "is not valid JSON in UTF-8"},
      {R"({"Name":"\ud800"})", "is not valid JSON"},
      {R"({"Name":"v"} x)", "is not valid JSON"},
      {R"({"Name":"v","Name":"w"})", "has the key \"Name\" twice"},
  };
  for (const auto& [body, message] : cases) {
    EXPECT_THAT(parse_error(body, Needs::name_and_id), HasSubstr(message)) << body;
    EXPECT_EQ(parse_request(body, Needs::name_and_id).error().code, Code::invalid_argument);
  }
}

TEST(RpcMessages, OptionValuesNeverShow) {
  for (const auto* body :
       {R"({"Name":"v","Opts":{"password":["hunter2"]}})", "{\"Name\":\"v\",\"Opts\":{\"password\":\"hunter2",
        "{\"Name\":\"v\",\"Opts\":{\"password\":\"hunter2\xff\"}}", R"({"Name":"v","Opts":"hunter2"})"})
    EXPECT_THAT(parse_error(body, Needs::name_and_options), Not(HasSubstr("hunter"))) << body;
  EXPECT_EQ(parse_error(R"({"Name":"v","Opts":{"size":10}})", Needs::name_and_options),
            "the value of option \"size\" is not a string");
}

TEST(RpcMessages, DeepNestingIsRefusedWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(parse_error(deep, Needs::name), HasSubstr("nested deeper than 16"));
  EXPECT_THAT(parse_error("{\"Name\":" + deep, Needs::name), HasSubstr("nested deeper than 16"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_THAT(parse_error(objects, Needs::name), HasSubstr("nested deeper than 16"));
}

TEST(RpcMessages, CreationTimeIsLeftOutWhenUnknown) {
  EXPECT_EQ(success_text(get_answer("v", {"other", "", "", {}})),
            "{\"Err\":\"\",\"Volume\":{\"Mountpoint\":\"\",\"Name\":\"v\"}}\n");
  EXPECT_EQ(success_text(list_answer({})), "{\"Err\":\"\",\"Volumes\":[]}\n");
}

TEST(RpcMessages, BytesThatAreNotUtf8DoNotThrow) {
  EXPECT_EQ(error_text("a\xff"), "{\"Err\":\"a\xef\xbf\xbd\"}\n");
  EXPECT_EQ(success_text(mountpoint_answer("/\xc3")), "{\"Err\":\"\",\"Mountpoint\":\"/\xef\xbf\xbd\"}\n");
}

TEST(RpcMessages, AnErrorIsNeverEmpty) { EXPECT_NE(error_text(""), "{\"Err\":\"\"}\n"); }

}  // namespace
}  // namespace ferry::driver
