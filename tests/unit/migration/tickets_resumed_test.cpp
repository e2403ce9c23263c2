#include "support/tree.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

/// A ticket that another process carries on: what has come does not come again.
class TicketsResumed : public TicketsTest {
 protected:
  static constexpr int files = 1500;
  static constexpr std::size_t size = 5000;
  static constexpr std::size_t piece = 256U << 10;  // of content, see sync/stream.h

  void fill() {
    for (int i = 0; i < files; ++i)
      std::ofstream(host_.root / ("new" + std::to_string(i))) << std::string(size, static_cast<char>('a' + i % 26));
    std::this_thread::sleep_for(settling);
  }
  std::uint64_t sent(const std::string& ticket) const {
    return tickets_->status(*catalogue_->find(ticket))["migration"]["bytes_sent"].get<std::uint64_t>();
  }
  /// Hangs once five sixths have come, is carried on by another process, and tells how much comes then.
  std::uint64_t sent_after_a_restart(const std::string& ticket) {
    std::atomic<int> pieces{0};
    host_.on_content = [&](int) -> Result<> {
      if (++pieces == static_cast<int>(files * size * 5 / 6 / piece)) host_.hang_in_content = true;
      return {};
    };
    EXPECT_TRUE(tickets_->begin(ticket, request_));
    host_.wait_for_hanging();
    restart();
    host_.hang_in_content = false;
    tickets_->resume();
    EXPECT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(60))));
    EXPECT_EQ(tickets_->status(*catalogue_->find(ticket))["state"], "done");
    EXPECT_EQ(test::tree_difference(host_.root, data("pg")), "");
    return sent(ticket);
  }
};

TEST_F(TicketsResumed, OfANewVolume) {
  fill();
  EXPECT_LE(sent_after_a_restart("ticket"), files * size * 45 / 100);
}

TEST_F(TicketsResumed, OfAnUpdate) {
  run("first", request_);
  fill();
  EXPECT_LE(sent_after_a_restart("ticket"), files * size * 45 / 100);
}

}  // namespace
}  // namespace ferry::migration
