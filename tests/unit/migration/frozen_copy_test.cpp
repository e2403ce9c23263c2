#include "migration/frozen_copy.h"

#include <gmock/gmock.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "base/time.h"
#include "fake_peer.h"

namespace ferry::migration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A source whose containers stand still when they are asked to, and what a copy reads of it.
class FrozenCopyTest : public testing::Test {
 protected:
  FrozenCopyTest() {
    host_.on_freeze = [this](FreezeStep step, const FreezeRequest& wanted) -> Result<bool> {
      if (step == FreezeStep::beat) {
        if (is_over_) return fail(Code::not_found, "that freeze has ended");
        return true;
      }
      const bool is_watch = wanted.kind == FreezeKind::watch;
      note(step == FreezeStep::end ? "thaw" : is_watch ? "watch" : "freeze");
      if (step == FreezeStep::end) return !is_over_.exchange(false) && --fails_ < 0;
      EXPECT_EQ(wanted.volumes, volumes_);
      if (is_watch && !watches_) return fail(Code::busy, "db has it mounted");
      if (is_watch) return false;
      if (refuses_) return fail(refusal_, "not now");
      return true;
    };
  }
  void note(const std::string& what) {
    const std::lock_guard guard(mutex_);
    done_.push_back(what);
  }
  FrozenCopy::Parts parts() {
    return {[this] { return std::make_shared<FakePeer>(host_); },
            [this](Freeze writers, const std::string& frozen) { return read(writers, frozen); },
            [this] { is_given_up_ = true; }, std::chrono::milliseconds(2)};
  }
  Result<FrozenCopy::Read> read(Freeze writers, const std::string& frozen) {
    note(writers == Freeze::none ? "read" : frozen.empty() ? "read alone" : "read frozen");
    if (writers == Freeze::refuse && frozen.empty() && is_in_use_) return fail(Code::busy, "mounted by db");
    if (frozen.empty() || !hangs_) {
      std::this_thread::sleep_for(frozen.empty() ? live_time_ : std::chrono::milliseconds(0));
      return FrozenCopy::Read{frozen.empty() && is_idle_, 1000};
    }
    const Deadline deadline = after(std::chrono::seconds(10));
    is_over_ = ends_early_.load();
    while (!is_given_up_ && SteadyClock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    hangs_ = false;
    return fail(Code::cancelled, "given up");
  }

  FakeHost host_;
  std::vector<std::string> volumes_{"pg"};
  bool watches_ = true;
  std::mutex mutex_;
  std::vector<std::string> done_;  // protected by mutex_
  std::chrono::milliseconds live_time_{0};
  std::atomic<int> fails_{0};
  Code refusal_ = Code::busy;
  std::atomic<bool> is_in_use_{false}, refuses_{false}, is_over_{false}, is_given_up_{false}, hangs_{false},
      is_idle_{false}, ends_early_{true};
};

TEST_F(FrozenCopyTest, WhatIsLeftIsReadWhileTheyStandStill) {
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read", "freeze", "read frozen", "thaw"));
  EXPECT_TRUE(copy.status()["downtime_ms"].is_number());
}

TEST_F(FrozenCopyTest, WhatNobodyWritesToIsReadOnce) {
  is_idle_ = true;
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read"));
  EXPECT_TRUE(copy.status()["downtime_ms"].is_null());
}

/// Each may have been idle while it was read, and all of them written to in between.
TEST_F(FrozenCopyTest, SeveralThatNobodyWritesToAreWatchedMeanwhile) {
  volumes_ = {"pg", "wal"};
  FrozenCopy copy(parts(), {volumes_, FreezeKind::stop});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("watch", "read frozen", "thaw"));
  EXPECT_TRUE(copy.status()["downtime_ms"].is_null());
  EXPECT_EQ(copy.status()["rounds"].back()["frozen"], false);
}

TEST_F(FrozenCopyTest, AndAreFrozenIfThatHasNotLastedOrSomebodyDoes) {
  volumes_ = {"pg", "wal"};
  for (const bool begins : {true, false}) {
    done_.clear();
    fails_ = begins ? 1 : 0;
    watches_ = begins;
    FrozenCopy copy(parts(), {volumes_});
    ASSERT_TRUE(copy.run());
    if (begins)
      EXPECT_THAT(done_, ElementsAre("watch", "read frozen", "thaw", "read", "freeze", "read frozen", "thaw"));
    else
      EXPECT_THAT(done_, ElementsAre("watch", "thaw", "read", "freeze", "read frozen", "thaw"));
  }
}

