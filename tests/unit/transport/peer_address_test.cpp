#include "transport/peer_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::transport {
namespace {

using testing::HasSubstr;
using testing::Not;
using Way = PeerAddress::Way;

TEST(PeerAddress, FerrysOwnPort) {
  for (const auto& [text, expected] :
       {std::pair{"hostA", "hostA:7766"}, {"10.0.0.1:99", "10.0.0.1:99"}, {"[::1]", "[::1]:7766"}}) {
    const auto parsed = parse_peer_address(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->way, Way::tls);
    EXPECT_EQ(parsed->text(), expected);
  }
}

TEST(PeerAddress, ThroughSsh) {
  for (const auto& [text, expected] : {std::pair{"ssh://a", "ssh://root@a:22"},
                                       {"ssh://ops@a", "ssh://ops@a:22"},
                                       {"ssh://a:2222", "ssh://root@a:2222"},
                                       {"ssh://svc-1.x_y$@a.example:1", "ssh://svc-1.x_y$@a.example:1"},
                                       {"ssh://o@[fe80::1%eth0]:3", "ssh://o@[fe80::1%eth0]:3"}}) {
    const auto parsed = parse_peer_address(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->way, Way::ssh);
    EXPECT_EQ(parsed->text(), expected);
    EXPECT_EQ(parse_peer_address(parsed->text()), *parsed);
  }
}

TEST(PeerAddress, WhatIsWrongIsSaid) {
  for (const auto& [text, expected] : {std::pair{"ssh://", "the host is missing"},
                                       {"ssh://@a", "user before @ is missing"},
                                       {"ssh://a@", "the host is missing"},
                                       {"ssh://a b@c", "is not a user name"},
                                       {"ssh://-oProxy@c", "is not a user name"},
                                       {"ssh://o@a:0", "is not a number from 1 to 65535"},
                                       {"ssh://::1", "write an IPv6 address in brackets: [::1]:22"},
                                       {"ssh://a_b/..", "is not a host name or address"},
                                       {"ops@a", "a peer has no user"}}) {
    const auto parsed = parse_peer_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::invalid_argument);
    EXPECT_THAT(parsed.error().message, HasSubstr(expected)) << text;
  }
}

TEST(PeerAddress, APasswordIsRefusedAndNotRepeated) {
  for (const auto* text : {"ssh://ops:hunter2@a", "ops:hunter2@a"}) {
    const auto parsed = parse_peer_address(text);
    ASSERT_FALSE(parsed);
    EXPECT_THAT(parsed.error().message, Not(HasSubstr("hunter2")));
  }
}

}  // namespace
}  // namespace ferry::transport
