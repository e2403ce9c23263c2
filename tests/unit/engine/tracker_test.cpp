#include "engine/tracker.h"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using namespace std::chrono_literals;
using testing::answer;
using testing::chunk;
using testing::chunked;
using testing::Connection;
using testing::golden;
using testing::ping;
using testing::ScriptedEngine;

constexpr TrackerPace quick{
    .first_retry = 10ms, .last_retry = 50ms, .settle = 5ms, .second_look = 20ms, .resync = 10min};

/// An engine whose listings and events the test sets while it runs.
class TrackerTest : public ::testing::Test {
 protected:
  void script(Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    if (request.find("/events?") != std::string::npos) return stream(connection);
    const bool volumes = request.find("/volumes") != std::string::npos;
    if (volumes) std::this_thread::sleep_for(volumes_take_);
    const std::lock_guard lock(mutex_);
    if (volumes) {
      ++volume_listings_;
      return connection.send(volumes_);
    }
    ++container_listings_;
    containers_listed_.push_back(SteadyClock::now());
    connection.send(containers_);
  }

  void stream(Connection& connection) {
    connection.send(chunked);
    std::unique_lock lock(mutex_);
    const int stream = ++streams_;
    for (auto next = events_.size(); ended_ < stream && !connection.ended();) {
      if (next < events_.size())
        connection.send(chunk(events_[next++]));
      else
        changed_.wait_for(lock, 5ms);
    }
  }

  void send_event(const std::string& type, const std::string& action, const std::string& id,
                  const std::string& attributes = "") {
    const std::lock_guard lock(mutex_);
    events_.push_back(R"({"Type":")" + type + R"(","Action":")" + action + R"(","Actor":{"ID":")" + id +
                      R"(","Attributes":{)" + attributes + "}}}\n");
    changed_.notify_all();
  }

  void end_events() {
    const std::lock_guard lock(mutex_);
    ended_ = streams_;
    changed_.notify_all();
  }

  void set_listings(const std::string& volumes, const std::string& containers) {
    const std::lock_guard lock(mutex_);
    volumes_ = volumes;
    containers_ = containers;
  }

  int container_listings() {
    const std::lock_guard lock(mutex_);
    return container_listings_;
  }

  int volume_listings() {
    const std::lock_guard lock(mutex_);
    return volume_listings_;
  }

  void start_engine() {
    engine_.emplace([this](Connection& connection, const std::string& request) { script(connection, request); });
    client_.emplace(engine_->path());
  }

  void start(TrackerPace pace = quick) {
    if (!engine_) start_engine();
    tracker_.emplace(
        *client_, [this] { ++changes_; }, pace);
    tracker_->start();
  }

  /// Once the volumes have been listed, no event makes the tracker list them again for so long.
  void start_with_rest(std::chrono::milliseconds rest) {
    volumes_take_ = 5ms;
    auto pace = quick;
    pace.rest = 1'000'000;
    pace.longest_rest = rest;
    start(pace);
  }

  static bool eventually(const std::function<bool()>& condition) {
    for (const auto deadline = after(10s); SteadyClock::now() < deadline; std::this_thread::sleep_for(1ms))
      if (condition()) return true;
    return false;
  }
  Mounted began(const std::string& volume, std::uint64_t mark) {
    return tracker_->mount_rw_began_since(volume, mark, 1);
  }
  bool connects() {
    return eventually([this] { return tracker_->connected(); });
  }

  const std::string id_ = std::string(64, 'a');
  const std::string mount_ = R"("container":")" + id_ + R"(","destination":"/d","read/write":"true")";
  std::atomic<int> changes_ = 0;
  std::chrono::milliseconds volumes_take_{0};  // set before start()

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
  std::vector<Deadline> containers_listed_;  // when
  int streams_ = 0, ended_ = 0, volume_listings_ = 0, container_listings_ = 0;
  std::string volumes_ = answer(200, golden("28.5", "volumes.json"));
  std::string containers_ = answer(200, golden("28.5", "containers.json"));

  std::optional<ScriptedEngine> engine_;
  std::optional<Client> client_;
  std::optional<Tracker> tracker_;
};