/// One that cannot be copied is not copied twice.
TEST_F(FrozenCopyTest, WhatCannotBeReadWhileItIsWatchedFails) {
  volumes_ = {"pg", "wal"};
  auto parts = this->parts();
  parts.read = [this](Freeze, const std::string&) -> Result<FrozenCopy::Read> {
    note("read");
    return fail(Code::no_space, "full");
  };
  FrozenCopy copy(parts, {volumes_});
  EXPECT_EQ(copy.run().error().code, Code::no_space);
  EXPECT_THAT(done_, ElementsAre("watch", "read", "thaw"));
}

TEST_F(FrozenCopyTest, WhereNothingStandsStillThereIsNoDowntime) {
  host_.on_freeze = [otherwise = host_.on_freeze](FreezeStep step, const FreezeRequest& wanted) {
    auto answer = otherwise(step, wanted);
    if (step == FreezeStep::begin) answer = false;
    return answer;
  };
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read", "freeze", "read frozen", "thaw"));
  EXPECT_TRUE(copy.status()["downtime_ms"].is_null());
  EXPECT_EQ(copy.status()["rounds"].back()["frozen"], false);
}

TEST_F(FrozenCopyTest, OnceThatIsLittleOrDoesNotBecomeLess) {
  live_time_ = std::chrono::milliseconds(600);
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read", "read", "freeze", "read frozen", "thaw"));
}

TEST_F(FrozenCopyTest, UnlessItsUserHasSaidHowLittle) {
  live_time_ = std::chrono::milliseconds(60);
  FrozenCopy copy(parts(), {{"pg"}}, RoundLimits{4, 10, false});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read", "read", "read", "read", "freeze", "read frozen", "thaw"));
  EXPECT_EQ(copy.status()["rounds"].size(), 5U);
}

TEST_F(FrozenCopyTest, AndDoesNotWantMore) {
  live_time_ = std::chrono::milliseconds(60);
  FrozenCopy copy(parts(), {{"pg"}}, RoundLimits{2, 10, true});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_THAT(done.error().message, testing::AllOf(HasSubstr("max-downtime is 10 ms"), HasSubstr("was not held")));
  EXPECT_THAT(done_, ElementsAre("read", "read"));
}

TEST_F(FrozenCopyTest, OneThatHasNotLastedIsRepeated) {
  fails_ = 1;
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_THAT(done_, ElementsAre("read", "freeze", "read frozen", "thaw", "read", "freeze", "read frozen", "thaw"));
}

TEST_F(FrozenCopyTest, ButNotForEver) {
  fails_ = 100;
  FrozenCopy copy(parts(), {{"pg"}});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_THAT(done.error().message, HasSubstr("max-freeze"));
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 3);
}

TEST_F(FrozenCopyTest, ThatOneHasEndedIsNoticedWhileItIsRead) {
  hangs_ = true;
  FrozenCopy copy(parts(), {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_TRUE(is_given_up_);
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 2);
}

/// It is opened once more before the next beat tells.
TEST_F(FrozenCopyTest, OneThatHasEndedCannotBeOpenedAnyMore) {
  fails_ = 1;
  auto parts = this->parts();
  parts.read = [this, first = true](Freeze, const std::string& frozen) mutable -> Result<FrozenCopy::Read> {
    note(frozen.empty() ? "read" : "read frozen");
    if (!frozen.empty() && std::exchange(first, false)) return fail(Code::busy, "the freeze has ended");
    return FrozenCopy::Read{};
  };
  FrozenCopy copy(parts, {{"pg"}});
  ASSERT_TRUE(copy.run());
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 2);
}

TEST_F(FrozenCopyTest, ASourceThatIsAwayIsAskedAgain) {
  int away = 5;
  FrozenCopy* waiting = nullptr;
  host_.on_freeze = [&, otherwise = host_.on_freeze](FreezeStep step, const FreezeRequest& wanted) -> Result<bool> {
    if (step == FreezeStep::begin && --away >= 0) return fail(Code::unavailable, "away");
    if (step == FreezeStep::begin) {
      EXPECT_EQ(waiting->status()["error"], "away");
    }
    return otherwise(step, wanted);
  };
  auto parts = this->parts();
  parts.retry = std::chrono::milliseconds(1);
  FrozenCopy copy(parts, {{"pg"}});
  waiting = &copy;
  ASSERT_TRUE(copy.run());
  EXPECT_LT(away, 0);
}

