#include "migration/service_departures.h"

#include <gmock/gmock.h>

#include <thread>

#include "hand_off_source.h"
#include "migration/handed_off.h"
#include "migration/migration_record.h"
#include "support/temporary_directory.h"
#include "support/wait.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using hand_off::Answer;
using hand_off::Request;
using nlohmann::json;
using testing::HasSubstr;
using volumes::State;

const std::string id(32, 'a');
const std::string other_id(32, 'b');
const std::string ticket = ServiceDepartures::ticket_of(id);

/// A host with the volume pg and the container db, which an Engine starts and stops.
class ServiceDeparturesTest : public testing::Test {
 protected:
  ServiceDeparturesTest() {
    source_.add("pg");
    open();
  }
  ~ServiceDeparturesTest() override { departures_.reset(); }

  void open(bool looks = true) {
    departures_ = std::make_unique<ServiceDepartures>(
        ServiceDepartures::Parts{*source_.catalogue, *source_.hand_offs, holds_, [] {},
                                 [this](const std::string& name) { return source_.catalogue->remove(name); },
                                 longest_silence_, std::chrono::milliseconds(20)});
    if (looks) departures_->start();
  }
  void restart(bool looks = true) {
    departures_.reset();
    source_.restart();
    open(looks);
  }

  std::string answer_of(const std::string& request) {
    const std::lock_guard guard(mutex_);
    if (request.find("/containers/db/") == std::string::npos && request.find("/containers/1234/") == std::string::npos)
      return {};
    if (fails_) return answer(500, R"({"message":"the port is taken"})");
    if (request.find("/start\n") != std::string::npos) running_ = true;
    if (request.find("/stop\n") != std::string::npos) {
      ++stops_;
      if (std::exchange(breaks_off_, false)) return answer(500, R"({"message":"broken off"})");
      running_ = false;
      if (at_stop_) at_stop_();
    }
    if (request.find("/update\n") != std::string::npos)
      policy_ = json::parse(request.substr(request.find('\n') + 1))["RestartPolicy"]["Name"];
    if (request.starts_with("POST ")) return answer(204, "");
    return answer(200, json({{"Id", "1234"},
                             {"Name", "/db"},
                             {"State", {{"Running", running_}, {"Status", running_ ? "running" : "exited"}}},
                             {"HostConfig", {{"RestartPolicy", {{"Name", policy_}}}}}})
                           .dump());
  }
  template <class T>
  T locked(T& value) {
    const std::lock_guard guard(mutex_);
    return value;
  }
  template <class T>
  void set(T& value, T to) {
    const std::lock_guard guard(mutex_);
    value = std::move(to);
  }
  bool is_as_it_was() { return locked(running_) && locked(policy_) == "always"; }
  bool is_stopped() { return !locked(running_) && locked(policy_) == "no"; }
  bool has_ticket() { return source_.catalogue->find(ticket) != nullptr; }
  static bool wait(const std::function<bool()>& until) { return test::wait(until, std::chrono::seconds(10)); }

  static HandOffRequest request() {
    HandOffRequest request = HandOffSource::request({"pg"});
    request.container = "db";
    return request;
  }
  Answer hold() {
    const auto held = departures_->hold(id, request());
    EXPECT_TRUE(held) << held.error().message;
    return held.value_or(Answer::refused);
  }
  Answer ask(Request request) {
    const auto answer = departures_->ask(id, request);
    EXPECT_TRUE(answer) << answer.error().message;
    return answer.value_or(Answer::refused);
  }

  test::TemporaryDirectory directory_;
  std::mutex mutex_;
  bool running_ = true, fails_ = false, breaks_off_ = false;
  int stops_ = 0;
  std::string policy_ = "always";
  std::function<void()> at_stop_;
  std::chrono::milliseconds longest_silence_ = std::chrono::minutes(1);
  HandOffSource source_{directory_.path(), [this](const std::string& request) { return answer_of(request); }};
  ContainerHolds holds_{source_.client};
  std::unique_ptr<ServiceDepartures> departures_;
};

TEST_F(ServiceDeparturesTest, AServiceIsHandedOff) {
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_TRUE(is_stopped() && has_ticket());
  EXPECT_EQ(hold(), Answer::held) << "again";
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  EXPECT_TRUE(wait([&] { return source_.catalogue->find(ticket)->state == State::done; }));
  EXPECT_TRUE(is_stopped());
  const json status = departures_->status(*source_.catalogue->find(ticket));
  EXPECT_EQ(status["state"], "done");
  EXPECT_EQ(status["service"]["container"], "db");
  EXPECT_EQ(status["service"]["restart"]["Name"], "always");
  restart();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(is_stopped() && has_ticket()) << "for good";
}

