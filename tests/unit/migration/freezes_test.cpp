#include "migration/freezes.h"

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "base/files.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"
#include "support/wait.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string id(32, 'a');

struct Container {
  std::string volume;
  bool rw = true, running = true, paused = false, there = true;
  bool fails = false;       ///< to be paused
  bool breaks_off = false;  ///< the next stop
  bool hangs = false;       ///< the next pause is not answered
  bool keeps = false;       ///< standing still, as long as this is so
  bool ends_late = false;   ///< not before this is false, once it was asked to stop
  bool is_temporary = false;
  bool ends_instead = false;  ///< of being paused
  bool cannot_start = false;
  int looks = 1000;  ///< then the next one fails
  int stops = 0, starts = 0, stop_timeout = 10;
};

/// An Engine with several containers, which it pauses, stops and starts.
class FreezesTest : public testing::Test {
 protected:
  FreezesTest() {
    tracker_.start();
    EXPECT_TRUE(wait([&] { return tracker_.connected(); }));
    begin();
  }
  ~FreezesTest() override {
    freezes_.reset();
    tracker_.stop();
  }
  /// As another process.
  void begin() {
    freezes_.reset();
    freezes_ = std::make_unique<Freezes>(
        Freezes::Parts{layout_, client_, tracker_, holds_, longest_silence_, look_, std::chrono::minutes(1)});
    freezes_->start();
  }
  static bool wait(const std::function<bool()>& until) { return test::wait(until, std::chrono::seconds(10)); }
  void change(const std::function<void(std::map<std::string, Container>&)>& how) {
    const std::lock_guard guard(mutex_);
    how(containers_);
  }
  std::vector<std::string> standing() {
    const std::lock_guard guard(mutex_);
    std::vector<std::string> all;
    for (const auto& [name, container] : containers_)
      if (container.paused || !container.running) all.push_back(name);
    return all;
  }
  bool is_stored() { return *ferry::exists(layout_.frozen() / id); }

  std::chrono::milliseconds longest_silence_ = std::chrono::minutes(1), look_{5};
  test::TemporaryDirectory directory_;
  const volumes::Layout layout_{directory_.path()};
  std::mutex mutex_;
  std::map<std::string, Container> containers_ = {// protected by mutex_
                                                  {"db", {"pg"}},
                                                  {"reader", {"pg", false}},
                                                  {"other", {"wal"}},
                                                  {"log", {"logs"}},
                                                  {"idle", {"pg", true, false}}};
  std::function<void()> on_pause_;  // protected by mutex_
  std::atomic<bool> is_away_{false};

