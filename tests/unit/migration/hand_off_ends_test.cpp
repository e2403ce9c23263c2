#include <atomic>
#include <set>

#include "hand_off_source.h"
#include "migration/forced_reclaims.h"
#include "migration/handed_off.h"
#include "migration/ticket_kind.h"
#include "support/intercepted_calls.h"
#include "support/tree.h"
#include "support/wait.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

using hand_off::Answer;
using hand_off::Request;
using testing::HasSubstr;
using volumes::State;

/// Both ends of a hand-off, with their own catalogues; what is between them loses what it is told to.
class HandOffEnds : public TicketsTest {
 protected:
  void SetUp() override {
    pauses_ = {std::chrono::milliseconds(10), std::chrono::milliseconds(10)};
    TicketsTest::SetUp();
    host_.on_hand_off = [this](const std::string& id, Request request, const HandOffRequest& wanted) {
      return serve(id, request, wanted);
    };
    host_.on_fence = [this](const FenceRequest& request) -> Result<FenceAnswer> {
      const std::lock_guard guard(network_);
      if (is_cut_ || !there_) return fail(Code::unavailable, "away");
      FenceRequest named = request;
      named.host = "here";
      return there_->hand_offs->fence(named);
    };
    moving_.move = true;
    begin_again();
  }
  void TearDown() override {
    forced_.reset();
    TicketsTest::TearDown();
  }

  /// Two hosts that know nothing of each other, and a volume at the source.
  void begin_again() {
    forced_.reset();
    tickets_->abandon_all();
    tickets_.reset();
    imports_.reset();
    hand_offs_.reset();
    sources_.reset();
    catalogue_.reset();
    there_.reset();
    ASSERT_TRUE(remove_tree(directory_ / "ferry"));
    ASSERT_TRUE(remove_tree(directory_ / "there"));
    fs::create_directories(directory_ / "there");
    open();
    there_ = std::make_unique<HandOffSource>(directory_ / "there");
    there_->add("pg", is_copy_);
    host_.root = there_->catalogue->layout().data("pg");
    host_.uuid = there_->catalogue->uuid();
    host_.description = *there_->sources->describe("pg", Freeze::none, INT64_MAX);
  }
  void restart_both() {
    forced_.reset();
    restart();
    const std::lock_guard guard(network_);
    there_->restart();
  }
  void resume() {
    tickets_->resume();
    forced_ =
        std::make_unique<ForcedReclaims>(ForcedReclaims::Parts{*catalogue_, peers_, *hand_offs_, *tickets_, 7766});
    forced_->start();
  }

  Result<Answer> serve(const std::string& id, Request request, const HandOffRequest& wanted) {
    ++asked_;
    const std::lock_guard guard(network_);
    if (is_cut_ || lose_requests_.erase(request) != 0) return fail(Code::unavailable, "lost");
    HandOffRequest named = wanted;
    named.host = "here";
    auto answer = request == Request::hold ? there_->hand_offs->hold(id, named) : there_->hand_offs->ask(id, request);
    if (cut_after_ == request) is_cut_ = true;
    if (is_cut_) return fail(Code::unavailable, "lost");
    return answer;
  }

  bool owns_here() {
    const auto record = catalogue_->find("pg");
    return record && record->state == State::ready && tickets_->holder("pg").empty();
  }
  bool owns_there() {
    const std::lock_guard guard(network_);
    return there_->owns("pg");
  }
  void wait_until(const std::function<bool()>& condition, const std::string& what) {
    EXPECT_TRUE(test::wait(condition, std::chrono::seconds(20))) << what;
  }
  bool has_ended(const std::string& ticket) {
    const auto record = catalogue_->find(ticket);
    return !record || record->state == State::done || record->state == State::failed;
  }
  std::string status(const std::string& ticket) {
    const auto record = catalogue_->find(ticket);
    return record ? tickets_->status(*record).dump() : "no ticket";
  }

