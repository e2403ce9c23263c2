#include "migration/freezes.h"

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "base/files.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

const std::string id(32, 'a');

struct Container {
  std::string volume;
  bool rw = true, running = true, paused = false, there = true;
  bool fails = false;       ///< to be paused
  bool breaks_off = false;  ///< the next stop
  bool hangs = false;       ///< the next pause is not answered
  bool keeps = false;       ///< standing still, as long as this is so
  int stops = 0;
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
  static bool wait(const std::function<bool()>& until) {
    const Deadline deadline = after(std::chrono::seconds(10));
    while (!until() && SteadyClock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return until();
  }
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
    EXPECT_TRUE(wait([&] { return !keeps(request); }));
    connection.send(answer_to(request));
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
      return one.second.keeps && request.find("/containers/" + one.first + "/unpause") != std::string::npos;
    });
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
  std::string answer_to(const std::string& request) {
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
      return act(name, one, request.substr(from, request.find_first_of("?\n", from) - from));
    }
    return answer(404, R"({"message":"No such container"})");
  }
  std::string act(const std::string& name, Container& one, const std::string& what) {
    if (what == "json") {
      auto state = shown(name, one);
      return answer(200, json({{"Id", name},
                               {"Name", "/" + name},
                               {"State", state},
                               {"HostConfig", {{"RestartPolicy", {{"Name", "no"}}}}}})
                             .dump());
    }
    if (what == "pause" || what == "unpause") {
      const bool wanted = what == "pause";
      if (wanted && one.fails) return answer(500, R"({"message":"cannot freeze"})");
      if (one.paused == wanted) return answer(409, R"({"message":"it is so already"})");
      one.paused = wanted;
      if (wanted && on_pause_) on_pause_();
      return answer(204, "");
    }
    if (what == "stop") ++one.stops;
    if (what == "stop" && std::exchange(one.breaks_off, false)) return answer(500, R"({"message":"broken off"})");
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
    ASSERT_TRUE(freezes_->freeze(one, {{"pg", "wal"}, kind}));
    EXPECT_THAT(standing(), ElementsAre("db", "idle", "other"));
    EXPECT_TRUE(freezes_->holds(one, "pg") && freezes_->holds(one, "wal") && !freezes_->holds(one, "logs"));
    EXPECT_TRUE(freezes_->freeze(one, {{"pg", "wal"}, kind})) << "it is asked again";
    EXPECT_TRUE(freezes_->beat(one));
    EXPECT_TRUE(*ferry::exists(layout_.frozen() / one));
    const auto lasted = freezes_->thaw(one);
    ASSERT_TRUE(lasted) << lasted.error().message;
    EXPECT_TRUE(*lasted);
    EXPECT_THAT(standing(), ElementsAre("idle"));
    EXPECT_FALSE(*ferry::exists(layout_.frozen() / one));
    EXPECT_FALSE(freezes_->holds(one, "pg") || freezes_->beat(one));
    EXPECT_EQ(freezes_->freeze(one, {{"pg", "wal"}, kind}).error().code, Code::already_exists) << "a late request";
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
  EXPECT_TRUE(*freezes_->thaw(id));
  EXPECT_THAT(standing(), ElementsAre("db", "idle"));
}

TEST_F(FreezesTest, ItHasNotLastedIfSomebodyLetsThemGoOn) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  change([](auto& all) { all["db"].paused = false; });
  EXPECT_FALSE(*freezes_->thaw(id));
}

TEST_F(FreezesTest, NorIfAnotherOneBeginsToWrite) {
  ASSERT_TRUE(freezes_->freeze(id, {{"pg"}}));
  change([](auto& all) { all["idle"].running = true; });
  EXPECT_FALSE(*freezes_->thaw(id));
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
  EXPECT_FALSE(*freezes_->thaw(id));
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
  EXPECT_FALSE(freezes_->freeze(id, {{"pg"}, FreezeKind::stop}));
  EXPECT_TRUE(wait([&] { return standing().size() == 1 && !is_stored(); }));
  change([](auto& all) { EXPECT_EQ(all["db"].stops, 2); });
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
  EXPECT_TRUE(*freezes_->thaw(other));
  EXPECT_TRUE(holds_.claim("db"));
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
  EXPECT_FALSE(*freezes_->thaw(id));
  EXPECT_FALSE(is_stored());
}

TEST_F(FreezesTest, WhereNobodyWritesNothingStandsStill) {
  ASSERT_TRUE(freezes_->freeze(id, {{"unused"}}));
  EXPECT_THAT(standing(), ElementsAre("idle"));
  EXPECT_TRUE(*freezes_->thaw(id));
}

}  // namespace
}  // namespace ferry::migration