 private:
  void serve(engine::testing::Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.44"));
    if (request.find("/events?") != std::string::npos) {
      connection.send(engine::testing::chunked);
      return connection.wait_for_end();
    }
    if (is_away_ || hangs(request)) return;
    const int life = starts();
    EXPECT_TRUE(wait([&] { return !keeps(request); }));
    connection.send(answer_to(request, life));
  }
  bool hangs(const std::string& request) {
    const std::lock_guard guard(mutex_);
    for (auto& [name, one] : containers_)
      if (request.find("/containers/" + name + "/pause") != std::string::npos) return std::exchange(one.hangs, false);
    return false;
  }
  bool keeps(const std::string& request) {
    const std::lock_guard guard(mutex_);
    return std::any_of(containers_.begin(), containers_.end(), [&](const auto& one) {
      const auto asks = [&](const std::string& what) {
        return request.find("/containers/" + one.first + "/" + what) != std::string::npos;
      };
      return (one.second.keeps && asks("unpause")) || (one.second.ends_late && asks("stop"));
    });
  }
  int starts() {
    const std::lock_guard guard(mutex_);
    int all = 0;
    for (const auto& [name, one] : containers_) all += one.starts;
    return all;
  }
  static json shown(const std::string& name, const Container& one) {
    const std::string status = one.paused ? "paused" : one.running ? "running" : "exited";
    return {{"Id", name},
            {"Names", {"/" + name}},
            {"Name", "/" + name},
            {"Status", status},
            {"StartedAt", "then"},
            {"Running", one.running},
            {"Paused", one.paused},
            {"Mounts", {{{"Type", "volume"}, {"Name", one.volume}, {"Destination", "/data"}, {"RW", one.rw}}}}};
  }
  /// `life`: after how many starts that was asked. What was to stop then is not what runs later.
  std::string answer_to(const std::string& request, int life) {
    const std::lock_guard guard(mutex_);
    if (request.find("/containers/json") != std::string::npos) {
      auto all = json::array();
      for (const auto& [name, one] : containers_) {
        if (!one.there) continue;
        auto listed = shown(name, one);
        listed["State"] = listed["Status"];
        all.push_back(listed);
      }
      return answer(200, all.dump());
    }
    if (request.find("/volumes") != std::string::npos) return answer(200, R"({"Volumes":[]})");
    for (auto& [name, one] : containers_) {
      const auto at = request.find("/containers/" + name + "/");
      if (at == std::string::npos || !one.there) continue;
      const auto from = at + 12 + name.size() + 1;
      const auto what = request.substr(from, request.find_first_of("?\n ", from) - from);
      if (what == "json" && one.looks-- == 0) return answer(500, R"({"message":"cannot look"})");
      const bool is_past = what == "stop" && one.starts > life;
      return is_past ? answer(204, "") : act(name, one, what);
    }
    return answer(404, R"({"message":"No such container"})");
  }
  std::string act(const std::string& name, Container& one, const std::string& what) {
    if (what == "json") {
      auto state = shown(name, one);
      return answer(200, json({{"Id", name},
                               {"Name", "/" + name},
                               {"State", state},
                               {"Config", {{"StopTimeout", one.stop_timeout}}},
                               {"HostConfig", {{"RestartPolicy", {{"Name", "no"}}}, {"AutoRemove", one.is_temporary}}}})
                             .dump());
    }
    if (what == "pause" || what == "unpause") {
      const bool wanted = what == "pause";
      if (wanted && one.fails) return answer(500, R"({"message":"cannot freeze"})");
      if (wanted && one.ends_instead) one.running = false;
      if (wanted && !one.running) return answer(409, R"({"message":"it does not run"})");
      if (one.paused == wanted) return answer(409, R"({"message":"it is so already"})");
      one.paused = wanted;
      if (wanted && on_pause_) on_pause_();
      return answer(204, "");
    }
    if (what == "stop") ++one.stops;
    if (what == "stop" && std::exchange(one.breaks_off, false)) return answer(500, R"({"message":"broken off"})");
    if (what == "start") ++one.starts;
    if (what == "start" && one.cannot_start) return answer(500, R"({"message":"port is taken"})");
    one.running = what == "start";
    return answer(204, "");
  }

 protected:
  engine::testing::ScriptedEngine http_{
      [this](engine::testing::Connection& connection, const std::string& request) { serve(connection, request); }};
  engine::Client client_{http_.path()};
  engine::Tracker tracker_{client_, [] {}};
  const ContainerHolds holds_{client_};
  std::unique_ptr<Freezes> freezes_;
};

TEST_F(FreezesTest, AllThatWriteToItsVolumesStandStillAndThenGoOn) {
  for (const auto kind : {FreezeKind::pause, FreezeKind::stop}) {
    const std::string one = kind == FreezeKind::pause ? id : std::string(32, 'b');
    const FreezeRequest request{{"pg", "wal"}, kind, std::chrono::minutes(1)};
    ASSERT_TRUE(freezes_->freeze(one, request).value_or(false));
    EXPECT_THAT(standing(), ElementsAre("db", "idle", "other"));
    EXPECT_EQ(freezes_->holds(one, "pg"), Freezes::Held::still);
    EXPECT_EQ(freezes_->holds(one, "wal"), Freezes::Held::still);
    EXPECT_EQ(freezes_->holds(one, "logs"), Freezes::Held::ended);
    EXPECT_TRUE(freezes_->freeze(one, request).value_or(false)) << "it is asked again";
    EXPECT_TRUE(freezes_->beat(one));
    EXPECT_TRUE(*ferry::exists(layout_.frozen() / one));
    EXPECT_TRUE(freezes_->thaw(one));
    EXPECT_THAT(standing(), ElementsAre("idle"));
    EXPECT_FALSE(*ferry::exists(layout_.frozen() / one));
    EXPECT_EQ(freezes_->holds(one, "pg"), Freezes::Held::ended);
    EXPECT_FALSE(freezes_->beat(one));
    EXPECT_EQ(freezes_->freeze(one, request).error().code, Code::already_exists) << "a late request";
  }
}

