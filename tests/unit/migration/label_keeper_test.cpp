#include "migration/label_keeper.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/time.h"
#include "migration/fake_engine.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Step = FakeEngine::Step;
using testing::ElementsAre;
using testing::Pair;

bool eventually(const std::function<bool()>& condition) {
  for (const Deadline deadline = after(20s); SteadyClock::now() < deadline; std::this_thread::sleep_for(1ms))
    if (condition()) return true;
  return condition();
}

/// An import "copy" that is complete and whose labels are pending. The user has given `own` and `team` on the command
/// line, which the Engine knows and nobody else.
class LabelKeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    load();
    volumes::VolumeRecord record;
    record.name = "copy";
    record.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
    record.labels = {{"team", "web"}, {"a,b", "c d"}};
    record.options = {{"mode", "ro"}};
    record.labels_pending = true;
    ASSERT_TRUE(catalogue_->create(record));
    std::ofstream(catalogue_->layout().data("copy") / "file") << "content";
    engine_.set("copy", FakeEngine::Entry{"ferry:latest", given_, {{"from", "a"}, {"freeze", "none"}}});
  }

  /// As a process that was just started, but for the keeper's thread.
  void load() {
    keeper_.reset();
    client_.reset();
    catalogue_.reset();
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
    engine::ClientLimits limits;
    limits.change = change_;
    client_ = std::make_unique<engine::Client>(engine_.socket(), limits);
    keeper_ = std::make_unique<LabelKeeper>(*catalogue_, *client_);
  }
  void restart() {
    load();
    engine_.wake_up();
    keeper_->start();
  }

  nlohmann::json get(const std::string& name) {
    const auto record = catalogue_ ? catalogue_->find(name) : nullptr;
    return record ? nlohmann::json{{"lineage", record->lineage}} : nlohmann::json(nullptr);
  }
  /// Decides as VolumeService::remove does.
  void remove_rpc(const std::string& name) {
    const auto found = record(name);
    if (!found || (found->reregistration && keeper_->is_own_remove(name))) return;
    EXPECT_TRUE(catalogue_->remove(name));
  }

  volumes::Catalogue::Snapshot record(const std::string& name = "copy") { return catalogue_->find(name); }
  bool pending() { return record()->labels_pending || record()->reregistration; }
  bool settled() {
    return eventually([this] { return !record() || !pending(); });
  }
  /// Starts the keeper and lets the Engine fall silent at that step, so that the keeper learns nothing more.
  void stop_at(Step step) {
    engine_.fall_silent_at(step);
    keeper_->start();
    engine_.wait_until_silent();
  }
  /// Until it has tried again, and so knows that the connection broke.
  void wait_for_retry() {
    const auto before = engine_.calls();
    ASSERT_TRUE(eventually([&] { return engine_.calls() > before; }));
  }

  void expect_registered() {
    ASSERT_TRUE(settled());
    ASSERT_TRUE(record()) << "the volume is gone";
    EXPECT_TRUE(fs::exists(catalogue_->layout().data("copy") / "file"));
    const auto entry = engine_.entry("copy");
    ASSERT_TRUE(entry);
    EXPECT_THAT(entry->labels, ElementsAre(Pair("a,b", "c d"), Pair("own", "1"), Pair("team", "mine")));
    EXPECT_THAT(entry->options, ElementsAre(Pair("mode", "ro")));
  }

  const volumes::StringMap given_ = {{"own", "1"}, {"team", "mine"}};
  std::chrono::milliseconds change_{5000};
  test::TemporaryDirectory directory_;
  std::unique_ptr<volumes::Catalogue> catalogue_;
  std::unique_ptr<engine::Client> client_;
  std::unique_ptr<LabelKeeper> keeper_;
  FakeEngine engine_{[this](const std::string& name) { return get(name); },
                     [this](const std::string& name) { remove_rpc(name); }};
};

TEST_F(LabelKeeperTest, TheSourcesLabelsAndOptionsAndThoseOfTheCommandLineWhichWin) {
  keeper_->start();
  expect_registered();
  EXPECT_EQ(engine_.count("DELETE", "copy"), 1U);
}

