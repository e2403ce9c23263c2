#include <gmock/gmock.h>

#include <fstream>
#include <memory>
#include <thread>

#include "archive/archive_writer.h"
#include "base/files.h"
#include "fake_peer.h"
#include "hand_off_source.h"
#include "migration/archive_exports.h"
#include "migration/archive_front.h"
#include "migration/imports.h"
#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"
#include "support/tree.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using volumes::State;

/// Archives in a mounted directory. How they get there, and what is in them, is the same behind an sshd
/// (transport/sftp_test.cpp, tests/e2e/test_archives.py).
class ArchivesTest : public testing::Test {
 protected:
  ArchivesTest() {
    fs::create_directories(files_);
    host_.add("pg");
    std::ofstream(data("pg") / "second") << std::string(300'000, 'x');
    open();
  }
  ~ArchivesTest() override { exports_->abandon_all(); }

  void open() {
    imports_.reset();
    exports_ = std::make_unique<ArchiveExports>(*host_.catalogue, store_, *host_.sources);
    imports_ = std::make_unique<Imports>(*host_.catalogue, peers_, store_);
  }
  /// As another process finds it.
  void restart() {
    exports_->abandon_all();
    exports_.reset();
    imports_.reset();
    host_.restart();
    open();
    exports_->resume();
  }
  fs::path data(const std::string& name) const { return host_.catalogue->layout().data(name); }
  ArchiveAddress at(const std::string& name) const { return {ArchiveAddress::Way::file, {}, "/" + name}; }

  nlohmann::json status(const std::string& ticket = "ticket") const {
    return exports_->status(*host_.catalogue->find(ticket));
  }
  Result<> begin(const std::string& name, bool replace = false, Freeze freeze = Freeze::refuse) {
    ArchiveExportRequest request{at(name), "pg", {}, replace};
    request.terms.freeze = freeze;
    return exports_->begin("ticket", request);
  }
  nlohmann::json wait() const {
    const Deadline deadline = after(std::chrono::seconds(30));
    while (status()["state"] == "exporting" && SteadyClock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return status();
  }
  nlohmann::json write(const std::string& name, bool replace = false) {
    const auto begun = begin(name, replace);
    EXPECT_TRUE(begun) << begun.error().message;
    const auto outcome = wait();
    EXPECT_TRUE(exports_->cancel("ticket"));
    EXPECT_TRUE(host_.catalogue->remove("ticket"));
    return outcome;
  }
  Result<> bring(const std::string& name, const std::string& archive, volumes::StringMap more = {}) {
    more["from"] = "file:///" + archive;
    auto request = parse_options(name, more);
    if (!request) return pass(request);
    FERRY_TRY(imports_->begin_from_archive(name, *request));
    return imports_->wait(name, after(std::chrono::seconds(30)));
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(files_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  volumes::Catalogue::Snapshot record(const std::string& name) const { return host_.catalogue->find(name); }

  test::TemporaryDirectory directory_;
  const fs::path files_ = directory_ / "archives";
  HandOffSource host_{directory_ / "host"};
  FakeHost other_;
  FakePeers peers_{other_};
  const ArchiveStore store_{directory_ / "ssh", files_};
  std::unique_ptr<ArchiveExports> exports_;
  std::unique_ptr<Imports> imports_;
};

TEST_F(ArchivesTest, AVolumeComesOutAsItWentIn) {
  for (const char* name : {"one.tar", "one.tar.zst", "one.tgz"}) {
    const auto written = write(name);
    ASSERT_EQ(written["state"], "done") << written;
    EXPECT_EQ(written["migration"]["changed"], 0);
    const std::string copy = std::string("copy") + std::to_string(files().size());
    ASSERT_TRUE(bring(copy, name));
    ASSERT_EQ(record(copy)->state, State::ready) << record(copy)->migration;
    EXPECT_EQ(record(copy)->lineage, "lineage of pg");
    EXPECT_EQ(record(copy)->migration["verified"], true);
    EXPECT_EQ(test::tree_difference(data("pg"), data(copy)), "");
  }
  EXPECT_THAT(files(), ElementsAre("one.tar", "one.tar.zst", "one.tgz")) << "and nothing else";
}

TEST_F(ArchivesTest, WhatIsThereIsReplacedOnlyIfItMayBe) {
  std::ofstream(files_ / "one.tar") << "somebody's";
  const auto refused = begin("one.tar");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::already_exists);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("file:///one.tar"), HasSubstr("replace=true")));
  EXPECT_FALSE(record("ticket"));
  EXPECT_EQ(write("one.tar", true)["state"], "done");
  EXPECT_TRUE(bring("copy", "one.tar"));
  EXPECT_THAT(files(), ElementsAre("one.tar"));
}

TEST_F(ArchivesTest, OneThatAppearsMeanwhileIsKept) {
  const test::InterceptedCalls calls([&](const test::Call& call) {
    if (call.name == "fsync" && call.place.ends_with(".part")) std::ofstream(files_ / "one.tar") << "somebody's";
    return 0;
  });
  ASSERT_TRUE(begin("one.tar"));
  const auto outcome = wait();
  EXPECT_EQ(outcome["state"], "failed");
  EXPECT_THAT(outcome["migration"]["error"].get<std::string>(), HasSubstr("exists already"));
  EXPECT_THAT(files(), ElementsAre("one.tar"));
  EXPECT_EQ(*read_file(files_ / "one.tar"), "somebody's");
}

TEST_F(ArchivesTest, ADirectoryThatIsNotThereIsFoundAtOnce) {
  const auto refused = begin("no/such/one.tar");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::not_found);
  EXPECT_THAT(bring("copy", "none.tar").error().message, HasSubstr("none.tar"));
  EXPECT_FALSE(record("copy"));
}

