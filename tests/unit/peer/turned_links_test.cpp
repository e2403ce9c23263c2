#include "peer/turned_links.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>
#include <vector>

namespace ferry::peer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TurnedLinksTest : public testing::Test {
 protected:
  /// Adds one, and returns the exporter's end.
  Fd add(const std::string& id) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    transport::Link link;
    link.socket = Fd(ends[0]);
    links_.add(id, std::move(link));
    return Fd(ends[1]);
  }

  /// Whether the exporter finds its end closed.
  static bool is_closed(const Fd& end) {
    char byte = 0;
    return ::recv(end.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  Code code_of_take(const std::string& id, milliseconds timeout = milliseconds(0)) {
    const auto link = links_.take(id, after(timeout));
    return link ? Code::cancelled : link.error().code;
  }

  TurnedLinks links_;
};

TEST_F(TurnedLinksTest, EachExportGetsItsOwnOnes) {
  const Fd of_a = add("a");
  const Fd of_b = add("b");
  const auto taken = links_.take("b", after(seconds(0)));
  ASSERT_TRUE(taken);
  ASSERT_EQ(::send(taken->socket.get(), "x", 1, 0), 1);
  char byte = 0;
  EXPECT_EQ(::recv(of_b.get(), &byte, 1, 0), 1);
  EXPECT_EQ(code_of_take("b"), Code::unavailable);
  EXPECT_FALSE(is_closed(of_a));
}

TEST_F(TurnedLinksTest, WhoTakesWaitsForOne) {
  auto taking = std::async(std::launch::async, [&] { return links_.take("a", after(seconds(20))).has_value(); });
  EXPECT_EQ(taking.wait_for(milliseconds(50)), std::future_status::timeout);
  const Fd other = add("b");
  EXPECT_EQ(taking.wait_for(milliseconds(50)), std::future_status::timeout);
  const Fd end = add("a");
  EXPECT_TRUE(taking.get());
}

TEST_F(TurnedLinksTest, OneWhoseExporterIsGoneIsNotGivenAway) {
  (void)add("a");
  EXPECT_EQ(code_of_take("a"), Code::unavailable);
  (void)add("a");
  const Fd alive = add("a");
  EXPECT_TRUE(links_.take("a", after(seconds(0))));
}

TEST_F(TurnedLinksTest, OfTooManyTheOldestGo) {
  std::vector<Fd> ends;
  const Fd other = add("b");
  for (int i = 0; i < 10; ++i) ends.push_back(add("a"));
  for (std::size_t i = 0; i < ends.size(); ++i) EXPECT_EQ(is_closed(ends[i]), i < 2) << i;
  for (int i = 0; i < 300; ++i) ends.push_back(add(std::to_string(i)));
  EXPECT_TRUE(is_closed(other));
  EXPECT_FALSE(is_closed(ends.back()));
}

TEST_F(TurnedLinksTest, AnExporterIsGivenUpOnlyIfItStaysAwayWhileItIsWaitedFor) {
  constexpr milliseconds silence{60};
  TurnedLinks links(silence);
  const auto take = [&] {
    const auto link = links.take("a", after(milliseconds(0)));
    return link ? Code::cancelled : link.error().code;
  };
  const auto began = SteadyClock::now();
  EXPECT_EQ(take(), Code::unavailable);
  while (take() != Code::not_found) {
    ASSERT_LT(SteadyClock::now() - began, seconds(20));
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_GE(SteadyClock::now() - began, silence);
  // One that has been here, however long ago, and is gone now, is waited for anew.
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd exporter(ends[1]);
  links.add("a", transport::Link{Fd(ends[0]), nullptr, nullptr});
  ASSERT_TRUE(links.take("a", after(milliseconds(0))));
  std::this_thread::sleep_for(2 * silence);
  EXPECT_EQ(take(), Code::unavailable);
}

TEST_F(TurnedLinksTest, NothingWaitsOnceItHasStopped) {
  const Fd end = add("b");
  auto taking = std::async(std::launch::async, [&] { return code_of_take("a", seconds(20)); });
  EXPECT_EQ(taking.wait_for(milliseconds(50)), std::future_status::timeout);
  links_.stop();
  EXPECT_EQ(taking.get(), Code::unavailable);
  EXPECT_TRUE(is_closed(end));
  EXPECT_TRUE(is_closed(add("a")));
}

}  // namespace
}  // namespace ferry::peer