  /// The ticket runs until `is_over`; meanwhile, of all calls that change a record of either host, those from the one
  /// of that number on fail. Then both hosts start anew. False: there were not so many calls.
  /// `whose`: of which directory.
  bool crash_at(int number, const std::string& whose) {
    std::atomic<int> calls{0};
    std::atomic<bool> dead{false};
    int asked = 0;
    {
      const test::InterceptedCalls intercepted([&](const test::Call& call) {
        if (!call.place.starts_with((directory_ / whose).string())) return 0;
        if (++calls == number) {
          asked = asked_;
          dead = true;
        }
        return dead ? EIO : 0;
      });
      const auto begun = tickets_->begin("ticket", moving_);
      if (begun) wait_until([&] { return dead || has_ended("ticket"); }, status("ticket"));
      // The host that is not dead goes on for a while.
      const auto has_seen = [&] {
        if (whose.empty() || !begun || has_ended("ticket") || asked_ > asked + 3) return true;
        const auto now = tickets_->status(*catalogue_->find("ticket"));  // or it could not store its outcome
        return now["state"] != "importing" || (whose == "ferry" && now["migration"]["error"].is_string());
      };
      if (dead) wait_until(has_seen, status("ticket"));
      if (dead) tickets_->abandon_all();
    }
    restart_both();
    return dead;
  }

  TicketRequest moving_ = request_;
  std::mutex network_;
  std::unique_ptr<HandOffSource> there_;  // protected by network_ while tickets run, as is the rest
  std::set<Request> lose_requests_;
  std::optional<Request> cut_after_;
  std::atomic<bool> is_cut_ = false;
  bool is_copy_ = false;
  std::atomic<int> asked_{0};
  std::unique_ptr<ForcedReclaims> forced_;
};

TEST_F(HandOffEnds, AgreeOnWhoHasIt) {
  EXPECT_EQ(run("ticket", moving_)["state"], "done");
  EXPECT_TRUE(owns_here() && !owns_there());
  EXPECT_EQ(test::tree_difference(there_->catalogue->layout().data("pg"), data("pg")), "");
  EXPECT_FALSE(there_->catalogue->find(HandOffs::ticket_of("x")));
}

enum class Then { nothing, cancelled_here, cancelled_there };

struct Crash {
  const char* name;
  Then then;
  const char* whose;  ///< directory of the host that crashes, below the test's; empty: both do
};

class HandOffFailures : public HandOffEnds {
 protected:
  /// Of those that are given nothing can be cancelled.
  void cancel_holds() {
    std::vector<std::string> held;
    for (const auto& record : there_->catalogue->list())
      if (is_ticket(*record, TicketKind::hand_off)) held.push_back(record->name);
    for (const auto& ticket : held) (void)there_->hand_offs->cancel(ticket);
  }
};

class HandOffCrashes : public HandOffFailures, public testing::WithParamInterface<Crash> {
 protected:
  /// What a user does before either host has asked the other.
  void act() {
    if (GetParam().then == Then::cancelled_there) cancel_holds();
    if (GetParam().then != Then::cancelled_here || !catalogue_->find("ticket")) return;
    auto cancelled = tickets_->cancel("ticket");
    if (cancelled) cancelled = catalogue_->remove("ticket");
    if (!cancelled) {
      EXPECT_EQ(cancelled.error().code, Code::busy) << cancelled.error().message;
    }
  }
};

/// Whatever single call fails: the ticket tries again, or gives the volume back.
TEST_F(HandOffFailures, NoFailureMakesTwoOwnersOrNone) {
  for (int number = 1;; ++number) {
    SCOPED_TRACE("failure of call " + std::to_string(number));
    begin_again();
    resume();
    std::atomic<int> calls{0};
    bool begun = false;
    {
      const test::InterceptedCalls intercepted([&](const test::Call& call) {
        return call.place.starts_with(directory_.path().string()) && ++calls == number ? EIO : 0;
      });
      begun = tickets_->begin("ticket", moving_).has_value();
      const auto rests = [&] { return tickets_->status(*catalogue_->find("ticket"))["state"] != "importing"; };
      if (begun) wait_until(rests, status("ticket"));
    }
    if (calls < number) break;
    restart_both();  // what is on disk has to say the same
    resume();
    wait_until([&] { return has_ended("ticket"); }, status("ticket"));
    cancel_holds();
    ASSERT_NE(owns_here(), owns_there()) << status("ticket");
    ASSERT_LT(number, 1000);
  }
}

