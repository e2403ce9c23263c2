#include <gmock/gmock.h>

#include <thread>

#include "full_host.h"
#include "migration/handed_off.h"
#include "support/temporary_directory.h"
#include "support/wait.h"

namespace ferry::peer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using volumes::State;

const std::string id(32, 'a');

/// Of two hosts one has handed a volume off to the other, has taken it back by force, and does not know its address.
class Fences : public testing::Test {
 protected:
  Fences() {
    EXPECT_TRUE(keys_.ensure());
    here_.add("pg");
    there_.add("pg");
    EXPECT_TRUE(here_.catalogue->update("pg", [this](volumes::VolumeRecord& record) {
      migration::mark_handed_off(record, {id, "there", {}, there_.catalogue->uuid(), "pg", 2, 1, false});
    }));
    EXPECT_TRUE(there_.catalogue->update("pg", [](volumes::VolumeRecord& record) {
      record.epoch = 2;
      record.hand_off = {{"received", id}};
    }));
    here_.forced.start();
    migration::ReclaimRequest reclaim;
    reclaim.volume = "pg";
    reclaim.peer = transport::PeerAddress("127.0.0.1", 1);
    const auto begun = here_.forced.begin("ticket", reclaim);
    EXPECT_TRUE(begun) << begun.error().message;
    EXPECT_EQ(state(here_), State::ready);
    wait_until([this] { return !here_.forced.untold(there_.catalogue->uuid()).empty(); });
  }

  static State state(const FullHost& host) { return host.catalogue->find("pg")->state; }
  static void wait_until(const std::function<bool()>& condition) { EXPECT_TRUE(test::wait(condition, seconds(20))); }
  transport::PeerAddress address_of(const FullHost& host) const { return {"127.0.0.1", host.port()}; }

  test::TemporaryDirectory directory_;
  transport::KeyFile keys_{directory_ / "key"};
  FullHost here_{directory_ / "here", keys_};
  FullHost there_{directory_ / "there", keys_};
};

TEST_F(Fences, WhoGreetsHearsOfThem) {
  const auto uuid = there_.peers->peer(address_of(here_))->identify(seconds(5));
  ASSERT_TRUE(uuid) << uuid.error().message;
  EXPECT_EQ(*uuid, here_.catalogue->uuid());
  EXPECT_EQ(state(there_), State::handed_off);
  EXPECT_EQ(there_.catalogue->find("pg")->hand_off["epoch"], 3);
  wait_until([this] { return here_.catalogue->find("ticket")->state == State::done; });
}

TEST_F(Fences, WhoExportsGreetsFirst) {
  there_.add("other");
  migration::TicketRequest request;
  request.peer = address_of(here_);
  request.volumes = {{"other", "other"}};
  const auto begun = there_.exports.begin("export", request);
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_EQ(state(there_), State::handed_off);
}

/// The user has named another host, which may have got it from there.
TEST_F(Fences, WhoHasItNoMoreIsNotTheOnlyOneToBeTold) {
  ASSERT_TRUE(there_.catalogue->remove("pg"));
  ASSERT_TRUE(there_.peers->peer(address_of(here_))->identify(seconds(5)));
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(here_.catalogue->find("ticket")->state, State::importing);
}

TEST_F(Fences, AnotherHostDoesNot) {
  FullHost third(directory_ / "third", keys_);
  third.add("pg");
  ASSERT_TRUE(third.peers->peer(address_of(here_))->identify(seconds(5)));
  EXPECT_EQ(state(third), State::ready);
  EXPECT_EQ(state(there_), State::ready);
}

TEST_F(Fences, WhoseUserAllowsNoneHasNone) {
  TurnedLinks links;
  const auto peers = make_peer_factory(
      keys_, "", ExportEnds{there_.sources, there_.catalogue->uuid(), links, there_.hand_offs, false});
  ASSERT_TRUE(peers->peer(address_of(here_))->identify(seconds(5)));
  EXPECT_EQ(state(there_), State::ready);
  EXPECT_EQ(here_.catalogue->find("ticket")->state, State::importing);
  links.stop();
}

}  // namespace
}  // namespace ferry::peer
