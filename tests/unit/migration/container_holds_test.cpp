#include "migration/container_holds.h"

#include <gmock/gmock.h>

#include <functional>
#include <mutex>

#include "support/scripted_engine.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using engine::testing::Connection;
using engine::testing::golden;
using engine::testing::ScriptedEngine;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// An Engine with one container, which it shows as a recorded one but for what happens to it.
class ContainerHoldsTest : public testing::Test {
 protected:
  json container_ = json::parse(golden("26.1", "service.json"));  // runs, unless-stopped
  int starts_ = 0;
  bool is_there_ = true;
  bool starts_by_itself_ = false;
  std::mutex mutex_;

  std::string answer_to(const std::string& request) {
    const std::lock_guard guard(mutex_);
    if (request.starts_with("GET /_ping")) return engine::testing::ping("1.41");
    if (!is_there_) return answer(404, R"({"message":"No such container"})");
    auto& state = container_["State"];
    const auto run = [&](bool running) {
      const bool was = state["Running"];
      state["Running"] = running;
      state["Status"] = running ? "running" : "exited";
      if (running && !was) state["StartedAt"] = "start " + std::to_string(++starts_);
      return was == running ? answer(304, "") : answer(204, "");
    };
    if (request.starts_with("GET ")) return answer(200, container_.dump());
    if (request.find("/start\n") != std::string::npos) return run(true);
    if (request.find("/stop\n") != std::string::npos) {
      const std::string answered = run(false);
      if (starts_by_itself_) run(true);
      return answered;
    }
    if (request.find("/update\n") != std::string::npos) {
      container_["HostConfig"].update(json::parse(request.substr(request.find('\n') + 1)));
      return answer(200, R"({"Warnings":null})");
    }
    return answer(500, R"({"message":"what?"})");
  }
  void change(const std::function<void(json&)>& how) {
    const std::lock_guard guard(mutex_);
    how(container_);
  }
  /// What was changed, in the order of the requests.
  std::vector<std::string> changes() const {
    std::vector<std::string> changes;
    for (const auto& request : engine_.requests())
      if (request.starts_with("POST ")) changes.push_back(request.substr(request.rfind('/', request.find('\n')) + 1));
    return changes;
  }
  /// But for when it was started.
  json now() {
    const std::lock_guard guard(mutex_);
    json container = container_;
    container["State"].erase("StartedAt");
    return container;
  }
  bool is_running() { return now()["State"]["Running"]; }
  json policy() { return now()["HostConfig"]["RestartPolicy"]; }

  ScriptedEngine engine_{
      [this](Connection& connection, const std::string& request) { connection.send(answer_to(request)); }};
  engine::Client client_{engine_.path()};
  const ContainerHolds holds_{client_};
};

TEST_F(ContainerHoldsTest, ItIsStoppedAndBroughtBackAsItWas) {
  const json before = now();
  auto noted = holds_.note("service");
  ASSERT_TRUE(noted) << noted.error().message;
  EXPECT_THAT(changes(), IsEmpty());
  const HeldContainer held = held_container_of(json::parse(to_json(*noted).dump()));  // in another process, say
  ASSERT_TRUE(holds_.hold(held));
  EXPECT_FALSE(is_running());
  EXPECT_THAT(changes(), ElementsAre("update\n{\"RestartPolicy\":{\"Name\":\"no\"}}", "stop\n"))
      << "first it cannot come back, then it ends";
  EXPECT_TRUE(*holds_.is_held(held));
  ASSERT_TRUE(holds_.release(held));
  EXPECT_EQ(now(), before);
  EXPECT_FALSE(*holds_.is_held(held));
}

TEST_F(ContainerHoldsTest, EachStepCanBeRepeated) {
  const json before = now();
  const auto held = *holds_.note("service");
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(holds_.hold(held));
  EXPECT_TRUE(*holds_.is_held(held));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(holds_.release(held));
  EXPECT_EQ(now(), before);
}