/// Whatever call is the last one before one host or both crash: afterwards one of them has the volume, and all of it.
TEST_P(HandOffCrashes, OneOfThemHasIt) {
  int here = 0;
  int there = 0;
  for (int number = 1;; ++number) {
    SCOPED_TRACE("crash at call " + std::to_string(number));
    begin_again();
    if (!crash_at(number, GetParam().whose)) break;
    is_cut_ = true;
    resume();
    act();
    is_cut_ = false;
    wait_until([&] { return has_ended("ticket"); }, status("ticket"));
    cancel_holds();  // or time does
    ASSERT_NE(owns_here(), owns_there()) << status("ticket");
    (owns_here() ? here : there)++;
    if (owns_here()) {
      ASSERT_EQ(test::tree_difference(there_->catalogue->layout().data("pg"), data("pg")), "");
    } else {
      ASSERT_FALSE(catalogue_->find("pg"));
    }
    ASSERT_LT(number, 1000);
  }
  EXPECT_GT(here, 10);
  EXPECT_GT(there, GetParam().then == Then::nothing ? 0 : 20) << "what has begun goes on";
}

INSTANTIATE_TEST_SUITE_P(Each, HandOffCrashes,
                         testing::Values(Crash{"AndNobodyActs", Then::nothing, ""},
                                         Crash{"AndTheTicketIsCancelled", Then::cancelled_here, ""},
                                         Crash{"AndTheHoldIsCancelled", Then::cancelled_there, ""},
                                         Crash{"OfTheSource", Then::nothing, "there"},
                                         Crash{"OfTheDestination", Then::nothing, "ferry"}),
                         [](const auto& one) { return one.param.name; });

class HandOffForced : public HandOffEnds {
 protected:
  /// Everything has come, and the source, which is away, has given it or not.
  void wait_for_word(bool given) {
    begin_again();
    resume();
    is_cut_ = false;
    cut_after_.reset();
    if (given) {
      cut_after_ = Request::commit;
    } else {
      host_.on_content = [this](int) {
        is_cut_ = true;
        return Result<>();
      };
    }
    ASSERT_TRUE(tickets_->begin("ticket", moving_));
    wait_until([&] { return tickets_->waiting_for_source("pg").has_value(); }, status("ticket"));
    host_.on_content = [](int) { return Result<>(); };
    EXPECT_FALSE(owns_here());
  }
  Result<> force(const std::string& ticket, std::optional<transport::PeerAddress> peer = {}) {
    ReclaimRequest reclaim;
    reclaim.volume = "pg";
    reclaim.peer = std::move(peer);
    return forced_->begin(ticket, reclaim);
  }
  /// Of the ticket "forced", as another process finds it.
  void change_plan(const std::function<void(nlohmann::json& volume)>& change) {
    forced_.reset();
    ASSERT_TRUE(
        catalogue_->update("forced", [&](volumes::VolumeRecord& record) { change(record.import["forced"][0]); }));
    restart_both();
    resume();
  }
  void heal() {
    cut_after_.reset();
    is_cut_ = false;
  }
};

TEST_F(HandOffForced, WhoTakesItHasItAndTheOtherIsFencedOnContact) {
  for (const bool is_copy : {false, true})
    for (const bool given : {false, true}) {
      SCOPED_TRACE(std::string(given ? "given" : "not given") + (is_copy ? ", a copy" : ""));
      is_copy_ = is_copy;
      wait_for_word(given);
      const auto forced = force("forced");
      ASSERT_TRUE(forced) << forced.error().message;
      wait_until([&] { return owns_here(); }, status("ticket"));
      EXPECT_EQ(catalogue_->find("pg")->epoch, 2U);
      heal();
      wait_until([&] { return has_ended("forced") && has_ended("ticket"); }, status("ticket"));
      EXPECT_EQ(catalogue_->find("forced")->state, State::done);
      EXPECT_TRUE(owns_here() && !owns_there());
      EXPECT_EQ(there_->state("pg"), State::handed_off);
    }
}

