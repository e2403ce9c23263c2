#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "base/files.h"
#include "fake_peer.h"
#include "migration/layer_place.h"
#include "migration/migration_record.h"
#include "migration/ticket_job.h"
#include "migration/ticket_kind.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"
#include "support/wait.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;
using engine::testing::answer;
using hand_off::Answer;
using hand_off::Request;
using nlohmann::json;
using testing::HasSubstr;
using volumes::State;

const std::string first_id(32, 'a');

/// An Engine with one container, which was made for a service and can be started, named and removed.
class ContainerEngine {
 public:
  explicit ContainerEngine(fs::path upper) : upper_(std::move(upper)) { fs::create_directories(upper_); }

  struct Container {
    std::string name = "ferry-" + first_id, health;
    bool exists = true, running = false, has_run = false;
    bool stays = false;  ///< it cannot be removed
  };
  Container container() const {
    const std::lock_guard guard(mutex_);
    return container_;
  }
  void change(const std::function<void(Container&)>& change) {
    const std::lock_guard guard(mutex_);
    change(container_);
  }
  /// The next so many requests are not answered.
  void be_away(int requests) { away_ = requests; }
  /// Called before a rename is answered.
  void on_rename(std::function<void()> hook) {
    const std::lock_guard guard(mutex_);
    on_rename_ = std::move(hook);
  }
  /// Called before anything is answered.
  void on_look(std::function<void()> hook) {
    const std::lock_guard guard(mutex_);
    on_look_ = std::move(hook);
  }
  fs::path socket() const { return http_.path(); }

 private:
  void serve(engine::testing::Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.44"));
    if (away_ > 0 && --away_ >= 0) return;
    connection.send(answer_to(request));
  }
  std::string answer_to(const std::string& request) {
    const std::lock_guard guard(mutex_);
    if (on_look_) on_look_();
    if (request.find("/containers/made") == std::string::npos) return answer(404, R"({"message":"page not found"})");
    if (!container_.exists) return answer(404, R"({"message":"No such container: made"})");
    if (request.starts_with("DELETE")) {
      if (container_.stays) return answer(409, R"({"message":"removal of container made is already in progress"})");
      container_.exists = false;
      return answer(204, "");
    }
    if (request.find("/start\n") != std::string::npos) {
      container_.running = container_.has_run = true;
      return answer(204, "");
    }
    if (const auto at = request.find("/rename?name="); at != std::string::npos) {
      if (on_rename_) on_rename_();
      container_.name = request.substr(at + 13, request.find('\n') - at - 13);
      return answer(204, "");
    }
    json state = {{"Running", container_.running},
                  {"Status", container_.running ? "running" : "created"},
                  {"StartedAt", container_.has_run ? "2026-11-30T10:00:00Z" : "0001-01-01T00:00:00Z"}};
    if (!container_.health.empty()) state["Health"] = {{"Status", container_.health}};
    return answer(200, json({{"Id", "made"},
                             {"Name", "/" + container_.name},
                             {"State", state},
                             {"GraphDriver", {{"Name", "overlay2"}, {"Data", {{"UpperDir", upper_.string()}}}}}})
                           .dump());
  }

  const fs::path upper_;
  mutable std::mutex mutex_;
  Container container_;                        // protected by mutex_
  std::function<void()> on_rename_, on_look_;  // protected by mutex_
  std::atomic<int> away_{0};
  engine::testing::ScriptedEngine http_{
      [this](engine::testing::Connection& connection, const std::string& request) { serve(connection, request); }};
};

/// The destination of a service that has one volume, pg, and a layer, of which its container is made already.
class ServiceTicketTest : public testing::Test {
 protected:
  ServiceTicketTest() {
    host_.root = directory_ / "source";
    fs::create_directories(host_.root);
    std::ofstream(host_.root / "file") << "content";
    host_.description.volume = "pg";
    host_.description.lineage = "lineage";
    host_.on_hand_off = [this](const std::string& id, Request request, const HandOffRequest& wanted) {
      return source(id, request, wanted);
    };
    plan_.request = {{"a", 7766}, {{"pg", "pg"}}, {}, false, false};
    plan_.request.move = true;
    plan_.peer_uuid = "other-host";
    plan_.volumes = {{"pg", "create", host_.description, "lineage"}};
    plan_.hand_off = first_id;
    plan_.service.emplace();
    plan_.service->options.container = "db";
    plan_.service->container = "at the source";
    plan_.service->made = "made";
    plan_.service->store = "overlay2";
    plan_.request.terms.rounds.max_downtime_ms = 60'000;  // one round, however slow the machine
    volumes::VolumeRecord volume;                         // as the Engine has made the container with it
    volume.name = "pg";
    volume.created = volume.lineage = "x";
    volume.import = {{TicketCommit::made_for, "move-db"}};
    EXPECT_TRUE(catalogue_->create(volume));
    std::ofstream(catalogue_->layout().data("pg") / "copied-up") << "of the image";
    EXPECT_TRUE(catalogue_->create(new_ticket("move-db", to_json(plan_), nullptr)));
    pauses_.question = pauses_.trouble = pauses_.heartbeat = pauses_.health = std::chrono::milliseconds(10);
  }
  ~ServiceTicketTest() override { end(); }