TEST_F(TrackerTest, KnowsWhatWasThereBefore) {
  start();
  ASSERT_TRUE(connects());
  const auto facts = tracker_->facts("pgdata");
  EXPECT_EQ(facts.labels.value().at("a,b"), "c d");
  EXPECT_EQ(facts.mounts.size(), 2U);
  EXPECT_EQ(began("pgdata", tracker_->mark()), Mounted::no) << "it was there before";
  EXPECT_TRUE(eventually([this] { return changes_ > 0; }));
}

TEST_F(TrackerTest, AnEventMakesItListAgainAndTwice) {
  start();
  ASSERT_TRUE(connects());
  ASSERT_TRUE(eventually([this] { return container_listings() >= 2; }));
  set_listings(answer(200, R"({"Volumes":[{"Name":"new","Labels":{"l":"1"}}]})"), answer(200, "[]"));
  send_event("volume", "create", "new");
  EXPECT_TRUE(eventually([this] { return tracker_->facts("new").labels.has_value(); }));
  const auto before = container_listings();
  send_event("container", "die", id_);
  EXPECT_TRUE(eventually([this] { return tracker_->facts("pgdata").mounts.empty(); }));
  EXPECT_TRUE(eventually([&] { return container_listings() >= before + 2; }));
}

TEST_F(TrackerTest, AMountThatIsOverBeforeItCouldBeListedIsNotMissed) {
  start();
  ASSERT_TRUE(connects());
  const auto mark = tracker_->mark();
  EXPECT_EQ(began("scratch", mark), Mounted::no);
  send_event("volume", "mount", "scratch", mount_);
  send_event("volume", "unmount", "scratch", mount_);
  EXPECT_TRUE(eventually([&] { return began("scratch", mark) == Mounted::yes; }));
  EXPECT_TRUE(eventually([&] {
    const auto mounts = tracker_->facts("scratch").mounts;
    return std::none_of(mounts.begin(), mounts.end(), [](const auto& mount) { return mount.running; });
  }));
}

TEST_F(TrackerTest, BurstsShareListings) {
  start();
  ASSERT_TRUE(connects());
  for (int i = 0; i < 1000; ++i) send_event("container", "pause", id_);
  send_event("volume", "mount", "last", mount_);
  ASSERT_TRUE(eventually([this] { return !tracker_->facts("last").mounts.empty(); }));
  EXPECT_LT(container_listings(), 500);
}

