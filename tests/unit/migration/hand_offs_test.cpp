#include "migration/hand_offs.h"

#include <gmock/gmock.h>

#include "hand_off_source.h"
#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

using hand_off::Answer;
using hand_off::Request;
using testing::AllOf;
using testing::HasSubstr;
using volumes::State;
using Stand = FenceAnswer::Stand;

const std::string id(32, 'a');
const std::string other_id(32, 'b');

class HandOffsTest : public testing::Test {
 protected:
  HandOffsTest() {
    source_.add("pg");
    source_.add("wal");
  }
  HandOffs& hand_offs() { return *source_.hand_offs; }
  Answer hold(const std::vector<std::string>& names = {"pg"}) {
    const auto held = hand_offs().hold(id, HandOffSource::request(names));
    EXPECT_TRUE(held) << held.error().message;
    return held.value_or(Answer::refused);
  }
  Answer ask(Request request) {
    const auto answer = hand_offs().ask(id, request);
    EXPECT_TRUE(answer) << answer.error().message;
    return answer.value_or(Answer::refused);
  }
  void hand_off(const std::vector<std::string>& names = {"pg"}) {
    EXPECT_EQ(hold(names), Answer::held);
    EXPECT_EQ(ask(Request::commit), Answer::given);
    EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  }
  /// The ticket of this host's user that the hand-off is a part of.
  void add_export() {
    volumes::VolumeRecord ticket;
    ticket.name = "ticket";
    ticket.kind = volumes::Kind::ticket;
    ticket.state = State::importing;
    ticket.import = {{"export", id}};
    ASSERT_TRUE(source_.catalogue->create(ticket));
  }
  bool has_ticket() { return source_.catalogue->find(HandOffs::ticket_of(id)) != nullptr; }
  std::string why_not_mountable(const std::string& volume) {
    const auto mountable = hand_offs().check_mountable(volume);
    return mountable ? "it is" : mountable.error().message;
  }
  FenceRequest fence(std::uint64_t epoch) {
    return {"pg", "lineage of pg", epoch, "there", other_id, 7766, "c", transport::PeerAddress("c", 7766)};
  }

  test::TemporaryDirectory directory_;
  HandOffSource source_{directory_.path()};
};

TEST_F(HandOffsTest, WhatIsHeldCannotBeMountedUntilItIsReleased) {
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(hold(), Answer::held) << "again";
  EXPECT_THAT(why_not_mountable("pg"), AllOf(HasSubstr("to b"), HasSubstr(HandOffs::ticket_of(id))));
  EXPECT_TRUE(hand_offs().check_mountable("wal"));
  EXPECT_EQ(ask(Request::release), Answer::gone);
  EXPECT_TRUE(source_.owns("pg") && !has_ticket());
  EXPECT_EQ(hold(), Answer::gone) << "one that comes late begins nothing";
  EXPECT_TRUE(source_.owns("pg"));
}

TEST_F(HandOffsTest, WhatIsGivenIsFencedAndSaysWhereItIs) {
  hand_off({"pg", "wal"});
  for (const char* name : {"pg", "wal"}) {
    EXPECT_EQ(source_.state(name), State::handed_off);
    EXPECT_EQ(source_.catalogue->find(name)->hand_off["epoch"], 2);
    EXPECT_EQ(source_.catalogue->find(name)->hand_off["to"], "b");
  }
  EXPECT_FALSE(has_ticket());
  for (const Request request : {Request::commit, Request::release, Request::acknowledge, Request::cancel})
    EXPECT_EQ(ask(request), Answer::given);
  EXPECT_TRUE(hand_offs().is_given(id));
}

TEST_F(HandOffsTest, ARestartForgetsNothing) {
  hold();
  source_.restart();
  EXPECT_THAT(why_not_mountable("pg"), HasSubstr("being handed off"));
  EXPECT_EQ(ask(Request::commit), Answer::given);
  source_.restart();
  EXPECT_EQ(source_.state("pg"), State::handed_off);
  EXPECT_TRUE(has_ticket());
  const auto cancelled = hand_offs().cancel(HandOffs::ticket_of(id));
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::busy);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  source_.restart();
  EXPECT_FALSE(has_ticket());
  EXPECT_EQ(ask(Request::commit), Answer::given);
}

/// The write that decides is the ticket's; a crash may come before the volumes say so, too.
TEST_F(HandOffsTest, WhatACrashAfterTheDecisionHasLeftIsMadeUpFor) {
  hold({"pg", "wal"});
  const auto decided = source_.catalogue->update(
      HandOffs::ticket_of(id), [](volumes::VolumeRecord& record) { record.import["state"] = "given"; });
  ASSERT_TRUE(decided);
  source_.restart();
  EXPECT_EQ(source_.state("pg"), State::handed_off);
  EXPECT_EQ(source_.state("wal"), State::handed_off);
}

TEST_F(HandOffsTest, TheUserTakesBackWhatIsHeld) {
  hold();
  ASSERT_TRUE(hand_offs().cancel(HandOffs::ticket_of(id)));
  EXPECT_TRUE(source_.owns("pg"));
  EXPECT_EQ(ask(Request::commit), Answer::gone);
}