TEST_F(FreezesTest, OrNoneIfOneCannot) {
  change([](auto& all) { all["other"].fails = true; });
  EXPECT_FALSE(freezes_->freeze(id, {{"pg", "wal"}}));
  EXPECT_THAT(standing(), ElementsAre("idle"));
  EXPECT_FALSE(is_stored());
}

TEST_F(FreezesTest, OneThatBeginsToWriteMeanwhileStandsStillToo) {
  change([this](auto& all) { on_pause_ = [&] { all["idle"].running = true; }; });
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  EXPECT_THAT(standing(), ElementsAre("db", "idle"));
}

TEST_F(FreezesTest, WhatItsUserHasPausedStaysSo) {
  change([](auto& all) { all["db"].paused = true; });
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  EXPECT_TRUE(freezes_->thaw(id));
  EXPECT_THAT(standing(), ElementsAre("db", "idle"));
}

TEST_F(FreezesTest, ItHasNotLastedIfSomebodyLetsThemGoOn) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  change([](auto& all) { all["db"].paused = false; });
  EXPECT_FALSE(freezes_->thaw(id));
}

TEST_F(FreezesTest, NorIfAnotherOneBeginsToWrite) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  change([](auto& all) { all["idle"].running = true; });
  EXPECT_FALSE(freezes_->thaw(id));
  EXPECT_THAT(standing(), IsEmpty());
}

TEST_F(FreezesTest, ItEndsIfNothingIsHeard) {
  longest_silence_ = std::chrono::milliseconds(300);
  begin();
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_TRUE(freezes_->beat(id));
  }
  EXPECT_TRUE(wait([&] { return standing().size() == 1; }));
  EXPECT_FALSE(freezes_->beat(id));
  EXPECT_FALSE(freezes_->thaw(id));
}

TEST_F(FreezesTest, AndIfItLastsTooLong) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}, FreezeKind::pause, std::chrono::milliseconds(300)}));
  EXPECT_TRUE(wait([&] {
    (void)freezes_->beat(id);
    return standing().size() == 1;
  }));
}

TEST_F(FreezesTest, AnEngineThatIsAwayIsAskedUntilItIsBack) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  is_away_ = true;
  EXPECT_FALSE(freezes_->thaw(id));
  EXPECT_TRUE(is_stored());
  is_away_ = false;
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
}

TEST_F(FreezesTest, AnotherProcessLetsThemGoOn) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  const auto stored = *read_file(layout_.frozen() / id);
  begin();  // which ends it; so it is made as if that had been killed
  ASSERT_TRUE(write_file_atomically(layout_.frozen() / id, stored));
  change([](auto& all) { all["db"].paused = true; });
  begin();
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
}

/// The Engine carries on with it, so a container that goes on at once would end after that.
TEST_F(FreezesTest, AStopThatWasBrokenOffIsWaitedFor) {
  change([](auto& all) { all["db"].breaks_off = true; });
  EXPECT_FALSE(freezes_->freeze(id, {{"pg"}, FreezeKind::stop, std::chrono::minutes(1)}));
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
  change([](auto& all) { EXPECT_EQ(all["db"].stops, 2); });
}

/// It may be killed by its user only, or by an Engine that is slow; then it is not stopped and started again and again.
TEST_F(FreezesTest, WhoeverWaitsIsToldInTimeOfOneThatTakesTooLongToStop) {
  change([](auto& all) {
    all["db"].ends_late = true;
    all["db"].stop_timeout = 0;
  });
  const auto begun = freezes_->freeze(id, {{"pg"}, FreezeKind::stop, std::chrono::milliseconds(300)});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::busy);
  EXPECT_THAT(begun.error().message, HasSubstr("max-freeze"));
  EXPECT_TRUE(is_stored()) << "it is still being stopped";
  change([](auto& all) {
    EXPECT_TRUE(all["db"].running);
    all["db"].ends_late = false;
  });
  EXPECT_TRUE(wait([&] { return !is_stored(); }));
  change([](auto& all) {
    EXPECT_TRUE(all["db"].running);
    EXPECT_EQ(all["db"].starts, 1);
  });
}

TEST_F(FreezesTest, OneThatMayTakeTooLongToStopIsNotStopped) {
  const auto begun = freezes_->freeze(id, {{"pg"}, FreezeKind::stop, std::chrono::seconds(10)});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::unsupported);
  EXPECT_THAT(begun.error().message, AllOf(HasSubstr("10 s to end"), HasSubstr("max-freeze")));
  change([](auto& all) { EXPECT_EQ(all["db"].stops, 0); });
}