TEST_F(TrackerTest, ABurstListsTheVolumesOnceMoreAfterARest) {
  constexpr auto rest = 500ms;
  volumes_take_ = rest / quick.rest;
  start();
  ASSERT_TRUE(connects());
  const auto began = SteadyClock::now();
  set_listings(answer(200, R"({"Volumes":[{"Name":"new","Labels":{}}]})"), answer(200, "[]"));
  for (int i = 0; i < 40; ++i) {
    send_event("volume", "create", "new");
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_LE(volume_listings(), 2 + (SteadyClock::now() - began) / rest);
  EXPECT_TRUE(eventually([this] { return tracker_->facts("new").labels.has_value(); }));
}

TEST_F(TrackerTest, WhatIsDeclaredAnewHasNoLabelsUntilItIsListed) {
  start_with_rest(1000ms);
  ASSERT_TRUE(connects());
  ASSERT_TRUE(tracker_->facts("pgdata").labels);
  set_listings(answer(200, R"({"Volumes":[{"Name":"pgdata","Labels":{"l":"1"}}]})"), containers_);
  send_event("volume", "destroy", "pgdata");
  send_event("volume", "create", "pgdata");
  EXPECT_TRUE(eventually([this] { return !tracker_->facts("pgdata").labels.has_value(); }));
  EXPECT_TRUE(eventually([this] { return tracker_->facts("pgdata").labels.has_value(); }));
  EXPECT_EQ(tracker_->facts("pgdata").labels->at("l"), "1");
}

TEST_F(TrackerTest, AListingOfVolumesDoesNotHastenTheSecondLook) {
  volumes_take_ = 5ms;
  auto pace = quick;
  pace.rest = 20;
  pace.second_look = 500ms;
  start(pace);
  ASSERT_TRUE(connects());
  ASSERT_TRUE(eventually([this] { return container_listings() >= 2; }));
  const auto volumes_before = volume_listings();
  send_event("volume", "create", "new");
  ASSERT_TRUE(eventually([&] { return volume_listings() > volumes_before; }));
  const auto before = container_listings();
  send_event("volume", "create", "other");  // which has to wait for the rest's end
  send_event("container", "die", id_);
  ASSERT_TRUE(eventually([&] { return container_listings() >= before + 2; }));
  const std::lock_guard lock(mutex_);
  EXPECT_GE(containers_listed_[before + 1] - containers_listed_[before], pace.second_look);
}

TEST_F(TrackerTest, ContainersAreListedWhileTheVolumesRest) {
  start_with_rest(10min);
  ASSERT_TRUE(connects());
  ASSERT_TRUE(eventually([this] { return container_listings() >= 2; }));
  const auto before = volume_listings();
  send_event("volume", "create", "new");
  set_listings(volumes_, answer(200, "[]"));
  send_event("container", "die", id_);
  EXPECT_TRUE(eventually([this] { return tracker_->facts("pgdata").mounts.empty(); }));
  EXPECT_EQ(volume_listings(), before);
}

TEST_F(TrackerTest, AnEndedStreamIsAGapAndIsFollowedAnew) {
  start();
  ASSERT_TRUE(connects());
  const auto mark = tracker_->mark();
  end_events();
  ASSERT_TRUE(eventually([&] { return began("plain", mark) == Mounted::unknown; }));
  ASSERT_TRUE(connects());
  EXPECT_EQ(began("plain", mark), Mounted::unknown);
  EXPECT_EQ(began("plain", tracker_->mark()), Mounted::no);
}

TEST_F(TrackerTest, SurvivesTheEnginesRestart) {
  start();
  ASSERT_TRUE(connects());
  engine_->stop();
  ASSERT_TRUE(eventually([this] { return !tracker_->connected(); }));
  EXPECT_TRUE(tracker_->facts("pgdata").labels) << "the last knowledge stays";
  engine_->start();
  EXPECT_TRUE(connects());
}

TEST_F(TrackerTest, IsNotConnectedAsLongAsListingFails) {
  set_listings(answer(500, "{}"), containers_);
  start();
  ASSERT_TRUE(eventually([this] { return container_listings() >= 3; }));
  EXPECT_FALSE(tracker_->connected());
  set_listings(answer(200, golden("28.5", "volumes.json")), containers_);
  EXPECT_TRUE(connects());
}

TEST_F(TrackerTest, StopsWhileItFollows) {
  start();
  ASSERT_TRUE(connects());
  const auto begin = SteadyClock::now();
  tracker_->stop();
  EXPECT_LT(SteadyClock::now() - begin, 1s);
  tracker_->stop();
  EXPECT_FALSE(tracker_->connected());
}

TEST_F(TrackerTest, StopsWhileTheEngineBoots) {
  engine_.emplace([](Connection& connection, const std::string&) { connection.wait_for_end(); });
  client_.emplace(engine_->path());
  start();
  ASSERT_TRUE(eventually([this] { return !engine_->requests().empty(); }));
  const auto begin = SteadyClock::now();
  tracker_->stop();
  EXPECT_LT(SteadyClock::now() - begin, 1s);
}

TEST_F(TrackerTest, StopsAtAnyInstant) {
  start_engine();
  for (int i = 0; i < 50; ++i) {
    start();
    std::this_thread::sleep_for(std::chrono::microseconds(i * 200));
    tracker_.reset();
  }
}

TEST_F(TrackerTest, RunsWithoutAnEngine) {
  client_.emplace("/nonexistent/docker.sock");
  tracker_.emplace(
      *client_, [this] { ++changes_; }, quick);
  tracker_->start();
  std::this_thread::sleep_for(100ms);
  EXPECT_FALSE(tracker_->connected());
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(began("v", tracker_->mark()), Mounted::unknown);
}

}  // namespace
}  // namespace ferry::engine