TEST_F(HandOffsTest, AHoldOfWhichNothingIsHeardEndsWhenSomebodyWantsToMount) {
  source_.longest_silence = std::chrono::milliseconds(0);
  source_.restart();
  hold();
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(hand_offs().check_mountable("pg"));
  EXPECT_EQ(ask(Request::commit), Answer::gone);
  EXPECT_FALSE(has_ticket());
}

TEST_F(HandOffsTest, NothingMountedIsHeld) {
  source_.has_container = true;
  const auto held = hand_offs().hold(id, HandOffSource::request({"wal", "pg"}));
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::busy);
  EXPECT_THAT(held.error().message, AllOf(HasSubstr("volume pg"), HasSubstr("container web")));
  source_.has_container = false;
  EXPECT_TRUE(source_.owns("pg") && source_.owns("wal") && !has_ticket());
}

TEST_F(HandOffsTest, WithoutAnEngineNothingIsHeld) {
  engine::Client none(directory_ / "no-engine.sock");
  HandOffs without({*source_.catalogue, source_.mounts, none, source_.tracker, *source_.sources, [] {},
                    [this](const std::string& name) { return source_.catalogue->remove(name); }});
  without.resume([](const std::string&) { return std::string(); });
  const auto held = without.hold(id, HandOffSource::request({"pg"}));
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::unsupported);
}

TEST_F(HandOffsTest, OnlyWhatTheDestinationHasSeenIsHeldAndByOneOnly) {
  auto changed = HandOffSource::request({"pg"});
  changed.volumes[0].epoch = 2;
  EXPECT_EQ(hand_offs().hold(id, changed).error().code, Code::busy);
  changed = HandOffSource::request({"pg"});
  changed.volumes[0].lineage = "another";
  EXPECT_EQ(hand_offs().hold(id, changed).error().code, Code::busy);
  changed = HandOffSource::request({"pg"});
  changed.volumes[0].local = true;
  EXPECT_EQ(hand_offs().hold(id, changed).error().code, Code::busy);
  EXPECT_FALSE(hand_offs().hold(id, HandOffSource::request({"nothing"})));
  source_.holding_ticket = "t1";
  EXPECT_THAT(hand_offs().hold(id, HandOffSource::request({"pg"})).error().message, HasSubstr("ticket t1"));
  source_.holding_ticket.clear();
  hold();
  EXPECT_THAT(hand_offs().hold(other_id, HandOffSource::request({"wal", "pg"})).error().message,
              HasSubstr(HandOffs::ticket_of(id)));
  EXPECT_TRUE(source_.owns("wal"));
}

/// ---- fences ------------------------------------------------------------------------------------------------------

TEST_F(HandOffsTest, ALowerEpochIsFencedAHigherOneIsNot) {
  EXPECT_EQ(hand_offs().fence(fence(1))->stand, Stand::newer);
  EXPECT_TRUE(source_.owns("pg"));
  for (int times = 0; times < 2; ++times) EXPECT_EQ(hand_offs().fence(fence(2))->stand, Stand::fenced);
  EXPECT_EQ(source_.state("pg"), State::handed_off);
  const auto record = source_.catalogue->find("pg");
  EXPECT_EQ(record->hand_off["to"], "c");
  EXPECT_EQ(record->hand_off["volume"], "there");
  EXPECT_EQ(record->hand_off["epoch"], 2);
}

TEST_F(HandOffsTest, WhoStillHasAFencedVolumeMountedIsSaid) {
  source_.has_container = true;
  const auto fenced = hand_offs().fence(fence(2));
  ASSERT_TRUE(fenced) << fenced.error().message;
  EXPECT_TRUE(fenced->mounted);
}

TEST_F(HandOffsTest, CopiesAndOtherVolumesAreNotFenced) {
  source_.add("copy", true);
  auto request = fence(9);
  request.volume = "copy";
  request.lineage = "lineage of copy";
  EXPECT_EQ(hand_offs().fence(request)->stand, Stand::gone);
  request.volume = "nothing";
  EXPECT_EQ(hand_offs().fence(request)->stand, Stand::gone);
  request.volume = "pg";
  EXPECT_EQ(hand_offs().fence(request)->stand, Stand::gone) << "of another lineage";
  EXPECT_TRUE(source_.owns("pg") && source_.owns("copy"));
  source_.holding_ticket = "t1";
  EXPECT_EQ(hand_offs().fence(fence(9)).error().code, Code::busy);
}

TEST_F(HandOffsTest, WhatIsHeldIsFencedWhatIsGivenHasLeft) {
  hold();
  EXPECT_EQ(hand_offs().fence(fence(2))->stand, Stand::fenced);
  EXPECT_FALSE(has_ticket());
  EXPECT_EQ(ask(Request::commit), Answer::gone);
  EXPECT_EQ(source_.state("pg"), State::handed_off);
}