  /// As the source answers that holds and gives what it is asked for.
  Result<Answer> source(const std::string& id, Request request, const HandOffRequest& wanted) {
    const std::lock_guard guard(mutex_);
    if (refused_ == request) return fail(Code::unavailable, "not now");
    if (request == Request::hold && held_ != id) {
      if (on_held_) on_held_();
      if (is_cancelled_ && !wanted.after.empty()) return fail(Code::denied, "cancelled at its source");
      afters_.push_back(wanted.after);
      held_ = id;
      lost_ = false;
    }
    if (request == Request::commit && reclaimed_) return Answer::reclaimed;
    if (request == Request::commit && commits_lost_ > 0) {
      --commits_lost_;
      lost_ = true;
    }
    if (id != held_ || lost_) return Answer::gone;
    if (request == Request::release) lost_ = true;
    if (request == Request::commit && !std::exchange(given_, true) && on_given_) on_given_();
    return given_ ? Answer::given : lost_ ? Answer::gone : Answer::held;
  }
  template <class T>
  T locked(const T& value) const {
    const std::lock_guard guard(mutex_);
    return value;
  }

  void begin() {
    const TicketJob::Environment environment{
        *catalogue_,
        [this](const std::string&) -> Result<engine::Mounted> {
          if (does_not_tell_ && !locked(held_).empty()) return fail(Code::unavailable, "the Engine does not tell");
          return engine::Mounted::no;
        },
        [this](volumes::VolumeRecord record) { return catalogue_->create(std::move(record)); },
        [] {},
        [](const std::string&) { return std::string(); },
        [](const FenceRequest&) { return Result<FenceAnswer>(FenceAnswer{}); },
        7766,
        pauses_,
        [this](const TicketPlan& plan) {
          return std::make_unique<ServiceEnd>(
              ServiceEnd::Parts{*catalogue_, client_,
                                [this](const std::string& path) {
                                  return Result<fs::path>(seen_upper_.empty() ? fs::path(path) : seen_upper_);
                                },
                                [this](const std::string&) { return Result<fs::path>(local_); },
                                [this](const std::string&) {
                                  return Result<engine::Mounted>(local_is_mounted_ ? engine::Mounted::yes
                                                                                   : engine::Mounted::no);
                                }},
              "move-db", plan);
        },
        [this] { return std::make_shared<FakePeer>(host_); }};
    job_ = std::make_unique<TicketJob>(environment, "move-db", *ticket_plan(catalogue_->find("move-db")->import),
                                       std::make_shared<FakePeer>(host_));
    job_->start();
  }
  void end() {
    host_.release();
    job_.reset();
  }
  /// As another process finds it.
  void restart() {
    end();
    catalogue_.reset();
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
    host_.released = false;
  }
  static bool wait(const std::function<bool()>& until) { return test::wait(until, std::chrono::seconds(20)); }
  json wait_ended() {
    EXPECT_TRUE(wait([&] { return job_->has_outcome(); })) << job_->status().dump(1);
    return job_->status();
  }
  std::vector<std::string> steps() const {
    std::vector<std::string> all;
    const json status = job_->status();
    for (const auto& step : status["service"]["steps"]) all.push_back(step["step"]);
    return all;
  }
  bool is_here() const {
    const auto record = catalogue_->find("pg");
    return record && record->state == State::ready &&
           read_file(catalogue_->layout().data("pg") / "file").value_or("") == "content" &&
           !fs::exists(catalogue_->layout().data("pg") / "copied-up");
  }
  bool has_layer() const { return read_file(upper_ / "file").value_or("") == "content"; }
  bool is_undone() const { return !catalogue_->find("pg") && !engine_.container().exists; }

