#include <deque>
#include <set>

#include "migration/migration_record.h"
#include "support/tree.h"
#include "support/wait.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

using hand_off::Answer;
using hand_off::Request;
using hand_off::Source;
using testing::ElementsAre;
using testing::HasSubstr;

/// The destination of a hand-off, against the source's own table.
class TicketsMoving : public TicketsTest {
 protected:
  void SetUp() override {
    TicketsTest::SetUp();
    moving_.move = true;
    host_.on_hand_off = [this](const std::string& id, Request request, const HandOffRequest& wanted) {
      return serve(id, request, wanted);
    };
  }
  Result<Answer> serve(const std::string& id, Request request, const HandOffRequest& wanted) {
    const std::lock_guard guard(mutex_);
    asked_.push_back(request);
    if (request == Request::hold) wanted_ = wanted;
    if (id_.empty()) id_ = id;
    EXPECT_EQ(id, id_);
    if (lost(request)) return fail(Code::unavailable, "the request was lost");
    if (refused_) return fail(Code::busy, "volume pg is mounted by the running container web");
    const auto [next, answer] = hand_off::step(source_, request);
    source_ = next;
    if (answer_lost(request)) return fail(Code::unavailable, "the answer was lost");
    return answer;
  }
  /// Once each.
  static bool take(std::set<Request>& from, Request request) { return from.erase(request) != 0; }
  bool lost(Request request) { return take(lose_requests_, request); }
  bool answer_lost(Request request) { return take(lose_answers_, request); }
  Source source() {
    const std::lock_guard guard(mutex_);
    return source_;
  }
  bool has_asked(Request request) {
    const std::lock_guard guard(mutex_);
    return std::find(asked_.begin(), asked_.end(), request) != asked_.end();
  }
  void wait_until(const std::function<bool()>& condition) {
    EXPECT_TRUE(test::wait(condition, std::chrono::seconds(20)));
  }
  nlohmann::json status() { return tickets_->status(*catalogue_->find("ticket")); }

  TicketRequest moving_ = request_;
  std::mutex mutex_;
  Source source_ = Source::own;  // protected by mutex_, as is the rest
  std::string id_;
  HandOffRequest wanted_;
  bool refused_ = false;
  std::set<Request> lose_requests_, lose_answers_;
  std::deque<Request> asked_;
};

TEST_F(TicketsMoving, TheVolumeBecomesThisHosts) {
  EXPECT_EQ(run("ticket", moving_)["state"], "done");
  EXPECT_EQ(source(), Source::left);
  EXPECT_THAT(asked_, ElementsAre(Request::hold, Request::hold, Request::commit, Request::acknowledge));
  EXPECT_EQ(wanted_.volumes.size(), 1U);
  EXPECT_EQ(wanted_.volumes[0].source, "pg");
  EXPECT_EQ(wanted_.port, 7766);
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::ready);
  EXPECT_EQ(catalogue_->find("pg")->epoch, 2U);
  EXPECT_EQ(test::tree_difference(host_.root, data("pg")), "");
}

TEST_F(TicketsMoving, WhateverIsLostItBecomesItOnce) {
  for (auto* requests : {&lose_requests_, &lose_answers_})
    for (const Request request : {Request::hold, Request::commit, Request::acknowledge}) {
      const std::string ticket = "ticket" + std::to_string(asked_.size());
      id_.clear();
      source_ = Source::own;
      *requests = {request};
      moving_.volumes[0].target = ticket + "-volume";
      EXPECT_EQ(run(ticket, moving_)["state"], "done");
      EXPECT_EQ(source(), Source::left);
      EXPECT_EQ(catalogue_->find(moving_.volumes[0].target)->epoch, 2U);
    }
}

TEST_F(TicketsMoving, WhatTheSourceRefusesFailsTheCreate) {
  refused_ = true;
  const auto begun = tickets_->begin("ticket", moving_);
  ASSERT_FALSE(begun);
  EXPECT_THAT(begun.error().message, HasSubstr("mounted by the running container web"));
  EXPECT_FALSE(catalogue_->find("ticket"));
  EXPECT_FALSE(catalogue_->find("pg"));
}

TEST_F(TicketsMoving, OneThatTheSourceTakesBackFails) {
  host_.hang_in_content = true;
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  host_.wait_for_hanging();
  source_ = hand_off::step(Source::held, Request::cancel).next;
  host_.hang_in_content = false;
  host_.release();
  wait_until([&] { return status()["state"] == "failed"; });
  EXPECT_THAT(status()["migration"]["error"].get<std::string>(), HasSubstr("cancelled at the source"));
  EXPECT_FALSE(catalogue_->find("pg"));
}

TEST_F(TicketsMoving, CancellingGivesTheVolumeBack) {
  host_.hang_in_content = true;
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  host_.wait_for_hanging();
  ASSERT_TRUE(tickets_->cancel("ticket"));
  EXPECT_EQ(source(), Source::released);
  EXPECT_FALSE(catalogue_->find("pg"));
}