/// They may have stood still all that time, though the answer was lost.
TEST_F(FrozenCopyTest, ButNotForEverIfTheyMayStandStillMeanwhile) {
  host_.on_freeze = [&](FreezeStep step, const FreezeRequest&) -> Result<bool> {
    if (step != FreezeStep::begin) return true;
    note("freeze");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return fail(Code::unavailable, "no answer");
  };
  auto parts = this->parts();
  parts.retry = std::chrono::milliseconds(1);
  FrozenCopy copy(parts, {{"pg"}, FreezeKind::stop, std::chrono::milliseconds(3)});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 3);
}

TEST_F(FrozenCopyTest, NorIfNotAllOfThemCouldBeHeld) {
  refuses_ = true;
  refusal_ = Code::io;
  FrozenCopy copy(parts(), {{"pg"}});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 3);
}

TEST_F(FrozenCopyTest, NorIfItIsKnownToBeInVain) {
  live_time_ = std::chrono::milliseconds(30);
  fails_ = 100;
  FrozenCopy copy(parts(), {{"pg"}, FreezeKind::pause, std::chrono::milliseconds(20)});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_THAT(done.error().message, testing::AllOf(HasSubstr("max-freeze"), HasSubstr("goes on as ever")));
  EXPECT_EQ(std::count(done_.begin(), done_.end(), "freeze"), 1);
}

/// Each of them may have been read in another gap.
TEST_F(FrozenCopyTest, SeveralWhereNothingCanStandStillAreWatched) {
  volumes_ = {"pg", "wal"};
  refuses_ = true;
  refusal_ = Code::denied;
  fails_ = 3;
  FrozenCopy copy(parts(), {volumes_});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, testing::AllOf(HasSubstr("meanwhile"), HasSubstr("not now")));
  fails_ = 1;
  done_.clear();
  FrozenCopy other(parts(), {volumes_});
  ASSERT_TRUE(other.run());
  EXPECT_THAT(done_,
              ElementsAre("watch", "read frozen", "thaw", "read", "freeze", "thaw", "watch", "read frozen", "thaw"));
}

TEST_F(FrozenCopyTest, WhatCannotStandStillIsNotCopied) {
  refuses_ = true;
  FrozenCopy copy(parts(), {{"pg"}});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "not now");
  EXPECT_THAT(done_, ElementsAre("read", "freeze", "thaw")) << "it may have begun nevertheless";
}

TEST_F(FrozenCopyTest, UnlessNothingIsKnownToWriteWhereNothingCanStandStill) {
  for (const Code code : {Code::unsupported, Code::denied}) {
    done_.clear();
    refuses_ = true;
    refusal_ = code;
    FrozenCopy copy(parts(), {{"pg"}});
    ASSERT_TRUE(copy.run());
    EXPECT_THAT(done_, ElementsAre("read", "freeze", "thaw", "read alone"));
    EXPECT_TRUE(copy.status()["downtime_ms"].is_null());
  }
}

TEST_F(FrozenCopyTest, WhatIsInUseThereSaysSo) {
  refuses_ = is_in_use_ = true;
  refusal_ = Code::denied;
  FrozenCopy copy(parts(), {{"pg"}});
  const auto done = copy.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_EQ(done.error().message, "mounted by db; not now");
}

TEST_F(FrozenCopyTest, OneThatIsCancelledLetsThemGoOn) {
  hangs_ = true;
  ends_early_ = false;
  FrozenCopy copy(parts(), {{"pg"}});
  std::thread cancelling([&] {
    const Deadline deadline = after(std::chrono::seconds(10));
    while (SteadyClock::now() < deadline) {
      const std::lock_guard guard(mutex_);
      if (!done_.empty() && done_.back() == "read frozen") break;
    }
    copy.cancel();
    is_given_up_ = true;
  });
  const auto done = copy.run();
  cancelling.join();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::cancelled);
  EXPECT_EQ(done_.back(), "thaw");
}

}  // namespace
}  // namespace ferry::migration