  test::TemporaryDirectory directory_;
  FakeHost host_;
  const fs::path upper_ = directory_ / "overlay2/made/diff";
  fs::path seen_upper_;  // empty: where the Engine says
  const fs::path local_ = directory_ / "volumes/conf/_data";
  std::atomic<bool> local_is_mounted_{false};
  ContainerEngine engine_{upper_};
  engine::Client client_{engine_.socket()};
  TicketPauses pauses_;
  TicketPlan plan_;
  std::unique_ptr<volumes::Catalogue> catalogue_ =
      std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
  mutable std::mutex mutex_;
  std::string held_;  // protected by mutex_, as are the following: ID that the source holds or gave
  bool lost_ = false, given_ = false, is_cancelled_ = false, reclaimed_ = false;
  std::optional<Request> refused_;  // for now
  std::function<void()> on_given_, on_held_;
  int commits_lost_ = 0;             // so many holds have ended when they are to be committed
  std::vector<std::string> afters_;  // of each hold
  std::atomic<int> opened_while_held_{0};
  std::atomic<bool> hangs_while_held_{false};
  std::atomic<bool> does_not_tell_{false};  // the Engine, who has what mounted
  std::unique_ptr<TicketJob> job_;
};

TEST_F(ServiceTicketTest, ItComesAndRuns) {
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done") << status;
  EXPECT_TRUE(is_here() && has_layer());
  EXPECT_EQ(engine_.container().name, "db");
  EXPECT_TRUE(engine_.container().running);
  EXPECT_TRUE(status["migration"]["downtime_ms"].is_number());
  EXPECT_THAT(steps(), testing::ElementsAre("bring volumes", "bring layer", "hold", "last round", "place layer",
                                            "commit", "start", "done"));
  EXPECT_FALSE(fs::exists(catalogue_->layout().staging("move-db"))) << "what the Engine had in the layer's place";
}