TEST_F(HandOffForced, ARestartGoesOnWithIt) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  restart_both();
  resume();
  EXPECT_TRUE(owns_here());
  heal();
  wait_until([&] { return has_ended("forced") && has_ended("ticket"); }, status("ticket"));
  EXPECT_TRUE(owns_here() && !owns_there());
}

/// The disk is full when it is forced, and the source is away all the time.
TEST_F(HandOffForced, ARestartBeforeItIsDecidedForgetsNothing) {
  wait_for_word(false);
  {
    const test::InterceptedCalls full([this](const test::Call& call) {
      return call.place.starts_with((directory_ / "ferry" / "volumes" / "ticket").string()) ? ENOSPC : 0;
    });
    ASSERT_TRUE(force("forced"));
    const auto is_full = [&] {
      const auto error = tickets_->status(*catalogue_->find("ticket"))["migration"]["error"];
      return error.is_string() && error.get<std::string>().find("space") != std::string::npos;
    };
    wait_until(is_full, status("ticket"));
    EXPECT_FALSE(owns_here());
    tickets_->abandon_all();
  }
  restart_both();
  resume();
  wait_until([&] { return owns_here(); }, status("ticket"));
  EXPECT_TRUE(is_cut_);
}

TEST_F(HandOffForced, VolumesOfTheLocalDriverAreTakenThoughNobodyCanFenceThem) {
  resume();
  host_.description.driver = "local";
  std::atomic<bool> is_released = false;
  host_.on_hand_off = [&](const std::string&, Request request, const HandOffRequest&) -> Result<Answer> {
    if (request != Request::hold && is_cut_) return fail(Code::unavailable, "lost");
    is_released = is_released || request == Request::release;
    return is_released ? Answer::gone : Answer::held;
  };
  is_cut_ = true;
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  wait_until([&] { return tickets_->waiting_for_source("pg").has_value(); }, status("ticket"));
  const auto forced = force("forced");
  ASSERT_TRUE(forced) << forced.error().message;
  wait_until([&] { return owns_here() && has_ended("forced"); }, status("ticket"));
  const auto record = catalogue_->find("forced");
  EXPECT_EQ(record->state, State::done);
  EXPECT_THAT(record->migration["migration"]["warnings"].dump(), HasSubstr("cannot be fenced"));
  EXPECT_FALSE(has_ended("ticket"));
  is_cut_ = false;
  wait_until([&] { return has_ended("ticket"); }, status("ticket"));
  EXPECT_TRUE(is_released) << "nothing else ends the source's hold of them";
}

/// The ticket that was forced had ended before it heard of that, and what is here is another version, or nothing.
TEST_F(HandOffForced, WhatWasNotTakenIsNotFencedThere) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  change_plan([](nlohmann::json& volume) { volume["id"] = volume["received"] = std::string(32, 'e'); });
  heal();
  wait_until([&] { return has_ended("forced"); }, status("ticket"));
  const auto record = catalogue_->find("forced");
  EXPECT_EQ(record->state, State::failed);
  EXPECT_THAT(record->migration["migration"]["error"].get<std::string>(), HasSubstr("was not taken"));
  EXPECT_EQ(there_->state("pg"), State::ready);
}

/// It has come by force, and was handed on at once.
TEST_F(HandOffForced, WhatHasMovedOnMeanwhileIsFencedThereAllTheSame) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  const std::string received = received_by(*catalogue_->find("pg"));
  ASSERT_TRUE(catalogue_->update("pg", [](volumes::VolumeRecord& record) {
    mark_handed_off(record, {std::string(32, 'c'), "c", {}, "", "pg", 3, 1, false});
  }));
  change_plan([&](nlohmann::json& volume) { volume["received"] = received; });
  heal();
  wait_until([&] { return has_ended("forced"); }, status("ticket"));
  EXPECT_EQ(catalogue_->find("forced")->state, State::done);
  EXPECT_EQ(there_->state("pg"), State::handed_off);
}