TEST_F(ArchivesTest, NothingOutsideOfTheDirectoryIsReached) {
  fs::create_directories(directory_ / "outside");
  fs::create_symlink(directory_ / "outside", files_ / "link");
  fs::create_symlink(directory_ / "host", files_ / "secret.tar");
  EXPECT_FALSE(begin("link/one.tar"));
  EXPECT_TRUE(fs::is_empty(directory_ / "outside"));
  EXPECT_FALSE(bring("copy", "secret.tar"));
  EXPECT_FALSE(bring("copy", "../host/one.tar"));
}

/// Whatever call is the last one before the plugin is killed: afterwards the archive is whole and the ticket done.
TEST_F(ArchivesTest, ACrashAtAnyInstantIsMadeUpFor) {
  for (int number = 1;; ++number) {
    SCOPED_TRACE("crash at call " + std::to_string(number));
    std::atomic<int> calls{0};
    std::atomic<bool> dead{false};
    bool begun = false;
    {
      const test::InterceptedCalls intercepted([&](const test::Call& call) {
        if (!call.place.starts_with(directory_.path().string())) return 0;
        if (++calls >= number) dead = true;
        return dead ? EIO : 0;
      });
      begun = begin("one.tar").has_value();
      const Deadline deadline = after(std::chrono::seconds(20));
      while (begun && !dead && status()["state"] == "exporting" && SteadyClock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      exports_->abandon_all();
    }
    if (!dead) break;
    restart();
    if (record("ticket")) {
      // What failed before it was killed has its outcome, and left no archive that looks whole.
      const auto outcome = wait();
      if (outcome["state"] == "done") {
        ASSERT_TRUE(bring("copy", "one.tar"));
        ASSERT_EQ(record("copy")->state, State::ready) << record("copy")->migration;
        ASSERT_TRUE(host_.catalogue->remove("copy"));
      }
      ASSERT_THAT(outcome["migration"]["error"].dump(), Not(HasSubstr("exists already")));
      ASSERT_TRUE(exports_->cancel("ticket"));
      ASSERT_TRUE(host_.catalogue->remove("ticket"));
    }
    fs::remove_all(files_);
    fs::create_directories(files_);
    ASSERT_LT(number, 1000);
  }
}

TEST_F(ArchivesTest, OneThatHasItsNameIsDoneWhateverHappensToTheTicket) {
  ASSERT_TRUE(begin("one.tar"));
  ASSERT_EQ(wait()["state"], "done");
  // As a process that was killed before it had stored the outcome has left it.
  ASSERT_TRUE(host_.catalogue->update("ticket", [](volumes::VolumeRecord& next) { next.state = State::importing; }));
  const auto before = fs::last_write_time(files_ / "one.tar");
  restart();
  EXPECT_EQ(wait()["state"], "done");
  EXPECT_EQ(fs::last_write_time(files_ / "one.tar"), before) << "it is not written anew";
}

TEST_F(ArchivesTest, CancellingLeavesNothing) {
  std::ofstream(data("pg") / "large") << std::string(30'000'000, 'x');
  ArchiveExportRequest request{at("one.tar"), "pg", {}, false};
  request.terms.limit = 1'000'000;
  ASSERT_TRUE(exports_->begin("ticket", request));
  const Deadline deadline = after(std::chrono::seconds(20));
  while (files().empty() && SteadyClock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(files().size(), 1U);
  ASSERT_TRUE(exports_->cancel("ticket"));
  EXPECT_TRUE(files().empty());
}

TEST_F(ArchivesTest, AVolumeThatChangesIsReadAgainAndThenGivenUp) {
  std::atomic<int> reads{0};
  const test::InterceptedCalls calls([&](const test::Call& call) {
    if (call.name == "write" && call.place.ends_with(".part")) std::ofstream(data("pg") / "file") << ++reads;
    return 0;
  });
  ASSERT_TRUE(begin("one.tar"));
  const auto outcome = wait();
  EXPECT_EQ(outcome["state"], "failed") << outcome;
  EXPECT_THAT(outcome["migration"]["error"].get<std::string>(), HasSubstr("changed while it was read"));
  EXPECT_GE(reads, 4);
  EXPECT_TRUE(files().empty());
}

TEST_F(ArchivesTest, AFileSystemWithoutRenameThatReplacesNothingHasLinks) {
  const test::InterceptedCalls calls(
      [&](const test::Call& call) { return call.name == "renameat2" && call.place.ends_with("one.tar") ? EINVAL : 0; });
  EXPECT_EQ(write("one.tar")["state"], "done");
  EXPECT_THAT(files(), ElementsAre("one.tar"));
  const auto refused = begin("one.tar");
  EXPECT_EQ(refused.error().code, Code::already_exists);
}

TEST_F(ArchivesTest, HolesTakeNoRoom) {
  ASSERT_EQ(::truncate((data("pg") / "file").c_str(), 1LL << 43), 0);
  ASSERT_EQ(write("one.tar.zst")["state"], "done");
  ASSERT_TRUE(bring("copy", "one.tar.zst"));
  EXPECT_EQ(record("copy")->state, State::ready) << record("copy")->migration;
  EXPECT_EQ(fs::file_size(data("copy") / "file"), std::uintmax_t{1} << 43);
}

/// Labels and options are those of the archive that was looked at, so the content has to be, too.
TEST_F(ArchivesTest, OneThatIsReplacedWhileItIsImportedIsRefused) {
  write("one.tar");
  fs::copy_file(files_ / "one.tar", files_ / "first");
  write("one.tar", true);
  bool replaced = false;
  const test::InterceptedCalls calls([&](const test::Call& call) {
    if (!replaced && call.name == "mkdir" && call.place.ends_with("staging")) {
      replaced = true;
      fs::copy_file(files_ / "first", files_ / "one.tar", fs::copy_options::overwrite_existing);
    }
    return 0;
  });
  (void)bring("copy", "one.tar");
  ASSERT_TRUE(replaced);
  EXPECT_EQ(record("copy")->state, State::failed);
  EXPECT_THAT(record("copy")->migration["error"].get<std::string>(),
              AllOf(HasSubstr("replaced"), HasSubstr("retry=copy")));
  ASSERT_TRUE(imports_->restart("copy"));
  ASSERT_TRUE(imports_->wait("copy", after(std::chrono::seconds(30))));
  EXPECT_EQ(record("copy")->state, State::ready) << record("copy")->migration;
}

TEST_F(ArchivesTest, ADamagedOneIsRefusedAndNothingIsLeft) {
  write("one.tar");
  std::string bytes = *read_file(files_ / "one.tar");
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(files_ / "one.tar", std::ios::binary) << bytes;
  (void)bring("copy", "one.tar");
  EXPECT_EQ(record("copy")->state, State::failed);
  EXPECT_FALSE(fs::exists(host_.catalogue->layout().staging("copy")));
}

/// As one that makes the process end each time.
TEST_F(ArchivesTest, AnImportThatNeverComesToAnEndIsGivenUp) {
  write("one.tar");
  const auto request = parse_options("copy", {{"from", "file:///one.tar"}, {"limit", "100K"}});
  ASSERT_TRUE(request);
  ASSERT_TRUE(imports_->begin_from_archive("copy", *request));
  const auto begin_again = [this] {
    restart();
    imports_->resume();
  };
  for (int times = 0; times < 9; ++times) {
    imports_->abandon_all();  // in good order, which does not count
    begin_again();
  }
  for (int times = 2; times <= 5; ++times) {
    begin_again();
    EXPECT_EQ(record("copy")->state, State::importing) << times;
  }
  begin_again();
  EXPECT_EQ(record("copy")->state, State::failed);
  EXPECT_THAT(record("copy")->migration["error"].get<std::string>(), HasSubstr("retry=copy"));
  ASSERT_TRUE(imports_->restart("copy"));
  EXPECT_EQ(record("copy")->state, State::importing) << "and counts anew";
  begin_again();
  EXPECT_EQ(record("copy")->state, State::importing);
}

TEST_F(ArchivesTest, TheModeOfTheCommandLineWins) {
  write("one.tar");
  ASSERT_TRUE(bring("copy", "one.tar", {{"mode", "ro"}}));
  EXPECT_EQ(record("copy")->mode, volumes::Mode::ro);
}

}  // namespace
}  // namespace ferry::migration
