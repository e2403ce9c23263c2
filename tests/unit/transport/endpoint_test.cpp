#include "transport/endpoint.h"

#include <gtest/gtest.h>

namespace ferry::transport {
namespace {

TEST(Endpoint, AcceptsNamesAndAddresses) {
  EXPECT_EQ(*parse_endpoint("a"), (Endpoint{"a", 7766}));
  EXPECT_EQ(*parse_endpoint("host-1.example.org:80"), (Endpoint{"host-1.example.org", 80}));
  EXPECT_EQ(*parse_endpoint("10.0.0.1"), (Endpoint{"10.0.0.1", 7766}));
  EXPECT_EQ(*parse_endpoint("[::1]"), (Endpoint{"::1", 7766}));
  EXPECT_EQ(*parse_endpoint("[fe80::1%eth0]:65535"), (Endpoint{"fe80::1%eth0", 65535}));
}

TEST(Endpoint, TextIsParsedBack) {
  for (const auto* text : {"a:1", "10.0.0.1:7766", "[::1]:7766"}) EXPECT_EQ(parse_endpoint(text)->text(), text);
}

TEST(Endpoint, ErrorsNameWhatIsWrong) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "the host is missing"},
      {":80", "before the port"},
      {"a:", "port \"\" of \"a:\" is not a number from 1 to 65535"},
      {"a:0", "port \"0\""},
      {"a:65536", "port \"65536\""},
      {"a:+1", "port \"+1\""},
      {"a:99999999999999999999", "is not a number from 1 to 65535"},
      {"a b", "\"a b\" is not a host name or address"},
      {"a/b", "is not a host name"},
      {"-a", "is not a host name"},
      {"a..b", "is not a host name"},
      {std::string("a\0b", 3), "is not a host name"},
      {std::string(254, 'a'), "is not a host name"},
      {"::1", "write an IPv6 address in brackets"},
      {"[::1", "lacks the closing ]"},
      {"[a]", "is not an IPv6 address"},
      {"[::1]80", "something else than :PORT after ]"},
      {"[::1]:x", "port \"x\""},
  };
  for (const auto& [text, part] : cases) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_FALSE(endpoint) << text;
    EXPECT_EQ(endpoint.error().code, Code::invalid_argument);
    EXPECT_NE(endpoint.error().message.find(part), std::string::npos) << endpoint.error().message;
  }
}

}  // namespace
}  // namespace ferry::transport