/// Whoever starts the old container is told how it comes back.
TEST_F(ServiceDeparturesTest, ItsVolumesTellByWhichTicketAllOfItComesBack) {
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  EXPECT_THAT(explain_handed_off(*source_.catalogue->find("pg")).message,
              testing::AllOf(HasSubstr("-o reclaim=" + ticket), HasSubstr("-o reclaim=pg")));
}

TEST_F(ServiceDeparturesTest, WhatIsNeededToBringItBackIsKept) {
  HandOffRequest asked = request();
  asked.as = "database";
  asked.uuid = "uuid of b";
  EXPECT_EQ(departures_->departed(ticket).error().code, Code::not_found);
  asked.volumes.clear();
  ASSERT_TRUE(departures_->hold(id, asked));
  EXPECT_EQ(departures_->departed(ticket).error().code, Code::busy) << "it has not left yet";
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  ASSERT_TRUE(wait([&] { return source_.catalogue->find(ticket)->state == State::done; }));
  restart();
  const auto departed = departures_->departed(ticket);
  ASSERT_TRUE(departed) << departed.error().message;
  EXPECT_EQ(departed->id, id);
  EXPECT_EQ(departed->as, "database");
  EXPECT_EQ(departed->uuid, "uuid of b");
  EXPECT_EQ(departed->peer->text(), "b:7766");
  EXPECT_EQ(departed->container.id, "1234");
  EXPECT_TRUE(departed->container.was_running);
  EXPECT_TRUE(*departures_->is_held(departed->container));
  departures_->forget("another");
  EXPECT_TRUE(has_ticket());
  departures_->forget("1234");
  EXPECT_FALSE(has_ticket());
}

TEST_F(ServiceDeparturesTest, OneThatIsReleasedIsBroughtBack) {
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(ask(Request::release), Answer::gone);
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_TRUE(source_.owns("pg"));
  EXPECT_EQ(hold(), Answer::gone) << "one that comes late begins nothing";
  EXPECT_TRUE(is_as_it_was());
}

TEST_F(ServiceDeparturesTest, OneOfWhichNothingIsHeardIsBroughtBack) {
  departures_.reset();
  longest_silence_ = std::chrono::milliseconds(2000);  // more than a slow machine's pause
  open();
  EXPECT_EQ(hold(), Answer::held);
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(hold(), Answer::held) << "it was heard of";
  }
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_EQ(ask(Request::commit), Answer::gone);
}

/// A crash right before or after the stop, of which only the record tells.
TEST_F(ServiceDeparturesTest, OneThatWasNotHeldWhenTheProcessDiedIsBroughtBack) {
  EXPECT_EQ(hold(), Answer::held);
  ASSERT_TRUE(source_.catalogue->remove(HandOffs::ticket_of(id))) << "as if it had not come that far";
  restart();
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
}

/// The Engine carries on with it, so a container that is brought back at once would end after that.
TEST_F(ServiceDeparturesTest, AStopThatWasBrokenOffIsWaitedForBeforeItIsBroughtBack) {
  set(breaks_off_, true);
  EXPECT_FALSE(departures_->hold(id, request()));
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_EQ(locked(stops_), 2);
}

TEST_F(ServiceDeparturesTest, ARestartHoldsOn) {
  EXPECT_EQ(hold(), Answer::held);
  restart();
  EXPECT_TRUE(is_stopped());
  EXPECT_EQ(ask(Request::commit), Answer::given);
  restart();
  EXPECT_TRUE(is_stopped());
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  EXPECT_TRUE(wait([&] { return source_.catalogue->find(ticket)->state == State::done; }));
}

/// What becomes of volumes is noted at the volumes, but for those of the local driver.
TEST_F(ServiceDeparturesTest, WithoutVolumesItIsGoneForGoodAllTheSame) {
  HandOffRequest alone = request();
  alone.volumes.clear();
  ASSERT_TRUE(departures_->hold(id, alone));
  restart();
  EXPECT_TRUE(is_stopped() && has_ticket());
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  restart();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(is_stopped() && has_ticket());
  EXPECT_EQ(ask(Request::acknowledge), Answer::given) << "a destination that asks once more";
}

TEST_F(ServiceDeparturesTest, OneThatSomebodyHasStartedIsNotGiven) {
  EXPECT_EQ(hold(), Answer::held);
  set(running_, true);
  EXPECT_EQ(ask(Request::commit), Answer::gone);
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_TRUE(source_.owns("pg"));
}

