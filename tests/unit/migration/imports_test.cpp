#include "migration/imports.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "migration/fake_peer.h"
#include "support/mounts.h"
#include "support/temporary_directory.h"
#include "support/tree.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using volumes::State;

class ImportsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(host_.root = directory_ / "source");
    std::ofstream(host_.root / "file") << std::string(300'000, 'x');
    host_.description.volume = "pgdata";
    host_.description.driver = "ferry";
    host_.description.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
    host_.description.epoch = 3;
    host_.description.mode = volumes::Mode::ro;
    host_.description.labels = {{"team", "web"}};
    host_.description.options = {{"mode", "ro"}};
    start();
  }
  void TearDown() override {
    host_.release();
    imports_.reset();
  }

  /// As a process that was just started.
  void start() {
    imports_.reset();
    catalogue_.reset();
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
    imports_ = std::make_unique<Imports>(*catalogue_, peers_, archives_);
  }

  Result<> begin(const std::string& name = "copy", volumes::StringMap options = {{"from", "a/pgdata"}}) {
    return imports_->begin(name, *parse_options(name, options));
  }
  Result<> wait(const std::string& name = "copy") { return imports_->wait(name, after(std::chrono::seconds(60))); }
  Result<> do_not_wait(const std::string& name = "copy") { return imports_->wait(name, SteadyClock::now()); }
  volumes::Catalogue::Snapshot record(const std::string& name = "copy") { return catalogue_->find(name); }
  const volumes::Layout& layout() const { return catalogue_->layout(); }

  test::TemporaryDirectory directory_;
  FakeHost host_;
  FakePeers peers_{host_};
  const ArchiveStore archives_{directory_ / "ssh", directory_ / "archives"};
  std::unique_ptr<volumes::Catalogue> catalogue_;
  std::unique_ptr<Imports> imports_;
};

TEST_F(ImportsTest, BringsTheVolumeWithAllThatBelongsToIt) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(wait());
  ASSERT_EQ(record()->state, State::ready);
  EXPECT_EQ(test::tree_difference(host_.root, layout().data("copy")), "");
  EXPECT_EQ(record()->lineage, host_.description.lineage);
  EXPECT_EQ(record()->epoch, 3U);
  EXPECT_EQ(record()->mode, volumes::Mode::ro);
  EXPECT_EQ(record()->labels, host_.description.labels);
  EXPECT_EQ(record()->options, host_.description.options);
  EXPECT_TRUE(record()->labels_pending);
  const auto& status = record()->migration;
  EXPECT_EQ(status["role"], "import");
  EXPECT_EQ(status["peer"], "a:7766");
  EXPECT_EQ(status["phase"], "done");
  EXPECT_EQ(status["verified"], true);
  EXPECT_EQ(status["consistency"], "idle");
  EXPECT_EQ(status["error"], nullptr);
  EXPECT_EQ(status["files_done"], 1);
  EXPECT_THAT(status["digest"].get<std::string>(), MatchesRegex("[0-9a-f]{32}"));
  EXPECT_THAT(status["finished"].get<std::string>(), MatchesRegex("20.*Z"));
}

TEST_F(ImportsTest, AModeThatIsGivenWins) {
  ASSERT_TRUE(begin("copy", {{"from", "a/pgdata"}, {"mode", "rw"}}));
  EXPECT_EQ(record()->mode, volumes::Mode::rw);
}

TEST_F(ImportsTest, WhatCanBeKnownAtOnceFailsAtOnceAndLeavesNoTrace) {
  for (const Code code : {Code::unavailable, Code::denied, Code::not_found, Code::busy}) {
    host_.on_identify = [code] { return Result<>(fail(code, "no")); };
    EXPECT_EQ(begin().error().code, code);
    host_.on_identify = [] { return Result<>(); };
    host_.on_describe = [code] { return Result<>(fail(code, "no")); };
    EXPECT_EQ(begin().error().code, code);
    host_.on_describe = [] { return Result<>(); };
  }
  host_.description.bytes = UINT64_MAX;
  EXPECT_EQ(begin().error().code, Code::no_space);
  host_.description.bytes = 0;
  host_.uuid = catalogue_->uuid();
  EXPECT_THAT(begin("copy", {{"from", "a"}}).error().message, HasSubstr("imported from itself"));
  EXPECT_TRUE(catalogue_->list().empty());
  EXPECT_TRUE(fs::is_empty(layout().volumes()));
  EXPECT_TRUE(fs::is_empty(layout().incoming()));
  EXPECT_EQ(host_.opened, 0);
}