/// Its container is one that had left, and has a layer of then.
class ServiceReturnTest : public ServiceTicketTest {
 protected:
  ServiceReturnTest() {
    std::ofstream(upper_ / "old") << "of then";
    auto& service = *plan_.service;
    service.options.as = "db";
    service.held = to_json(HeldContainer{"made", "db", {{"Name", "always"}}, true, "0001-01-01T00:00:00Z"});
    fs::create_directories(local_);
    std::ofstream(local_ / "old") << "of then";
    service.locals = {{"conf", "update", host_.description, "lineage"}};
    service.before = {*identify_layer(upper_), *identify_layer(local_)};
    service.left_ns = realtime_ns();
    EXPECT_TRUE(catalogue_->update("move-db", [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
    engine_.change([](auto& container) { container.name = "db"; });
  }
  static bool is_old(const fs::path& place) { return fs::exists(place / "old") && !fs::exists(place / "file"); }
  bool has_old() const { return is_old(upper_) && is_old(local_); }
  bool has_new() const {
    return has_layer() && read_file(local_ / "file").value_or("") == "content" && !fs::exists(local_ / "old") &&
           !fs::exists(upper_ / "old");
  }
};

TEST_F(ServiceReturnTest, ItRunsAgainWithWhatHasCome) {
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done") << status;
  EXPECT_TRUE(is_here() && has_new());
  EXPECT_TRUE(engine_.container().running);
  EXPECT_FALSE(fs::exists(catalogue_->layout().staging(volumes::Layout::local_part("move-db", 1))));
  ASSERT_EQ(status["volumes"].size(), 2U) << status;
  const json& local = status["volumes"][1];
  EXPECT_EQ(local["name"], "conf");
  EXPECT_EQ(local["state"], "ready");
  EXPECT_TRUE(local["digest"].is_string() && local["bytes_done"] == local["bytes_total"]) << local;
}

TEST_F(ServiceReturnTest, NothingIsLostOfAVolumeThatWasWrittenToMeanwhile) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a tick of the file system's clock
  std::ofstream(local_ / "written") << "by somebody else";
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(
      status["migration"]["error"].get<std::string>(),
      testing::AllOf(HasSubstr("volume conf"), HasSubstr("since the service had left"), HasSubstr("replace=true")));
  EXPECT_TRUE(has_old() && fs::exists(local_ / "written"));
  EXPECT_TRUE(locked(held_).empty()) << "it was stopped in vain";
  EXPECT_EQ(status["volumes"][1]["state"], "failed");
}

TEST_F(ServiceReturnTest, NorIfThatIsWhileItComes) {
  {
    const std::lock_guard guard(mutex_);
    on_held_ = [this] { std::ofstream(local_ / "written") << "by somebody else"; };
  }
  begin();
  EXPECT_EQ(wait_ended()["state"], "failed");
  EXPECT_TRUE(has_old() && fs::exists(local_ / "written"));
}

TEST_F(ServiceReturnTest, UnlessItsUserDoesNotWantIt) {
  std::ofstream(local_ / "written") << "by somebody else";
  plan_.service->left_ns = 0;
  plan_.service->replace = true;
  EXPECT_TRUE(catalogue_->update("move-db", [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
  begin();
  EXPECT_EQ(wait_ended()["state"], "done");
  EXPECT_TRUE(has_new() && !fs::exists(local_ / "written"));
}

TEST_F(ServiceReturnTest, WhatAnotherContainerHasStaysItsOwn) {
  local_is_mounted_ = true;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("volume conf is mounted here"));
  EXPECT_TRUE(has_old());
  EXPECT_TRUE(locked(held_).empty()) << "it was stopped in vain";
}

TEST_F(ServiceReturnTest, WhatTheSourceDoesNotHoldAnyMoreComesOnceMore) {
  commits_lost_ = 1;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done") << status;
  EXPECT_EQ(locked(afters_).size(), 2U);
  EXPECT_TRUE(is_here() && has_new());
}

/// Nothing keeps anybody from mounting it between its exchange and the source's word.
TEST_F(ServiceReturnTest, NorWithWhatSomebodyHasWrittenIntoWhatHadCome) {
  commits_lost_ = 1;
  engine_.on_look([this] {
    if (locked(lost_) && fs::exists(local_ / "file")) std::ofstream(local_ / "file") << "CONTENT";
  });
  begin();
  EXPECT_EQ(wait_ended()["state"], "done");
  EXPECT_TRUE(is_here() && has_new());
}

/// As it did when nothing had come of the first one.
TEST_F(ServiceReturnTest, WhatWasExchangedAndPutBackWasNotWrittenTo) {
  {
    const std::lock_guard guard(mutex_);
    refused_ = Request::commit;
  }
  begin();
  ASSERT_TRUE(wait([&] { return !steps().empty() && steps().back() == "commit"; }));
  job_->abandon();
  ASSERT_TRUE(job_->undo());
  ASSERT_TRUE(has_old());
  {
    const std::lock_guard guard(mutex_);
    refused_.reset();
    lost_ = true;
  }
  restart();
  EXPECT_TRUE(catalogue_->update("move-db", [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done") << status;
  EXPECT_TRUE(has_new());
}

TEST_F(ServiceReturnTest, AnotherProcessPutsBackWhatAllHadComeFor) {
  {
    const std::lock_guard guard(mutex_);
    refused_ = Request::commit;
  }
  begin();
  ASSERT_TRUE(wait([&] { return !steps().empty() && steps().back() == "commit"; }));
  ASSERT_TRUE(has_new());
  restart();
  {
    const std::lock_guard guard(mutex_);
    refused_.reset();
    commits_lost_ = 100;
  }
  begin();
  EXPECT_EQ(wait_ended()["state"], "failed");
  EXPECT_TRUE(has_old());
}

TEST_F(ServiceReturnTest, ItIsStartedOnce) {
  engine_.change([](auto& container) { container.health = "starting"; });
  begin();
  ASSERT_TRUE(wait([&] { return engine_.container().running; }));
  engine_.change([](auto& container) {
    container.running = false;  // its user has stopped it
    container.health = "";
  });
  EXPECT_EQ(wait_ended()["state"], "done");
  EXPECT_FALSE(engine_.container().running);
}

TEST_F(ServiceReturnTest, WhatDoesNotComeLeavesItAsItWas) {
  {
    const std::lock_guard guard(mutex_);
    commits_lost_ = 100;  // it has got its layer by then
  }
  begin();
  EXPECT_EQ(wait_ended()["state"], "failed");
  EXPECT_TRUE(has_old());
  EXPECT_TRUE(engine_.container().exists && !engine_.container().has_run);
  EXPECT_EQ(engine_.container().name, "db");
}

TEST_F(ServiceReturnTest, NorIsItsLayerExchangedBeneathIt) {
  {
    const std::lock_guard guard(mutex_);
    refused_ = Request::commit;
  }
  begin();
  ASSERT_TRUE(wait([&] { return !steps().empty() && steps().back() == "commit"; }));
  engine_.change([](auto& container) { container.running = container.has_run = true; });  // by somebody
  ASSERT_TRUE(has_layer());
  job_->abandon();
  EXPECT_TRUE(job_->undo());
  EXPECT_TRUE(has_layer());
  EXPECT_TRUE(engine_.container().running);
}

class ServiceRoundsTest : public ServiceTicketTest {
 protected:
  /// So long each round of volume and layer takes, altogether; the last one for all that follow.
  json come(const std::vector<int>& rounds_ms, const std::function<void(RoundLimits&)>& change) {
    auto& limits = plan_.request.terms.rounds;
    limits.max_downtime_ms = 800;
    change(limits);
    EXPECT_TRUE(catalogue_->update("move-db", [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
    host_.on_open = [this, rounds_ms](int) -> Result<> {
      const auto round = std::min(static_cast<std::size_t>(opened_++) / 2, rounds_ms.size() - 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(rounds_ms[round] / 2));
      return {};
    };
    begin();
    return wait_ended();
  }
  std::atomic<int> opened_{0};
};

TEST_F(ServiceRoundsTest, WhatChangesMeanwhileFollowsUntilLittleIsLeft) {
  const json status = come({4000, 1600, 0}, [](RoundLimits&) {});
  EXPECT_EQ(status["state"], "done") << status;
  const json& rounds = status["migration"]["rounds"];
  ASSERT_EQ(rounds.size(), 4U) << rounds;
  EXPECT_TRUE(rounds[3]["frozen"] == true && rounds[2]["frozen"] == false) << rounds;
  EXPECT_TRUE(status["migration"]["predicted_downtime_ms"].is_null()) << "it is over";
  EXPECT_THAT(steps(), testing::ElementsAre("bring volumes", "bring layer", "follow", "hold", "last round",
                                            "place layer", "commit", "start", "done"));
  EXPECT_TRUE(is_here() && has_layer());
}

TEST_F(ServiceRoundsTest, NotForEver) {
  const json status = come({1600, 1540, 0}, [](RoundLimits& limits) { limits.max_downtime_ms = 0; });
  EXPECT_EQ(status["migration"]["rounds"].size(), 3U) << "as much changes, and the last one";
}

TEST_F(ServiceRoundsTest, NorMoreOftenThanItsUserWants) {
  const json status = come({1600}, [](RoundLimits& limits) { limits.most = 1; });
  EXPECT_EQ(status["state"], "done");
  EXPECT_EQ(status["migration"]["rounds"].size(), 2U);
}

TEST_F(ServiceRoundsTest, WhatMustNotStandStillForSoLongIsNotStopped) {
  const json status = come({1600}, [](RoundLimits& limits) { limits = {1, 800, true}; });
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(),
              testing::AllOf(HasSubstr("max-downtime is 800 ms"), HasSubstr("was not stopped")));
  EXPECT_TRUE(locked(held_).empty());
  EXPECT_TRUE(is_undone());
}

/// When everything has come, and only its record says so not yet.
TEST_F(ServiceTicketTest, AFullDiskDoesNotKeepItFromRunningAtItsSource) {
  std::atomic<bool> is_full = false;
  const test::InterceptedCalls full([&](const test::Call& call) {
    const bool takes_room =
        call.name != "fsync" && call.place.starts_with((directory_ / "ferry/volumes/move-db").string());
    return is_full && takes_room ? ENOSPC : 0;
  });
  engine_.on_rename([&] { is_full = true; });
  begin();
  ASSERT_TRUE(wait([&] { return locked(lost_); })) << "it was not released";
  ASSERT_TRUE(wait([&] { return job_->has_outcome(); })) << job_->status().dump(1);
  EXPECT_THAT(job_->status()["migration"]["error"].get<std::string>(), HasSubstr("space"));
  EXPECT_TRUE(is_undone());
  EXPECT_EQ(catalogue_->find("move-db")->state, State::importing) << "there was no room to say that it has failed";
  is_full = false;
  EXPECT_TRUE(wait([&] { return catalogue_->find("move-db")->state == State::failed; }));
}

TEST_F(ServiceTicketTest, ALayerThatCannotBePutThereSaysWhatCanBeDone) {
  const auto disk = test::PrivateMount::tmpfs(directory_ / "disk", "size=64k");
  seen_upper_ = disk.path() / "diff";
  fs::create_directories(seen_upper_);
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(),
              testing::AllOf(HasSubstr("another file system"), HasSubstr("layer=false")));
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceTicketTest, ItIsOnlyMade) {
  plan_.service->options.start = false;
  ASSERT_TRUE(catalogue_->update("move-db", [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
  begin();
  EXPECT_EQ(wait_ended()["state"], "done");
  EXPECT_TRUE(is_here() && has_layer());
  EXPECT_FALSE(engine_.container().has_run);
}

TEST_F(ServiceTicketTest, ItsHealthIsWaitedFor) {
  engine_.change([](auto& container) { container.health = "starting"; });
  begin();
  ASSERT_TRUE(wait([&] { return engine_.container().running; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(job_->has_outcome());
  engine_.change([](auto& container) { container.health = "unhealthy"; });
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done");
  EXPECT_THAT(status["migration"]["warnings"].dump(), HasSubstr("health"));
}

/// The source has not heard of it for too long, say, when everything is here.
TEST_F(ServiceTicketTest, WhatTheSourceDoesNotHoldAnyMoreIsBroughtAgain) {
  commits_lost_ = 2;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "done") << status;
  EXPECT_TRUE(is_here() && has_layer());
  ASSERT_EQ(locked(afters_).size(), 3U);
  EXPECT_EQ(afters_[0], "");
  EXPECT_EQ(afters_[1], first_id);
  EXPECT_NE(afters_[2], first_id);
  EXPECT_EQ(catalogue_->find("pg")->hand_off["received"], held_);
  EXPECT_EQ(engine_.container().name, "db");
}

TEST_F(ServiceTicketTest, ButNotForEver) {
  commits_lost_ = 100;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_EQ(locked(afters_).size(), 4U);
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceTicketTest, NorAgainstTheWillOfTheSourcesUser) {
  commits_lost_ = 1;
  is_cancelled_ = true;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("cancelled at its source"));
  EXPECT_EQ(locked(afters_).size(), 1U);
  EXPECT_TRUE(is_undone());
}

/// While content comes, which nothing but the heart notices.
TEST_F(ServiceTicketTest, TheHeartNoticesThatNothingIsHeld) {
  host_.on_open = [this](int) -> Result<> {
    if (!locked(held_).empty() && ++opened_while_held_ == 1) host_.hang_in_content = true;
    return {};
  };
  std::ofstream(host_.root / "more") << "content that did not come in the first round";
  begin();
  ASSERT_TRUE(wait([&] { return opened_while_held_ > 0; }));
  {
    const std::lock_guard guard(mutex_);
    lost_ = true;
  }
  ASSERT_TRUE(wait([&] { return locked(afters_).size() == 2 || job_->has_outcome(); })) << job_->status();
  host_.hang_in_content = false;
  EXPECT_EQ(wait_ended()["state"], "done") << job_->status();
  EXPECT_TRUE(is_here() && has_layer());
}

TEST_F(ServiceTicketTest, NorIsAnEngineWaitedForMeanwhile) {
  does_not_tell_ = true;
  begin();
  ASSERT_TRUE(wait([&] { return !job_->trouble().empty(); }));
  {
    const std::lock_guard guard(mutex_);
    lost_ = true;
  }
  EXPECT_TRUE(wait([&] { return locked(afters_).size() == 2 || job_->has_outcome(); })) << job_->status();
  does_not_tell_ = false;
  EXPECT_EQ(wait_ended()["state"], "done") << job_->status();
  EXPECT_TRUE(is_here() && has_layer());
}

TEST_F(ServiceTicketTest, AnEngineThatIsAwayIsWaitedFor) {
  engine_.on_rename([this, was_away = std::make_shared<bool>(false)] {
    if (!std::exchange(*was_away, true)) engine_.be_away(5);
  });
  engine_.be_away(3);
  begin();
  EXPECT_EQ(wait_ended()["state"], "done") << job_->status();
  EXPECT_TRUE(is_here() && has_layer());
  EXPECT_TRUE(engine_.container().running);
}

TEST_F(ServiceTicketTest, OneThatSomebodyStartsTooEarlyIsNotGiven) {
  engine_.change([](auto& container) { container.has_run = container.running = true; });
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("was started before"));
  EXPECT_TRUE(engine_.container().exists) << "it may hold something by now";
  EXPECT_FALSE(locked(given_));
}

TEST_F(ServiceTicketTest, AnotherProcessCarriesOnAtEachStep) {
  const auto stall = [this](const std::string& step, bool stalls) {
    host_.hang_in_open = stalls && step == "bring volumes";
    hangs_while_held_ = stalls && step == "last round";
    host_.hang_in_content = false;
    const std::lock_guard guard(mutex_);
    refused_ = !stalls            ? std::optional<Request>()
               : step == "hold"   ? std::optional(Request::hold)
               : step == "commit" ? std::optional(Request::commit)
                                  : std::nullopt;
    engine_.be_away(stalls && step == "start" ? 1'000'000 : 0);
  };
  host_.on_open = [this](int) -> Result<> {
    if (hangs_while_held_ && !locked(held_).empty()) host_.hang_in_content = true;
    return {};
  };
  for (const std::string step : {"bring volumes", "hold", "last round", "commit"}) {
    SCOPED_TRACE(step);
    stall(step, true);
    if (step == "last round") std::ofstream(host_.root / "more") << "what has come since the first round";
    begin();
    EXPECT_TRUE(wait([&] {
      const auto all = steps();
      return std::find(all.begin(), all.end(), step) != all.end();
    }));
    restart();
    stall(step, false);
    ASSERT_EQ(catalogue_->find("move-db")->state, State::importing);
    EXPECT_FALSE(engine_.container().has_run);
  }
  begin();
  EXPECT_EQ(wait_ended()["state"], "done") << job_->status();
  EXPECT_TRUE(is_here() && has_layer());
  EXPECT_TRUE(engine_.container().running);
}

/// The Engine is away from when the source has given it on.
TEST_F(ServiceTicketTest, WhatIsGivenIsStartedByAnotherProcess) {
  on_given_ = [this] { engine_.be_away(1'000'000); };
  begin();
  EXPECT_TRUE(wait([&] { return !job_->trouble().empty(); }));
  EXPECT_TRUE(is_here());
  restart();
  ASSERT_EQ(catalogue_->find("move-db")->state, State::importing);
  engine_.be_away(0);
  begin();
  EXPECT_EQ(wait_ended()["state"], "done") << job_->status();
  EXPECT_TRUE(engine_.container().running);
}

/// Its user has it there by force.
TEST_F(ServiceTicketTest, WhatIsTakenBackByForceIsNotHeldAgain) {
  reclaimed_ = true;
  begin();
  const json status = wait_ended();
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("by force"));
  EXPECT_EQ(locked(afters_).size(), 1U);
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceTicketTest, WhatCannotBeUndoneIsUndoneLater) {
  commits_lost_ = 100;
  engine_.change([](auto& container) { container.stays = true; });
  begin();
  EXPECT_TRUE(wait([&] { return job_->trouble().find("taken back") != std::string::npos; })) << job_->status();
  EXPECT_THAT(job_->trouble(), HasSubstr("ended the hand-off 4 times")) << "and why";
  restart();
  ASSERT_EQ(catalogue_->find("move-db")->state, State::importing);
  const auto holds = locked(afters_).size();
  engine_.change([](auto& container) { container.stays = false; });
  begin();
  EXPECT_EQ(wait_ended()["state"], "failed");
  EXPECT_EQ(locked(afters_).size(), holds) << "the source is left alone";
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceTicketTest, WhatCannotBeUndoneIsUndoneWhenTheTicketGoes) {
  commits_lost_ = 100;
  engine_.change([](auto& container) { container.stays = true; });
  begin();
  EXPECT_TRUE(wait([&] { return job_->trouble().find("taken back") != std::string::npos; })) << job_->status();
  job_->abandon();
  EXPECT_FALSE(job_->has_outcome());
  EXPECT_FALSE(job_->undo());
  engine_.change([](auto& container) { container.stays = false; });
  EXPECT_TRUE(job_->undo());
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceTicketTest, OneThatIsRemovedIsUndone) {
  host_.hang_in_open = true;
  begin();
  host_.wait_for_hanging();
  job_->abandon();
  EXPECT_TRUE(job_->undo());
  EXPECT_TRUE(is_undone());
}

}  // namespace
}  // namespace ferry::migration
