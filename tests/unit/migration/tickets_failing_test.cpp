#include <cerrno>
#include <mutex>
#include <system_error>

#include "support/intercepted_calls.h"
#include "support/tree.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

/// A ticket that updates one volume and makes another one, on a disk that fails from the decision on.
class TicketsFailing : public TicketsTest {
 protected:
  void start_again() {
    tickets_->abandon_all();
    tickets_.reset();
    imports_.reset();
    catalogue_.reset();
    ASSERT_TRUE(remove_tree(directory_ / "ferry"));
    open();
    write("one");
    run("t1", request_);
    write("two");
    std::this_thread::sleep_for(settling);
  }

  /// Lets the ticket run until it has ended or waits; `fails` is asked about each call from its decision on. Then the
  /// process ends, and another one carries on, without failures. Returns the outcome.
  std::string run_and_restart(const std::function<int(const test::Call&)>& fails) {
    bool deciding = false;
    bool failed = false;
    {
      const test::InterceptedCalls calls([&](const test::Call& call) {
        if (!call.place.starts_with((directory_ / "ferry").string())) return 0;
        const std::lock_guard guard(mutex_);
        deciding = deciding || call.place.starts_with(record_.string() + "/");
        const int error = deciding ? fails(call) : 0;
        failed = failed || error != 0;
        return error;
      });
      EXPECT_TRUE(tickets_->begin("t2", both_));
      const Deadline deadline = after(std::chrono::seconds(10));
      const auto is_on_its_way = [&] {
        const auto status = tickets_->status(*catalogue_->find("t2"));
        return status["state"] == "importing" && !status["migration"]["error"].is_string();
      };
      while (is_on_its_way() && SteadyClock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      tickets_->abandon_all();
    }
    restart();
    tickets_->resume();
    EXPECT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(4))));
    const std::string state = tickets_->status(*catalogue_->find("t2"))["state"];
    return failed ? state : "nothing failed";
  }

  void expect_all_or_nothing(const std::string& state) {
    EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::ready);
    EXPECT_FALSE(fs::exists(catalogue_->layout().update("pg")));
    if (state == "failed") {
      EXPECT_EQ(*read_file(data("pg") / "file"), "one");
      EXPECT_FALSE(catalogue_->find("other"));
      EXPECT_EQ(run("t3", both_)["state"], "done");
    } else {
      EXPECT_EQ(state, "done");
    }
    for (const char* volume : {"pg", "other"}) {
      ASSERT_TRUE(catalogue_->find(volume));
      EXPECT_EQ(catalogue_->find(volume)->state, volumes::State::ready);
      EXPECT_EQ(test::tree_difference(host_.root, data(volume)), "");
    }
    EXPECT_TRUE(tickets_->cancel("t2"));
  }

  const TicketRequest both_{{"a", 7766}, {{"pg", "pg"}, {"pg", "other"}}, {}, false, false};
  const fs::path record_ = directory_ / "ferry" / "volumes" / "t2";
  std::mutex mutex_;
};

// The record of the decision is there, its directory entry may be; then nothing about the ticket can be written.
TEST_F(TicketsFailing, ADecisionThatMayBeOnDiskIsNotUndone) {
  start_again();
  bool failing = false;
  expect_all_or_nothing(run_and_restart([&](const test::Call& call) {
    const bool about_ticket = call.place.starts_with(record_.string());
    failing = failing || (about_ticket && call.name == "fsync" && call.place == record_);
    return failing && about_ticket ? EIO : 0;
  }));
}

// So is one after which the disk works again.
TEST_F(TicketsFailing, ADecisionWhoseSyncFailsIsTakenBackDurably) {
  start_again();
  bool failed = false;
  const auto state = run_and_restart([&](const test::Call& call) {
    if (failed || call.name != "fsync" || call.place != record_) return 0;
    failed = true;
    return EIO;
  });
  EXPECT_EQ(state, "failed");
  expect_all_or_nothing(state);
}

class TicketsFailingCall : public TicketsFailing, public testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(, TicketsFailingCall, testing::Bool(),
                         [](const auto& once) { return once.param ? "Once" : "FromThenOn"; });

TEST_P(TicketsFailingCall, EndsInAllOrNothing) {
  for (unsigned number = GetParam() ? 0 : 1;; number += 2) {
    start_again();
    unsigned count = 0;
    std::string where;
    const std::string state = run_and_restart([&](const test::Call& call) {
      const unsigned now = count++;
      if (now < number || (GetParam() && now > number)) return 0;
      if (where.empty()) where = std::string(call.name) + " of " + call.place;
      return EIO;
    });
    if (where.empty()) return;
    SCOPED_TRACE("call " + std::to_string(number) + ", " + where);
    expect_all_or_nothing(state);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace ferry::migration