TEST_F(ImportsTest, ATakenNameIsRefused) {
  ASSERT_TRUE(begin());
  EXPECT_EQ(begin().error().code, Code::already_exists);
}

TEST_F(ImportsTest, TriesAgainWhileThePeerIsAwayAndSendsNothingTwice) {
  for (int i = 0; i < 5; ++i) std::ofstream(host_.root / std::to_string(i)) << std::string(300'000, 'y');
  std::atomic<int> pieces{0};
  host_.on_open = [](int attempt) { return attempt == 2 ? Result<>(fail(Code::unavailable, "away")) : Result<>(); };
  host_.on_content = [&](int attempt) {
    return attempt == 1 && ++pieces > 3 ? Result<>(fail(Code::unavailable, "cut")) : Result<>();
  };
  ASSERT_TRUE(begin());
  ASSERT_TRUE(wait());
  EXPECT_EQ(host_.opened, 3);
  EXPECT_EQ(record()->state, State::ready);
  EXPECT_EQ(record()->migration["error"], nullptr);
  EXPECT_EQ(test::tree_difference(host_.root, layout().data("copy")), "");
}

TEST_F(ImportsTest, AFinalErrorFailsItAndKeepsNothing) {
  for (const Code code : {Code::denied, Code::busy, Code::corrupt, Code::io, Code::cancelled}) {
    host_.on_content = [code](int) { return Result<>(fail(code, "the reason")); };
    ASSERT_TRUE(begin());
    ASSERT_TRUE(wait());
    EXPECT_EQ(record()->state, State::failed) << to_string(code);
    EXPECT_EQ(record()->migration["error"], "the reason");
    EXPECT_EQ(record()->migration["verified"], false);
    EXPECT_FALSE(fs::exists(layout().staging("copy")));
    EXPECT_FALSE(fs::exists(layout().journal("copy")));
    EXPECT_FALSE(fs::exists(layout().data("copy")));
    imports_->abandon("copy");
    ASSERT_TRUE(catalogue_->remove("copy"));
  }
}

/// An import that fails with a staging directory whose deletion takes a while, and can be watched: it holds many names
/// of one file, which counts them.
class ImportsThatFail : public ImportsTest {
 protected:
  void SetUp() override {
    ImportsTest::SetUp();
    std::ofstream(counted_) << "x";
    host_.on_content = [this](int) {
      if (failing_.exchange(true)) return Result<>(fail(Code::denied, "the reason"));
      fs::create_directory(layout().staging("copy") / "many");
      for (nlink_t i = 0; i < names; ++i)
        fs::create_hard_link(counted_, layout().staging("copy") / "many" / std::to_string(i));
      staged_ = true;
      return Result<>(fail(Code::denied, "the reason"));
    };
  }
  nlink_t left() const {
    struct stat info {};
    EXPECT_EQ(::stat(counted_.c_str(), &info), 0);
    return info.st_nlink - 1;
  }
  void wait_for_deletion() {
    while (!staged_ || left() == names) std::this_thread::yield();
  }

  static constexpr nlink_t names = 30'000;
  const fs::path counted_ = directory_ / "counted";
  std::atomic<bool> failing_{false}, staged_{false};
};

/// Or a crash would leave an import that fails for the absence of its staging.
TEST_F(ImportsThatFail, StoreTheReasonBeforeTheyDelete) {
  ASSERT_TRUE(begin());
  wait_for_deletion();
  EXPECT_EQ(record()->state, State::failed);
  EXPECT_EQ(record()->migration["error"], "the reason");
  ASSERT_TRUE(wait());
  EXPECT_EQ(left(), 0U);
}

TEST_F(ImportsThatFail, AreAbandonedWithoutWaitingForTheDeletion) {
  ASSERT_TRUE(begin());
  wait_for_deletion();
  imports_->abandon("copy");
  EXPECT_GT(left(), 0U);
  start();
  EXPECT_EQ(record()->state, State::failed);
  EXPECT_EQ(record()->migration["error"], "the reason");
  EXPECT_FALSE(fs::exists(layout().dropped("copy")));
}

/// The reason needs the room that the staging takes.
TEST_F(ImportsTest, AFullDiskHasRoomForTheReasonAfterwards) {
  const auto disk = test::PrivateMount::tmpfs(directory_ / "ferry", "size=2m");
  start();
  host_.on_content = [this](int) {
    const Fd file = *open_at(AT_FDCWD, (layout().staging("copy") / "filler").string(), O_WRONLY | O_CREAT, 0600);
    while (write_all(file.get(), std::string(4096, 'x'), "filler")) {
    }
    return Result<>(fail(Code::no_space, "no room"));
  };
  ASSERT_TRUE(begin());
  ASSERT_TRUE(wait());
  EXPECT_EQ(record()->state, State::failed);
  EXPECT_EQ(record()->migration["error"], "no room");
  start();
  EXPECT_EQ(record()->state, State::failed);
  imports_.reset();
  catalogue_.reset();
}

TEST_F(ImportsTest, WhoWaitsIsToldHowFarItIs) {
  host_.hang_in_content = true;
  ASSERT_TRUE(begin());
  host_.wait_for_hanging();
  const auto waited = do_not_wait();
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, Code::busy);
  EXPECT_THAT(waited.error().message, AllOf(HasSubstr("copy"), HasSubstr("0 % done"), HasSubstr("ETA")));
  const auto status = imports_->status("copy");
  EXPECT_EQ(status["phase"], "content");
  EXPECT_EQ(status["files_total"], 1);
  EXPECT_GE(status["bytes_total"], 300'000);
  EXPECT_EQ(status["finished"], nullptr);
  host_.release();
  EXPECT_TRUE(wait());
}

TEST_F(ImportsTest, WhoWaitsIsToldWhatIsWrong) {
  std::atomic<bool> tried{false};
  host_.on_open = [&](int) {
    tried = true;
    return Result<>(fail(Code::unavailable, "a:7766 refuses"));
  };
  ASSERT_TRUE(begin());
  while (imports_->status("copy")["error"].is_null()) std::this_thread::yield();
  EXPECT_THAT(do_not_wait().error().message, HasSubstr("a:7766 refuses"));
  imports_->abandon("copy");
}

TEST_F(ImportsTest, AbandoningEndsAnAttemptThatHangs) {
  for (auto* place : {&host_.hang_in_open, &host_.hang_in_content}) {
    *place = true;
    ASSERT_TRUE(begin());
    host_.wait_for_hanging();
    imports_->abandon("copy");
    EXPECT_EQ(record()->state, State::importing);
    EXPECT_TRUE(imports_->status("copy").is_null());
    EXPECT_TRUE(wait());  // nothing to wait for
    ASSERT_TRUE(catalogue_->remove("copy"));
    *place = false;
  }
}

TEST_F(ImportsTest, AllAreAbandonedTogether) {
  host_.hang_in_open = true;
  for (const auto* name : {"one", "two", "three"}) ASSERT_TRUE(begin(name));
  imports_->abandon_all();
  for (const auto* name : {"one", "two", "three"}) EXPECT_EQ(record(name)->state, State::importing);
}

TEST_F(ImportsTest, ARestartCarriesOnUnderTheSameId) {
  host_.hang_in_content = true;
  ASSERT_TRUE(begin());
  host_.wait_for_hanging();
  const auto before = imports_->status("copy");
  imports_->abandon_all();
  start();
  host_.hang_in_content = false;
  imports_->resume();
  ASSERT_TRUE(wait());
  EXPECT_EQ(record()->state, State::ready);
  EXPECT_EQ(record()->migration["id"], before["id"]);
  EXPECT_EQ(record()->migration["started"], before["started"]);
}

TEST_F(ImportsTest, ARequestThatCannotBeReadFailsAtTheRestart) {
  host_.hang_in_open = true;
  ASSERT_TRUE(begin());
  imports_->abandon("copy");
  ASSERT_TRUE(catalogue_->update("copy", [](volumes::VolumeRecord& r) { r.import = {{"host", 1}}; }));
  start();
  imports_->resume();
  EXPECT_EQ(record()->state, State::failed);
  EXPECT_THAT(record()->migration["error"].get<std::string>(), HasSubstr("cannot be read"));
}

TEST_F(ImportsTest, ALostStagingFailsAndStopsNobody) {
  host_.hang_in_open = true;
  ASSERT_TRUE(begin());
  imports_->abandon("copy");
  fs::remove_all(layout().staging("copy"));
  start();
  host_.hang_in_open = false;
  imports_->resume();
  ASSERT_TRUE(wait());
  EXPECT_EQ(record()->state, State::failed);
}

TEST_F(ImportsTest, AnAnonymousImportAdoptsWhatAnEarlierOneLeft) {
  const std::string first(64, 'a'), second(64, 'b');
  host_.hang_in_content = true;
  ASSERT_TRUE(begin(first));
  host_.wait_for_hanging();
  imports_->abandon(first);
  std::ofstream(layout().staging(first) / "seen") << "x";
  ASSERT_TRUE(catalogue_->orphan(first));
  host_.description.bytes = UINT64_MAX;  // what is there already needs no more room
  ASSERT_TRUE(begin(second));
  EXPECT_TRUE(catalogue_->orphans()->empty());
  EXPECT_FALSE(begin(std::string(64, 'c')));
  host_.release();
  ASSERT_TRUE(wait(second));
  EXPECT_EQ(record(second)->state, State::ready);
  EXPECT_EQ(test::tree_difference(host_.root, layout().data(second)), "");
}

TEST_F(ImportsTest, ANamedImportOrAnotherRequestAdoptsNothing) {
  const std::string first(64, 'a');
  host_.hang_in_open = true;
  ASSERT_TRUE(begin(first));
  imports_->abandon(first);
  ASSERT_TRUE(catalogue_->orphan(first));
  ASSERT_TRUE(begin("named"));
  ASSERT_TRUE(begin(std::string(64, 'b'), {{"from", "a/another"}}));
  EXPECT_EQ(catalogue_->orphans()->size(), 1U);
}

TEST_F(ImportsTest, ACommitThatIsImpossibleFailsIt) {
  host_.hang_in_content = true;
  ASSERT_TRUE(begin());
  host_.wait_for_hanging();
  fs::create_directory(layout().data("copy"));
  std::ofstream(layout().data("copy") / "stranger") << "x";
  host_.release();
  ASSERT_TRUE(wait());
  EXPECT_EQ(record()->state, State::failed);
  EXPECT_THAT(record()->migration["error"].get<std::string>(), HasSubstr("in the way"));
  EXPECT_TRUE(fs::exists(layout().data("copy") / "stranger"));
}

TEST(ImportRequestJson, ComesBack) {
  const ImportRequest request{{"2001:db8::1", 65535}, "pgdata", {Freeze::none}};
  const auto read = import_request(to_json(request));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->peer.endpoint.host, "2001:db8::1");
  EXPECT_EQ(read->peer.endpoint.port, 65535);
  EXPECT_EQ(read->volume, "pgdata");
  EXPECT_EQ(read->terms.freeze, Freeze::none);
  for (const auto& bad : {nlohmann::json(), nlohmann::json::array(), nlohmann::json{{"host", "a"}},
                          nlohmann::json{{"host", "a"}, {"port", 70000}, {"volume", "v"}, {"freeze", "none"}},
                          nlohmann::json{{"host", "a"}, {"port", -1}, {"volume", "v"}, {"freeze", "none"}},
                          nlohmann::json{{"host", "a"}, {"port", "1"}, {"volume", "v"}, {"freeze", "none"}}})
    EXPECT_EQ(import_request(bad).error().code, Code::corrupt) << bad;
}

}  // namespace
}  // namespace ferry::migration