TEST_F(LabelKeeperTest, WhatIsShownAlreadyIsLeftAlone) {
  engine_.set("copy",
              FakeEngine::Entry{"ferry:latest", {{"a,b", "c d"}, {"own", "1"}, {"team", "mine"}}, {{"mode", "ro"}}});
  keeper_->start();
  expect_registered();
  EXPECT_EQ(engine_.count("DELETE", "copy"), 0U);
}

class InterruptedAt : public LabelKeeperTest, public testing::WithParamInterface<std::tuple<Step, bool>> {};

TEST_P(InterruptedAt, NothingIsLost) {
  const auto [step, killed] = GetParam();
  stop_at(step);
  EXPECT_TRUE(record()->reregistration);
  if (killed)
    restart();
  else
    engine_.wake_up();
  expect_registered();
}

INSTANTIATE_TEST_SUITE_P(Steps, InterruptedAt,
                         testing::Combine(testing::Values(Step::delete_sent, Step::delete_answered, Step::post_sent,
                                                          Step::post_answered),
                                          testing::Bool()));

class LateRemove : public LabelKeeperTest, public testing::WithParamInterface<bool> {};

/// Of a DELETE whose connection broke, or whose process is gone: the Engine carries it out all the same.
TEST_P(LateRemove, DeletesNothing) {
  stop_at(Step::delete_sent);
  GetParam() ? load() : wait_for_retry();
  engine_.remove("copy");
  ASSERT_TRUE(record()) << "the volume is gone";
  engine_.remove("copy");  // the Engine repeats calls
  ASSERT_TRUE(record()) << "the volume is gone";
  restart();
  expect_registered();
}

TEST_P(LateRemove, DeletesNothingWhenItComesTwice) {
  stop_at(Step::delete_answered);  // one has come before the break
  GetParam() ? load() : wait_for_retry();
  engine_.remove("copy");
  ASSERT_TRUE(record()) << "the volume is gone";
  restart();
  expect_registered();
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutARestart, LateRemove, testing::Bool());

class SlowEngine : public LabelKeeperTest {
 protected:
  SlowEngine() { change_ = 300ms; }
};

TEST_F(SlowEngine, ARemoveAfterTheTimeoutDeletesNothing) {
  std::atomic<int> removes{0};
  FakeEngine slow([this](const std::string& name) { return get(name); },
                  [&](const std::string& name) {
                    if (removes++ == 0) std::this_thread::sleep_for(900ms);  // longer than the keeper waits
                    remove_rpc(name);
                  });
  slow.set("copy", engine_.entry("copy"));
  keeper_.reset();
  client_ = std::make_unique<engine::Client>(slow.socket(), engine::ClientLimits{.change = change_});
  keeper_ = std::make_unique<LabelKeeper>(*catalogue_, *client_);
  keeper_->start();
  ASSERT_TRUE(settled());
  ASSERT_TRUE(eventually([&] { return slow.entry("copy").has_value(); }));
  EXPECT_TRUE(fs::exists(catalogue_->layout().data("copy") / "file"));
  EXPECT_THAT(slow.entry("copy")->labels, testing::Contains(Pair("own", "1")));
  keeper_.reset();
}

TEST_F(LabelKeeperTest, AContainerThatComesInBetweenLosesNoLabels) {
  std::atomic<bool> came{false};
  engine_.on_post([&] {
    if (came.exchange(true)) return;
    engine_.set("copy", FakeEngine::Entry{"ferry:latest", {}, {}});
    engine_.set_referenced(true);
  });
  keeper_->start();
  ASSERT_TRUE(eventually([&] { return engine_.count("DELETE", "copy") == 2; }));
  restart();  // so it has to be on disk
  ASSERT_TRUE(eventually([&] { return engine_.count("DELETE", "copy") >= 3; }));
  ASSERT_TRUE(record()->reregistration);
  EXPECT_EQ(record()->reregistration->labels.at("own"), "1");
  EXPECT_EQ(record()->reregistration->labels.at("team"), "mine");
  engine_.set_referenced(false);
  keeper_->wake();
  expect_registered();
}