/// Nobody is fenced for it, whatever its epoch.
TEST_F(HandOffForced, AnotherVersionThatCameSinceHasNoSay) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here() && !forced_->untold(host_.uuid).empty(); }, status("ticket"));
  const std::string fence = forced_->untold(host_.uuid)[0].id;
  const auto before = *catalogue_->find("pg");
  ASSERT_TRUE(catalogue_->remove("pg"));
  volumes::VolumeRecord copy;
  copy.name = "pg";
  copy.created = before.created;
  copy.lineage = before.lineage;
  copy.state = State::importing;
  copy.import = {{"host", "x"}};
  ASSERT_TRUE(catalogue_->create(copy));
  EXPECT_TRUE(forced_->untold(host_.uuid).empty());
  forced_->note(fence, "pg", {FenceAnswer::Stand::newer, 9, false, {}});
  heal();
  wait_until([&] { return has_ended("forced"); }, status("ticket"));
  EXPECT_EQ(there_->state("pg"), State::ready);
}

TEST_F(HandOffForced, OfAGroupTheRestIsToldAlthoughOneIsLost) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  volumes::VolumeRecord wal;
  wal.name = "wal";
  wal.created = wal.lineage = "x";
  ASSERT_TRUE(catalogue_->create(wal));
  std::atomic<int> asked_of_wal = 0;
  host_.on_fence = [&](const FenceRequest& request) -> Result<FenceAnswer> {
    if (is_cut_) return fail(Code::unavailable, "away");
    if (request.volume == "pg") return FenceAnswer{FenceAnswer::Stand::newer, 9, false, {}};
    if (++asked_of_wal == 1) return fail(Code::unavailable, "lost");
    return FenceAnswer{FenceAnswer::Stand::fenced, 0, false, {}};
  };
  forced_.reset();
  ASSERT_TRUE(catalogue_->update("forced", [](volumes::VolumeRecord& record) {
    auto volume = record.import["forced"][0];
    volume["here"] = volume["there"] = "wal";
    record.import["forced"].push_back(volume);
  }));
  restart_both();
  resume();
  heal();
  wait_until([&] { return has_ended("forced"); }, status("ticket"));
  EXPECT_EQ(asked_of_wal, 2);
  EXPECT_EQ(catalogue_->find("forced")->state, State::failed);
  EXPECT_EQ(catalogue_->find("pg")->state, State::handed_off);
}

/// The source has taken back the other volumes of the group.
TEST_F(HandOffForced, WhatIsOfTheLocalDriverStaysWhereItCame) {
  resume();
  host_.description.driver = "local";
  host_.on_hand_off = [&](const std::string&, Request request, const HandOffRequest&) -> Result<Answer> {
    return request == Request::hold ? Answer::held : request == Request::commit ? Answer::given : Answer::reclaimed;
  };
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  wait_until([&] { return has_ended("ticket"); }, status("ticket"));
  EXPECT_EQ(catalogue_->find("ticket")->state, State::failed);
  EXPECT_TRUE(owns_here());
}

TEST_F(HandOffForced, TicketsOfEarlierVersionsGoOn) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  change_plan([](nlohmann::json& volume) {
    volume.erase("local");
    volume.erase("received");
  });
  heal();
  wait_until([&] { return has_ended("forced"); }, status("ticket"));
  EXPECT_EQ(catalogue_->find("forced")->state, State::done);
  EXPECT_EQ(there_->state("pg"), State::handed_off);
}