TEST_F(ServiceDeparturesTest, WhatDoesNotComeBackIsTriedAgainAndTold) {
  EXPECT_EQ(hold(), Answer::held);
  set(fails_, true);
  EXPECT_EQ(ask(Request::release), Answer::gone);
  const auto error = [&] { return departures_->status(*source_.catalogue->find(ticket))["migration"]["error"].dump(); };
  EXPECT_TRUE(wait([&] { return error().find("the port is taken") != std::string::npos; })) << error();
  EXPECT_TRUE(has_ticket());
  const auto second = departures_->hold(other_id, request());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("the port is taken")) << "of the Engine, which is asked first";
  set(fails_, false);
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
}

TEST_F(ServiceDeparturesTest, OneAtATime) {
  EXPECT_EQ(hold(), Answer::held);
  const auto second = departures_->hold(other_id, request());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
  EXPECT_THAT(second.error().message, HasSubstr(ticket));
  EXPECT_TRUE(is_stopped());
}

TEST_F(ServiceDeparturesTest, ItsUserTakesItBack) {
  EXPECT_EQ(hold(), Answer::held);
  ASSERT_TRUE(departures_->cancel(ticket));
  EXPECT_TRUE(is_as_it_was() && !has_ticket());
  EXPECT_EQ(ask(Request::commit), Answer::gone);
}

/// The destination does not know why it has ended, and begins again.
TEST_F(ServiceDeparturesTest, WhatItsUserHasTakenBackIsNotHeldAgainAtOnce) {
  EXPECT_EQ(hold(), Answer::held);
  ASSERT_TRUE(departures_->cancel(ticket));
  HandOffRequest again = request();
  again.after = id;
  const auto held = departures_->hold(other_id, again);
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::denied);
  EXPECT_THAT(held.error().message, HasSubstr("db"));
  EXPECT_TRUE(is_as_it_was());
  restart();
  EXPECT_EQ(departures_->hold(other_id, again).error().code, Code::denied) << "another process does not know it";
  again.after.clear();
  EXPECT_EQ(*departures_->hold(other_id, again), Answer::held) << "by another ticket";
}

TEST_F(ServiceDeparturesTest, WhatItsUserTakesBackWhileItIsStoppedIsNotHeld) {
  Result<> cancelled;
  set(at_stop_, std::function<void()>([&] { cancelled = departures_->cancel(ticket); }));
  const auto held = departures_->hold(id, request());
  const auto refused = locked(cancelled);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy) << "it is at work on its container";
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::denied);
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
}

/// Its container is still here, stopped, and a second destination would start it while the first one has it running.
TEST_F(ServiceDeparturesTest, WhatHasLeftDoesNotLeaveAgain) {
  HandOffRequest alone = request();
  alone.volumes.clear();  // nothing else would tell
  ASSERT_TRUE(departures_->hold(id, alone));
  EXPECT_EQ(ask(Request::commit), Answer::given);
  EXPECT_EQ(departures_->hold(other_id, alone).error().code, Code::busy);
  EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  ASSERT_TRUE(wait([&] { return source_.catalogue->find(ticket)->state == State::done; }));
  const auto again = departures_->hold(other_id, alone);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::busy);
  EXPECT_THAT(again.error().message, testing::AllOf(HasSubstr("handed off to b"), HasSubstr(ticket)));
  ASSERT_TRUE(source_.catalogue->remove(ticket));
  EXPECT_EQ(*departures_->hold(other_id, alone), Answer::held) << "its user knows better";
}

TEST_F(ServiceDeparturesTest, NorWhatSomebodyHasStarted) {
  EXPECT_EQ(hold(), Answer::held);
  set(running_, true);
  EXPECT_EQ(ask(Request::commit), Answer::gone);
  HandOffRequest again = request();
  again.after = id;
  EXPECT_EQ(departures_->hold(other_id, again).error().code, Code::denied);
}

TEST_F(ServiceDeparturesTest, WhatWasReleasedIsHeldAgainOnceItIsBack) {
  departures_.reset();
  open(false);  // nothing brings it back
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(ask(Request::release), Answer::gone);
  HandOffRequest again = request();
  again.after = id;
  const auto early = departures_->hold(other_id, again);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, Code::unavailable) << early.error().message;
  departures_->start();
  EXPECT_TRUE(wait([&] { return departures_->hold(other_id, again) == Answer::held; }));
  EXPECT_TRUE(is_stopped());
}