TEST_F(LabelKeeperTest, SomebodyWhoLooksInBetweenIsOutdone) {
  std::atomic<int> looks{0};
  engine_.on_post([&] {
    if (++looks <= 3) engine_.set("copy", FakeEngine::Entry{"ferry:latest", {}, {}});
  });
  keeper_->start();
  expect_registered();
  EXPECT_EQ(looks, 4);
}

/// Another driver's volume of the same name, made while Ferry was away.
class Stranger : public LabelKeeperTest, public testing::WithParamInterface<std::optional<Step>> {};

TEST_P(Stranger, IsNeverRemoved) {
  if (GetParam()) stop_at(*GetParam());
  engine_.set("copy", FakeEngine::Entry{"local", {{"theirs", "1"}}, {}});
  restart();
  const auto looks = engine_.count("GET", "copy"), deletes = engine_.count("DELETE", "copy");
  for (std::size_t i = 1; i < 4; ++i) {
    keeper_->wake();
    ASSERT_TRUE(eventually([&] { return engine_.count("GET", "copy") >= looks + i; }));
  }
  keeper_->stop();
  EXPECT_EQ(engine_.count("DELETE", "copy"), deletes);
  ASSERT_TRUE(engine_.entry("copy"));
  EXPECT_EQ(engine_.entry("copy")->driver, "local");
  EXPECT_EQ(engine_.entry("copy")->labels.count("theirs"), 1U);
  EXPECT_TRUE(fs::exists(catalogue_->layout().data("copy") / "file"));
  engine_.set("copy", std::nullopt);  // its owner has removed it
  restart();
  ASSERT_TRUE(settled());
  EXPECT_EQ(engine_.entry("copy")->labels.at("a,b"), "c d");
}

INSTANTIATE_TEST_SUITE_P(BeforeAndDuringTheRegistration, Stranger,
                         testing::Values(std::nullopt, Step::delete_sent, Step::delete_answered, Step::post_sent));

TEST_F(LabelKeeperTest, ItsUsersRemoveIsNotItsOwn) {
  EXPECT_FALSE(keeper_->is_own_remove("copy"));
  keeper_->start();
  expect_registered();
  EXPECT_FALSE(keeper_->is_own_remove("copy"));
  engine_.remove("copy");
  EXPECT_EQ(record(), nullptr);
}

TEST_F(LabelKeeperTest, ItsUsersRemoveIsNotItsOwnWhileAContainerKeepsItPending) {
  engine_.set_referenced(true);
  keeper_->start();
  ASSERT_TRUE(eventually([&] { return engine_.count("DELETE", "copy") == 1; }));
  keeper_->stop();
  ASSERT_TRUE(record()->reregistration);
  engine_.remove("copy");  // the container has gone
  EXPECT_EQ(record(), nullptr);
}

/// As `docker run --rm` with an anonymous volume does, which ends at the moment at which its labels are tried again.
TEST_F(LabelKeeperTest, ItsUsersRemoveIsCarriedOutThatComesBeforeTheAnswerToARefusedDelete) {
  engine_.set_referenced(true);
  engine_.on_refused([&] {
    engine_.set_referenced(false);
    engine_.remove("copy");
  });
  keeper_->start();
  ASSERT_TRUE(eventually([&] { return record() == nullptr; }));
  keeper_->stop();
  EXPECT_EQ(engine_.entry("copy"), std::nullopt);
  EXPECT_EQ(engine_.count("POST", "create"), 0U);
}

TEST_F(LabelKeeperTest, KnowsTheCreateThatItsPostLeadsTo) {
  std::atomic<bool> own_create{false};
  engine_.on_post([&] {
    own_create = keeper_->is_own_create("copy");
    EXPECT_FALSE(keeper_->is_own_create("another"));
  });
  keeper_->start();
  expect_registered();
  EXPECT_TRUE(own_create);
  EXPECT_FALSE(keeper_->is_own_create("copy"));
}

}  // namespace
}  // namespace ferry::migration