TEST_F(ContainerHoldsTest, OneThatDidNotRunIsNotStarted) {
  change([](json& container) {
    container["State"]["Running"] = false;
    container["State"]["Status"] = "exited";
  });
  const auto held = *holds_.note("service");
  ASSERT_TRUE(holds_.hold(held));
  EXPECT_EQ(policy()["Name"], "no") << "a start of the Engine would bring it back";
  ASSERT_TRUE(holds_.release(held));
  EXPECT_FALSE(is_running());
  EXPECT_EQ(policy()["Name"], "unless-stopped");
}

TEST_F(ContainerHoldsTest, APolicyThatIsOffStaysAsItIs) {
  for (const char* name : {"no", ""}) {
    change([&](json& container) {
      container["HostConfig"]["RestartPolicy"] = {{"Name", name}, {"MaximumRetryCount", 0}};
    });
    const json before = now();
    const auto held = *holds_.note("service");
    ASSERT_TRUE(holds_.hold(held));
    ASSERT_TRUE(holds_.release(held));
    EXPECT_EQ(now(), before);
  }
  EXPECT_THAT(changes(), ElementsAre("stop\n", "start\n", "stop\n", "start\n"));
}

TEST_F(ContainerHoldsTest, WhatSomebodyHasDoneMeanwhileStays) {
  const auto held = *holds_.note("service");
  ASSERT_TRUE(holds_.hold(held));
  change([](json& container) {
    container["HostConfig"]["RestartPolicy"] = {{"Name", "on-failure"}, {"MaximumRetryCount", 3}};
  });
  EXPECT_FALSE(*holds_.is_held(held)) << "a start of the Engine may start it";
  ASSERT_TRUE(holds_.release(held));
  EXPECT_EQ(policy()["Name"], "on-failure");
  {
    const std::lock_guard guard(mutex_);
    is_there_ = false;
  }
  EXPECT_FALSE(*holds_.is_held(held));
  EXPECT_TRUE(holds_.release(held));
}

TEST_F(ContainerHoldsTest, OneThatHasRunMeanwhileIsNotHeld) {
  const auto held = *holds_.note("service");
  ASSERT_TRUE(holds_.hold(held));
  const engine::Containers user(client_);
  ASSERT_TRUE(user.start(held.id));
  ASSERT_TRUE(user.stop(held.id, std::chrono::seconds(5)));
  EXPECT_FALSE(*holds_.is_held(held)) << "it may have written what is not copied";
}

TEST_F(ContainerHoldsTest, OneThatComesBackIsNotHeld) {
  const auto held = *holds_.note("service");
  {
    const std::lock_guard guard(mutex_);
    starts_by_itself_ = true;
  }
  const auto done = holds_.hold(held);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::busy);
  EXPECT_THAT(done.error().message, HasSubstr("service was started again"));
}

TEST_F(ContainerHoldsTest, WhatCannotBeBroughtBackIsRefused) {
  change([](json& container) { container["HostConfig"]["AutoRemove"] = true; });
  EXPECT_EQ(holds_.note("service").error().code, Code::unsupported);
  change([](json& container) { container["HostConfig"]["AutoRemove"] = false; });
  for (const char* status : {"paused", "restarting", "removing", "dead"}) {
    change([&](json& container) {
      container["State"]["Status"] = status;
      container["State"]["Paused"] = status == std::string("paused");
    });
    const auto noted = holds_.note("service");
    ASSERT_FALSE(noted) << status;
    EXPECT_EQ(noted.error().code, Code::busy);
    EXPECT_THAT(noted.error().message, HasSubstr(status));
  }
  {
    const std::lock_guard guard(mutex_);
    is_there_ = false;
  }
  EXPECT_THAT(holds_.note("service").error().message, HasSubstr("there is no container \"service\""));
  EXPECT_THAT(changes(), IsEmpty());
}

}  // namespace
}  // namespace ferry::migration