/// Over a network that only the other host can connect through.
TEST_F(HandOffForced, WhoeverContactsThisHostIsTold) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  EXPECT_TRUE(forced_->untold("another host").empty());
  wait_until([&] { return !forced_->untold(host_.uuid).empty(); }, "it is seen to have been taken");
  const auto untold = forced_->untold(host_.uuid);
  ASSERT_EQ(untold.size(), 1U);
  EXPECT_EQ(untold[0].volume, "pg");
  EXPECT_EQ(untold[0].epoch, 2U);
  forced_->note(untold[0].id, "pg", {FenceAnswer::Stand::newer, 2, false, {}});
  const auto raised = forced_->untold(host_.uuid);
  ASSERT_EQ(raised.size(), 1U) << "it is told once more";
  EXPECT_EQ(raised[0].epoch, 3U);
  const auto answer = there_->hand_offs->fence(raised[0]);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(there_->state("pg"), State::handed_off);
  for (const auto& [id, volume] : {std::pair(std::string(32, 'f'), "pg"), std::pair(raised[0].id, "wal")})
    forced_->note(id, volume, *answer);
  EXPECT_EQ(forced_->untold(host_.uuid).size(), 1U) << "that was about something else";
  forced_->note(raised[0].id, "pg", *answer);
  wait_until([&] { return has_ended("forced"); }, "without contact");
  EXPECT_EQ(catalogue_->find("forced")->state, State::done);
  EXPECT_TRUE(forced_->untold(host_.uuid).empty());
}

TEST_F(HandOffForced, WhoRemovesTheTicketIsToldWhatThatGivesUp) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  const auto refused = forced_->cancel("forced");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy);
  EXPECT_THAT(refused.error().message, HasSubstr("once more"));
  EXPECT_TRUE(forced_->cancel("forced"));
}

TEST_F(HandOffForced, OnlyTheHandOffThatIsMeant) {
  wait_for_word(false);
  tickets_->take_by_force("pg", "another");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(tickets_->waiting_for_source("pg").has_value());
}

TEST_F(HandOffForced, WhoHasItGoesOnAskingInPeace) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  const int before = asked_;
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LE(asked_ - before, 500 / 10 + 5);
}

TEST_F(HandOffForced, AnotherHostAtThatAddressIsNotTold) {
  wait_for_word(false);
  host_.uuid = "another";
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  heal();
  const auto error = [&] { return forced_->status(*catalogue_->find("forced"))["migration"]["error"]; };
  wait_until([&] { return error().dump().find("another host") != std::string::npos; }, "it says so");
  EXPECT_EQ(there_->state("pg"), State::ready);
}

/// A host that may have got the volume from another one is told by a ticket of its own.
TEST_F(HandOffForced, FurtherHostsCanBeTold) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  EXPECT_FALSE(force("own")) << "it is not known whom to tell";
  const auto told = force("told", transport::PeerAddress("x", 7766));
  ASSERT_TRUE(told) << told.error().message;
  heal();
  wait_until([&] { return has_ended("told"); }, status("ticket"));
}

/// Whoever contacts this host need not be the one that the user has named.
TEST_F(HandOffForced, WhatIsLostIsWhereTheAnswerCameFrom) {
  wait_for_word(false);
  ASSERT_TRUE(force("forced"));
  wait_until([&] { return owns_here(); }, status("ticket"));
  FenceRequest lost;
  lost.volume = lost.target = "pg";
  lost.lineage = catalogue_->find("pg")->lineage;
  lost.epoch = 5;
  lost.id = std::string(32, 'd');
  lost.host = "d:7766";
  lost.peer = transport::PeerAddress("d", 7766);
  ASSERT_TRUE(hand_offs_->fence(lost));
  ASSERT_TRUE(force("told", transport::PeerAddress("c", 7766)));
  ASSERT_TRUE(owns_here());
  forced_->note(catalogue_->find("told")->import["forced"][0]["id"], "pg", {FenceAnswer::Stand::newer, 9, false, {}});
  const auto record = catalogue_->find("pg");
  ASSERT_EQ(record->state, State::handed_off);
  EXPECT_EQ(record->hand_off["to"], "d:7766");
  EXPECT_EQ(peer_that_has(*record), transport::PeerAddress("d", 7766));
}

TEST_F(HandOffEnds, ATicketThatIsNotCompleteIsNotForced) {
  resume();
  host_.hang_in_content = true;
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  host_.wait_for_hanging();
  ReclaimRequest reclaim;
  reclaim.volume = "pg";
  const auto forced = forced_->begin("forced", reclaim);
  ASSERT_FALSE(forced);
  EXPECT_THAT(forced.error().message, HasSubstr("ticket"));
  EXPECT_FALSE(catalogue_->find("forced"));
}

}  // namespace
}  // namespace ferry::migration