TEST_F(ServiceDeparturesTest, ItsUserCannotTakeBackWhatIsGiven) {
  EXPECT_EQ(hold(), Answer::held);
  EXPECT_EQ(ask(Request::commit), Answer::given);
  const auto cancelled = departures_->cancel(ticket);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::busy);
  EXPECT_TRUE(is_stopped());
}

/// Of an export: by its ID first, and by others once the source has run the service again.
class ServiceExportTest : public ServiceDeparturesTest {
 protected:
  static HandOffRequest exported(const std::string& after = {}) {
    HandOffRequest exported = request();
    exported.export_id = id;
    exported.after = after;
    return exported;
  }
  void add_export() { ASSERT_TRUE(source_.catalogue->create(new_ticket("exported", {{"export", id}}, nullptr))); }
};

TEST_F(ServiceExportTest, IsGivenByWhicheverHandOffItIs) {
  add_export();
  EXPECT_EQ(*departures_->hold(id, exported()), Answer::held);
  EXPECT_EQ(ask(Request::release), Answer::gone);
  ASSERT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_EQ(*departures_->hold(other_id, exported(id)), Answer::held);
  EXPECT_THAT(source_.hand_offs->ids_of_export(id), testing::ElementsAre(id, other_id));
  EXPECT_FALSE(source_.hand_offs->is_given(id));
  EXPECT_EQ(*departures_->ask(other_id, Request::commit), Answer::given);
  EXPECT_TRUE(source_.hand_offs->is_given(id));
  EXPECT_EQ(*departures_->ask(other_id, Request::acknowledge), Answer::given);
  EXPECT_TRUE(source_.hand_offs->is_given(id));
  restart();
  ASSERT_TRUE(source_.catalogue->remove(ServiceDepartures::ticket_of(other_id))) << "its user does not want it back";
  EXPECT_TRUE(source_.hand_offs->is_given(id));
  EXPECT_FALSE(source_.hand_offs->is_taken(id));
}

TEST_F(ServiceExportTest, ItsUserTakesItBackForGood) {
  EXPECT_EQ(*departures_->hold(id, exported()), Answer::held);
  EXPECT_EQ(ask(Request::release), Answer::gone);
  ASSERT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
  EXPECT_EQ(*departures_->hold(other_id, exported(id)), Answer::held);
  ASSERT_TRUE(departures_->cancel_export(id));
  EXPECT_TRUE(is_as_it_was());
  EXPECT_EQ(*departures_->ask(other_id, Request::commit), Answer::gone);
  const std::string third(32, 'c');
  for (const std::string& after : {id, other_id, third}) {
    const auto again = departures_->hold(third, exported(after));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::denied);
  }
  EXPECT_TRUE(is_as_it_was());
}

TEST_F(ServiceExportTest, IsTakenBackBeforeItIsHeld) {
  ASSERT_TRUE(departures_->cancel_export(id));
  EXPECT_EQ(*departures_->hold(id, exported()), Answer::gone);
  EXPECT_EQ(departures_->hold(other_id, exported(id)).error().code, Code::denied);
  EXPECT_TRUE(is_as_it_was());
}

TEST_F(ServiceExportTest, IsNotTakenBackOnceItIsGiven) {
  EXPECT_EQ(*departures_->hold(id, exported()), Answer::held);
  EXPECT_EQ(ask(Request::commit), Answer::given);
  for (int i = 0; i < 2; ++i) {  // before that is known there, and after
    const auto cancelled = departures_->cancel_export(id);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().code, Code::busy);
    EXPECT_TRUE(is_stopped());
    EXPECT_EQ(ask(Request::acknowledge), Answer::given);
  }
}

TEST_F(ServiceExportTest, MayAskForNoOtherOne) {
  const std::string of_another(32, 'c');
  EXPECT_EQ(*departures_->hold(other_id, request()), Answer::held) << "an import by another host";
  EXPECT_FALSE(departures_->is_of_export(other_id, id));
  EXPECT_TRUE(departures_->is_of_export(id, id));
  EXPECT_TRUE(departures_->is_of_export(of_another, id)) << "nothing is known of it yet";
  EXPECT_EQ(*departures_->ask(other_id, Request::commit), Answer::given);
  EXPECT_FALSE(departures_->is_of_export(other_id, id));
}

TEST_F(ServiceDeparturesTest, AHoldThatFailsBringsItBack) {
  source_.has_container = true;  // another one, which has the volume
  const auto held = departures_->hold(id, request());
  ASSERT_FALSE(held);
  EXPECT_THAT(held.error().message, HasSubstr("web"));
  EXPECT_TRUE(wait([&] { return is_as_it_was() && !has_ticket(); }));
}

}  // namespace
}  // namespace ferry::migration