TEST_F(HandOffsTest, WhatHasLeftSaysWhereItIs) {
  hand_off();
  const auto left = hand_offs().fence(fence(9));
  EXPECT_EQ(left->stand, Stand::left);
  EXPECT_EQ(left->epoch, 2U);
  EXPECT_EQ(left->to, "b");
}

/// ---- force -------------------------------------------------------------------------------------------------------

TEST_F(HandOffsTest, WhatIsTakenBackByForceHasTheNextEpochAndTheOtherSideHearsOfIt) {
  hand_off();
  ASSERT_TRUE(hand_offs().take_by_force("pg", other_id));
  EXPECT_EQ(source_.state("pg"), State::handed_off) << "by another hand-off";
  for (int times = 0; times < 2; ++times) {
    ASSERT_TRUE(hand_offs().take_by_force("pg", id));
    EXPECT_TRUE(source_.owns("pg"));
    EXPECT_EQ(source_.catalogue->find("pg")->epoch, 3U);
    EXPECT_EQ(ask(Request::commit), Answer::reclaimed);
    source_.restart();
  }
  EXPECT_FALSE(hand_offs().is_given(id));
}

TEST_F(HandOffsTest, OfAGroupTheRestIsStillGiven) {
  hold({"pg", "wal"});
  ask(Request::commit);
  ASSERT_TRUE(hand_offs().take_by_force("pg", id));
  source_.restart();
  EXPECT_TRUE(source_.owns("pg"));
  EXPECT_EQ(source_.state("wal"), State::handed_off);
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_TRUE(has_ticket());
  ASSERT_TRUE(hand_offs().take_by_force("wal", id));
  EXPECT_FALSE(has_ticket());
  EXPECT_EQ(ask(Request::acknowledge), Answer::reclaimed);
}

/// Volumes of the local driver are not taken with it, nor do they keep its ticket.
TEST_F(HandOffsTest, OfAGroupWithALocalVolumeNothingIsLeft) {
  hold();
  ask(Request::commit);
  ASSERT_TRUE(source_.catalogue->update(HandOffs::ticket_of(id), [](volumes::VolumeRecord& record) {
    record.import["volumes"].push_back(
        {{"source", "local"}, {"target", "local"}, {"epoch", 1}, {"lineage", ""}, {"local", true}});
  }));
  source_.restart();
  EXPECT_NE(hand_offs().holder("local"), "");
  ASSERT_TRUE(hand_offs().take_by_force("pg", id));
  EXPECT_TRUE(source_.owns("pg"));
  EXPECT_FALSE(has_ticket());
  EXPECT_EQ(hand_offs().holder("local"), "");
  EXPECT_EQ(ask(Request::acknowledge), Answer::reclaimed);
}

/// What was taken back, and went to a third host since, is not the first one's because of an answer that got lost.
TEST_F(HandOffsTest, WhatWasTakenBackAndHandedOnIsNeverGivenAgain) {
  for (const bool is_export : {false, true}) {
    SCOPED_TRACE(is_export ? "an export" : "an import");
    if (is_export) add_export();
    const std::string name = is_export ? "wal" : "pg";
    EXPECT_EQ(hold({name}), Answer::held);
    EXPECT_EQ(ask(Request::commit), Answer::given);
    ASSERT_TRUE(hand_offs().take_by_force(name, id));
    EXPECT_EQ(ask(Request::commit), Answer::reclaimed);
    EXPECT_FALSE(hand_offs().is_given(id));
    auto request = HandOffSource::request({name});
    request.volumes[0].epoch = source_.catalogue->find(name)->epoch;
    const std::string third(32, is_export ? 'd' : 'c');
    const auto held = hand_offs().hold(third, request);
    ASSERT_TRUE(held) << held.error().message;
    EXPECT_EQ(hand_offs().ask(third, Request::commit), Answer::given);
    EXPECT_EQ(hand_offs().ask(third, Request::acknowledge), Answer::given);
    for (const bool restarted : {false, true}) {
      if (restarted) source_.restart();
      for (const auto asked : {Request::commit, Request::acknowledge})
        EXPECT_EQ(ask(asked), is_export ? Answer::reclaimed : Answer::gone);
    }
    EXPECT_EQ(source_.state(name), State::handed_off);
  }
}

/// A crash between the volume's record and the export's.
TEST_F(HandOffsTest, TakingBackIsRepeatedUntilAllOfItIsDone) {
  add_export();
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(ask(Request::commit), Answer::given);
  {
    const test::InterceptedCalls calls([](const test::Call& call) {
      return call.name == "rename" && call.place.find("ticket") != std::string::npos ? EIO : 0;
    });
    EXPECT_FALSE(hand_offs().take_by_force("pg", id));
  }
  EXPECT_EQ(ask(Request::commit), Answer::reclaimed);
  EXPECT_TRUE(source_.owns("pg"));
  source_.restart();
  ASSERT_TRUE(hand_offs().take_by_force("pg", id));
  EXPECT_EQ(source_.catalogue->find("ticket")->import["taken"], true);
  EXPECT_EQ(source_.catalogue->find("pg")->epoch, 3U) << "once";
}

}  // namespace
}  // namespace ferry::migration