TEST_F(FreezesTest, NoneIsStoppedIfOneMustNot) {
  change([](auto& all) { all["other"].is_temporary = true; });
  const auto begun = freezes_->freeze(id, {{"pg", "wal"}, FreezeKind::stop, std::chrono::minutes(1)});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::unsupported);
  EXPECT_TRUE(wait([&] { return !is_stored(); }));
  change([](auto& all) { EXPECT_EQ(all["db"].stops + all["other"].stops, 0); });
}

/// Though it looks like one that is still being stopped: it has no restart policy, and runs.
TEST_F(FreezesTest, OneThatWasNotAskedToStopYetIsNotStoppedForAnother) {
  change([](auto& all) {
    all["db"].breaks_off = true;
    all["other"].looks = 3;  // of claim(), freeze() and note()
  });
  EXPECT_FALSE(freezes_->freeze(id, {{"pg", "wal"}, FreezeKind::stop, std::chrono::minutes(1)}));
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
  change([](auto& all) {
    EXPECT_LT(all["other"].looks, 0);
    EXPECT_EQ(all["db"].stops, 2);
    EXPECT_EQ(all["other"].stops, 0);
  });
}

/// It pauses it when it goes on, perhaps after it was told that it is to run.
TEST_F(FreezesTest, WhatAnEngineThatHangsPausesLateGoesOn) {
  change([](auto& all) { all["db"].hangs = true; });
  EXPECT_FALSE(freezes_->freeze(id, {{"pg"}, FreezeKind::pause, std::chrono::milliseconds(100)}));
  EXPECT_THAT(standing(), ElementsAre("idle"));
  EXPECT_TRUE(is_stored());
  change([](auto& all) { all["db"].paused = true; });
  EXPECT_TRUE(wait([&] { return standing().size() == 1; }));
}

/// Of the others it is known all the same.
TEST_F(FreezesTest, AlsoIfAnotherOneWasNotPausedAtAll) {
  change([](auto& all) {
    all["db"].hangs = true;
    all["other"].fails = true;
  });
  EXPECT_FALSE(freezes_->freeze(id, {{"pg", "wal"}, FreezeKind::pause, std::chrono::milliseconds(100)}));
  EXPECT_TRUE(is_stored());
  change([](auto& all) { all["db"].paused = true; });
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
}

/// Which has asked for it, and was killed.
TEST_F(FreezesTest, AlsoWhatAnotherProcessHasAskedFor) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  const auto stored = *read_file(layout_.frozen() / id);
  begin();
  ASSERT_TRUE(write_file_atomically(layout_.frozen() / id, stored));
  begin();
  std::this_thread::sleep_for(look_ * 20);
  EXPECT_TRUE(is_stored());
  change([](auto& all) { all["db"].paused = true; });
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
}

TEST_F(FreezesTest, WhoeverAsksKnowsThatSomethingWasHeld) {
  change([](auto& all) { all["db"].hangs = true; });
  const auto begun = freezes_->freeze(id, {{"pg"}, FreezeKind::pause, std::chrono::milliseconds(100)});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::io);
}

TEST_F(FreezesTest, WhatEndsMeanwhileIsNotPaused) {
  change([](auto& all) { all["db"].ends_instead = true; });
  const auto begun = freezes_->freeze(id, {{"pg", "wal"}});
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_TRUE(freezes_->thaw(id));
  change([](auto& all) {
    EXPECT_FALSE(all["db"].running) << "it has ended by itself";
    EXPECT_TRUE(all["other"].running && !all["other"].paused);
  });
}

/// Its user may do with it what they want, whatever keeps another one from running.
TEST_F(FreezesTest, WhatIsBackIsNotBroughtBackAgain) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg", "wal"}, FreezeKind::stop, std::chrono::minutes(1)}));
  change([](auto& all) { all["other"].cannot_start = true; });
  EXPECT_TRUE(freezes_->thaw(id)) << "that has lasted";
  EXPECT_TRUE(wait([&] { return standing() == std::vector<std::string>{"idle", "other"}; }));
  int starts = 0;
  change([&](auto& all) {
    all["db"].running = false;
    starts = all["other"].starts;
  });
  EXPECT_TRUE(holds_.claim("db")) << "it is not held any more";
  EXPECT_TRUE(wait([&] {
    const std::lock_guard guard(mutex_);
    return containers_["other"].starts > starts + 1;
  }));
  EXPECT_THAT(standing(), ElementsAre("db", "idle", "other"));
  begin();
  change([](auto& all) { all["other"].cannot_start = false; });
  EXPECT_TRUE(wait([&] { return !is_stored(); }));
  EXPECT_THAT(standing(), ElementsAre("db", "idle"));
}