/// A destination that is prepared waits and asks; it never starts, whoever else is restarted meanwhile.
TEST_F(TicketsMoving, APreparedOneIsNobodysUntilTheSourceHasSpoken) {
  std::atomic<bool> away{true};
  host_.on_hand_off = [&](const std::string& id, Request request, const HandOffRequest& wanted) -> Result<Answer> {
    if (away && request != Request::hold) {
      const std::lock_guard guard(mutex_);
      asked_.push_back(request);
      return fail(Code::unavailable, "away");
    }
    return serve(id, request, wanted);
  };
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  wait_until([&] { return has_asked(Request::commit); });
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::importing);
  EXPECT_FALSE(tickets_->wait("pg", after(std::chrono::milliseconds(0))));
  const int opened = host_.opened;
  restart();
  tickets_->resume();
  wait_until([&] { return status()["migration"]["error"].is_string(); });
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::importing);
  const auto cancelled = tickets_->cancel("ticket");
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::busy);
  away = false;
  wait_until([&] { return status()["state"] == "done"; });
  EXPECT_EQ(host_.opened, opened) << "nothing comes again";
  EXPECT_EQ(catalogue_->find("pg")->epoch, 2U);
}

TEST_F(TicketsMoving, OnceItIsGivenItCannotBeCancelled) {
  lose_answers_ = {Request::commit};
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  wait_until([&] { return source() == Source::given; });
  const auto cancelled = tickets_->cancel("ticket");
  if (!cancelled) {
    EXPECT_EQ(cancelled.error().code, Code::busy);
  }
  wait_until([&] { return catalogue_->find("pg")->state == volumes::State::ready; });
}

/// The source is away once it has given: the volume can be used, and the ticket be removed.
TEST_F(TicketsMoving, WhoOwnsItDoesNotWaitForTheSource) {
  host_.on_hand_off = [&](const std::string& id, Request request, const HandOffRequest& wanted) -> Result<Answer> {
    if (request == Request::acknowledge) return fail(Code::unavailable, "away");
    return serve(id, request, wanted);
  };
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::ready);
  EXPECT_EQ(tickets_->holder("pg"), "");
  restart();
  tickets_->resume();
  EXPECT_EQ(tickets_->holder("pg"), "");
  EXPECT_TRUE(tickets_->cancel("ticket"));
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::ready);
}

TEST_F(TicketsMoving, WhoOwnsItTellsTheSourceBeforeTheTicketGoes) {
  std::atomic<bool> away{true};
  host_.on_hand_off = [&](const std::string& id, Request request, const HandOffRequest& wanted) -> Result<Answer> {
    if (away && request == Request::acknowledge) return fail(Code::unavailable, "away");
    return serve(id, request, wanted);
  };
  pauses_.question = std::chrono::minutes(10);
  restart();
  ASSERT_TRUE(tickets_->begin("ticket", moving_));
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  away = false;
  ASSERT_TRUE(tickets_->cancel("ticket"));
  EXPECT_EQ(source(), Source::left);
}

/// This host has handed the volume off, and was never told that it has come: the volume there says so.
TEST_F(TicketsMoving, WhatIsThereHasArrived) {
  add("pg", "lineage");
  const nlohmann::json given = {
      {"hand_off", std::string(32, 'a')},
      {"state", "given"},
      {"to", "b"},
      {"uuid", "other-host"},
      {"peer", nullptr},
      {"volumes", {{{"source", "pg"}, {"target", "pg"}, {"epoch", 1}, {"lineage", "lineage"}, {"local", false}}}}};
  const auto ticket = new_ticket(HandOffs::ticket_of(std::string(32, 'a')), given, nullptr);
  ASSERT_TRUE(catalogue_->create(ticket));
  restart();
  ASSERT_EQ(catalogue_->find("pg")->state, volumes::State::handed_off);
  host_.description.epoch = 1;
  EXPECT_FALSE(tickets_->begin("older", moving_)) << "it has not come";
  host_.description.epoch = 2;
  moving_.replace = true;
  EXPECT_EQ(run("ticket", moving_)["state"], "done");
  EXPECT_EQ(catalogue_->find("pg")->epoch, 3U);
  EXPECT_FALSE(catalogue_->find(ticket.name));
}

TEST_F(TicketsMoving, WhatWasTakenBackByForceIsFenced) {
  host_.on_hand_off = [&](const std::string& id, Request request, const HandOffRequest& wanted) -> Result<Answer> {
    if (request == Request::acknowledge) {
      const std::lock_guard guard(mutex_);
      source_ = hand_off::step(source_, Request::reclaim).next;
    }
    return serve(id, request, wanted);
  };
  const auto status = run("ticket", moving_);
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("taken back by force"));
  const auto record = catalogue_->find("pg");
  EXPECT_EQ(record->state, volumes::State::handed_off);
  EXPECT_EQ(record->hand_off["epoch"], 3);
}

}  // namespace
}  // namespace ferry::migration