TEST_F(FreezesTest, OneThatDoesNotGoOnKeepsNoOther) {
  longest_silence_ = std::chrono::milliseconds(200);
  begin();
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  ASSERT_TRUE(freezes_->freeze(std::string(32, 'b'), {{"wal"}}));
  change([](auto& all) { all["db"].keeps = true; });
  EXPECT_TRUE(wait([&] { return standing() == std::vector<std::string>{"db", "idle"}; }));
  change([](auto& all) { all["db"].keeps = false; });
  EXPECT_TRUE(wait([&] { return standing().size() == 1; }));
}

TEST_F(FreezesTest, WhatIsHeldForAMoveIsNotFrozenAndTheOtherWayRound) {
  const auto db = *holds_.note("db");
  auto claim = holds_.claim(db);
  ASSERT_TRUE(claim);
  EXPECT_EQ(freezes_->freeze(id, {{"pg"}}).error().code, Code::unavailable);
  EXPECT_THAT(standing(), ElementsAre("idle"));
  claim->reset();
  const std::string other(32, 'b');
  ASSERT_TRUE(freezes_->freeze(other, {{"pg"}}));
  EXPECT_EQ(holds_.claim("db").error().code, Code::unavailable);
  EXPECT_TRUE(freezes_->thaw(other));
  EXPECT_TRUE(holds_.claim("db"));
}

TEST_F(FreezesTest, WhatIsWatchedIsNotHeld) {
  const FreezeRequest request{{"unused", "more"}, FreezeKind::watch, std::chrono::milliseconds(0)};
  EXPECT_FALSE(freezes_->freeze(id, request).value_or(true));
  EXPECT_EQ(freezes_->holds(id, "more"), Freezes::Held::idle);
  EXPECT_TRUE(freezes_->beat(id)) << "however long it lasts";
  EXPECT_TRUE(freezes_->thaw(id));
  const std::string other(32, 'b');
  EXPECT_EQ(freezes_->freeze(other, {{"unused", "pg"}, FreezeKind::watch}).error().code, Code::busy);
  EXPECT_THAT(standing(), ElementsAre("idle"));
}

TEST_F(FreezesTest, AWatchHasNotLastedIfSomebodyBeginsToWrite) {
  EXPECT_EQ(freezes_->freeze(id, {{"logs", "more"}, FreezeKind::watch}).error().code, Code::busy);
  const std::string other(32, 'b');
  change([](auto& all) { all["log"].running = false; });
  ASSERT_TRUE(freezes_->freeze(other, {{"logs", "more"}, FreezeKind::watch}));
  change([](auto& all) { all["log"].running = true; });
  EXPECT_FALSE(freezes_->thaw(other));
}

TEST_F(FreezesTest, NothingStandsStillForAProcessThatEnds) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  freezes_->stop();
  EXPECT_THAT(standing(), ElementsAre("idle"));
  EXPECT_EQ(freezes_->freeze(std::string(32, 'c'), {{"pg"}}).error().code, Code::unavailable);
}

TEST_F(FreezesTest, ARemovedContainerKeepsNobody) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  change([](auto& all) { all["db"].there = false; });
  EXPECT_FALSE(freezes_->thaw(id));
  EXPECT_FALSE(is_stored());
}

TEST_F(FreezesTest, WhereNobodyWritesNothingStandsStill) {
  const auto frozen = freezes_->freeze(id, {{"unused"}});
  ASSERT_TRUE(frozen);
  EXPECT_FALSE(*frozen);
  EXPECT_FALSE(*freezes_->freeze(id, {{"unused"}})) << "it is asked again";
  EXPECT_EQ(freezes_->holds(id, "unused"), Freezes::Held::idle);
  EXPECT_THAT(standing(), ElementsAre("idle"));
  EXPECT_TRUE(freezes_->thaw(id));
}

}  // namespace
}  // namespace ferry::migration
