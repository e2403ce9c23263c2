#include "migration/tickets.h"

#include <sys/stat.h>

#include "sync/plan.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

TEST(TicketPlan, SurvivesItsRecord) {
  TicketPlan plan;
  plan.request = {{"a", 7766}, {}, {Freeze::none, 5, sync::Compression::zstd}, true, false};
  plan.peer_uuid = "uuid";
  TicketVolume volume;
  volume.target = "copy";
  volume.action = "update";
  volume.source = {"pg", "ferry", "lineage", 3, volumes::Mode::ro, {{"l", "1"}}, {{"o", "2"}}, false, 0, true, "17-1"};
  plan.volumes = {volume};
  plan.committing = nlohmann::json::array({{{"digest", "d"}}});
  plan.planned = {true};
  const auto again = ticket_plan(to_json(plan));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), to_json(plan));
  EXPECT_EQ(again->volumes.front().source.mode, volumes::Mode::ro);
  auto earlier = to_json(plan);
  earlier.erase("planned");
  EXPECT_TRUE(ticket_plan(earlier)->planned.empty());
  auto damaged = to_json(plan);
  damaged["planned"] = {true, true};
  EXPECT_EQ(ticket_plan(damaged).error().code, Code::corrupt);
  damaged = earlier;
  damaged["committing"] = nlohmann::json::array();
  EXPECT_EQ(ticket_plan(damaged).error().code, Code::corrupt);
  EXPECT_EQ(ticket_plan(nullptr).error().code, Code::corrupt);
}

TEST_F(TicketsTest, TheFirstMakesAVolumeAndTheNextUpdatesIt) {
  const auto first = run("t1", request_);
  EXPECT_EQ(first["state"], "done");
  EXPECT_EQ(first["volumes"][0]["action"], "create");
  EXPECT_EQ(first["migration"]["verified"], true);
  EXPECT_EQ(*read_file(data("pg") / "file"), "one");
  EXPECT_EQ(catalogue_->find("pg")->labels, (volumes::StringMap{{"team", "web"}}));
  write("two");
  host_.description.labels = {{"team", "db"}};
  const auto second = run("t2", request_);
  EXPECT_EQ(second["state"], "done") << second;
  EXPECT_EQ(second["volumes"][0]["action"], "update");
  EXPECT_EQ(*read_file(data("pg") / "file"), "two");
  EXPECT_EQ(catalogue_->find("pg")->labels, (volumes::StringMap{{"team", "db"}}));
  EXPECT_TRUE(catalogue_->find("pg")->superseded->everything);
  EXPECT_FALSE(fs::exists(catalogue_->layout().update("pg")));
  restart();
  EXPECT_EQ(tickets_->status(*catalogue_->find("t2")), second);
}

TEST_F(TicketsTest, AnUpdateBringsLabelsThoughNoContentHasChanged) {
  run("t1", request_);
  std::this_thread::sleep_for(settling);
  run("t2", request_);
  const auto baseline = [&] {
    struct stat info {};
    EXPECT_EQ(::stat(catalogue_->layout().baseline("pg").c_str(), &info), 0);
    return info.st_ino;
  };
  const auto before = baseline();
  host_.description.labels = {{"team", "db"}};
  const auto status = run("t3", request_);
  EXPECT_EQ(baseline(), before);  // there was no plan
  EXPECT_EQ(status["state"], "done") << status;
  const auto record = catalogue_->find("pg");
  EXPECT_EQ(record->labels, (volumes::StringMap{{"team", "db"}}));
  EXPECT_EQ(record->migration["id"], status["migration"]["id"]);
  EXPECT_EQ(record->state, volumes::State::ready);
  EXPECT_FALSE(fs::exists(catalogue_->layout().update("pg")));
}

TEST_F(TicketsTest, OneVolumeThatFailsTakesTheOthersWithIt) {
  run("t1", request_);
  write("two");
  TicketRequest both = request_;
  both.volumes.push_back({"other", "other"});
  int opened = host_.opened;
  host_.on_open = [opened](int attempt) -> Result<> {
    return attempt == opened + 2 ? fail(Code::not_found, "it has gone") : Result<>();
  };
  const auto failed = run("t2", both);
  EXPECT_EQ(failed["state"], "failed");
  EXPECT_EQ(failed["migration"]["error"], "volume other: it has gone");
  EXPECT_EQ(*read_file(data("pg") / "file"), "one");
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::ready);
  EXPECT_FALSE(catalogue_->find("other"));
  EXPECT_FALSE(fs::exists(catalogue_->layout().update("pg")));
}

TEST_F(TicketsTest, OneThatIsCancelledLeavesNothing) {
  host_.hang_in_content = true;
  ASSERT_TRUE(tickets_->begin("t1", request_));
  host_.wait_for_hanging();
  EXPECT_EQ(tickets_->holder("pg"), "t1");
  TicketRequest again = request_;
  EXPECT_EQ(tickets_->begin("t2", again).error().code, Code::busy);
  ASSERT_TRUE(tickets_->cancel("t1"));
  EXPECT_FALSE(catalogue_->find("pg"));
  EXPECT_EQ(tickets_->holder("pg"), "");
}

TEST_F(TicketsTest, OneThatIsInterruptedIsCarriedOn) {
  run("t1", request_);
  write("two");
  host_.hang_in_content = true;
  ASSERT_TRUE(tickets_->begin("t2", request_));
  host_.wait_for_hanging();
  restart();
  host_.hang_in_content = false;
  tickets_->resume();
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(tickets_->status(*catalogue_->find("t2"))["state"], "done");
  EXPECT_EQ(*read_file(data("pg") / "file"), "two");
}

// The record of the ticket says so, nothing else has happened yet.
TEST_F(TicketsTest, WhatIsDecidedIsDoneWithoutThePeer) {
  run("t1", request_);
  write("two");
  host_.on_identify = [] { return Result<>(); };
  ASSERT_TRUE(catalogue_->prepare_update("pg"));
  {
    auto peer = peers_.peer({"a", 7766});
    sync::Progress progress;
    const std::atomic<bool> cancelled{false};
    sync::ReceiverOptions options;
    options.baseline = catalogue_->layout().baseline("pg");
    options.update = sync::UpdateOf{data("pg"), catalogue_->uuid(), sync::Replace::refuse};
    const auto source = peer->open({{"a", 7766}, "pg", {}});
    sync::Receiver receiver(**source, catalogue_->layout().update("pg"), catalogue_->layout().journal("pg"), options,
                            progress, cancelled);
    const auto received = receiver.run();
    ASSERT_TRUE(received) << received.error().message;
  }
  store_decided_update("t2");
  host_.on_open = [](int) { return Result<>(fail(Code::unavailable, "the peer is away")); };
  restart();
  tickets_->resume();
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(tickets_->status(*catalogue_->find("t2"))["state"], "done");
  EXPECT_EQ(*read_file(data("pg") / "file"), "two");
  EXPECT_EQ(catalogue_->find("pg")->migration["digest"], "decided");
}

// Of a volume of which the record does not show that it is done.
TEST_F(TicketsTest, APlanThatIsMissingIsNotTakenForNothingToDo) {
  run("t1", request_);
  store_decided_update("t2", {true});
  ASSERT_TRUE(catalogue_->prepare_update("pg"));
  const auto before = catalogue_->find("pg")->migration;
  tickets_->resume();
  EXPECT_FALSE(tickets_->wait("pg", after(std::chrono::milliseconds(300))));
  EXPECT_THAT(tickets_->status(*catalogue_->find("t2"))["migration"]["error"].get<std::string>(),
              testing::HasSubstr("is not there any more"));
  EXPECT_EQ(catalogue_->find("pg")->migration, before);
  EXPECT_EQ(tickets_->holder("pg"), "t2");
  // As it is when the process ends after the plan has gone.
  tickets_->abandon_all();
  ASSERT_TRUE(catalogue_->update("pg", [](volumes::VolumeRecord& record) {
    record.state = volumes::State::importing;
    record.import["applied"] = "t2";
  }));
  restart();
  tickets_->resume();
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(catalogue_->find("pg")->migration["digest"], "decided");
}

// A Mount must not get what a later process is going to change beneath it.
TEST_F(TicketsTest, WhatIsDecidedIsHeldAlsoWhileItCannotBeDone) {
  run("t1", request_);
  store_decided_update("t2");
  ASSERT_TRUE(catalogue_->prepare_update("pg"));
  ASSERT_TRUE(write_file_atomically(sync::UpdatePaths(catalogue_->layout().update("pg")).plan, "no plan"));
  tickets_->resume();
  EXPECT_EQ(tickets_->cancel("t2").error().code, Code::busy);
  tickets_->abandon_all();
  EXPECT_EQ(tickets_->holder("pg"), "t2");
  EXPECT_EQ(tickets_->cancel("t2").error().code, Code::busy);
  EXPECT_EQ(catalogue_->find("t2")->state, volumes::State::importing);
}

TEST_F(TicketsTest, ADryRunHoldsNothing) {
  run("t1", request_);
  host_.hang_in_open = true;
  TicketRequest dry = request_;
  dry.dry_run = true;
  ASSERT_TRUE(tickets_->begin("t2", dry));
  host_.wait_for_hanging();
  EXPECT_EQ(tickets_->holder("pg"), "");
}

TEST_F(TicketsTest, ADryRunChangesNothing) {
  TicketRequest dry = request_;
  dry.dry_run = true;
  const auto planned = run("t1", dry);
  EXPECT_EQ(planned["state"], "done") << planned;
  EXPECT_EQ(planned["volumes"][0]["action"], "create");
  EXPECT_EQ(planned["volumes"][0]["bytes_to_send"], planned["volumes"][0]["bytes_total"]);
  EXPECT_FALSE(catalogue_->find("pg"));
  run("t2", request_);
  const auto again = run("t3", dry);
  EXPECT_EQ(again["volumes"][0]["action"], "update");
  EXPECT_EQ(again["volumes"][0]["files_total"], 1U);
}

TEST_F(TicketsTest, OtherVolumesOfThatNameAreNotLost) {
  add("pg", "another");
  EXPECT_EQ(tickets_->begin("t1", request_).error().code, Code::already_exists);
  TicketRequest replace = request_;
  replace.replace = true;
  EXPECT_EQ(run("t2", replace)["volumes"][0]["action"], "replace");
  EXPECT_EQ(*read_file(data("pg") / "file"), "one");
  EXPECT_EQ(catalogue_->find("pg")->lineage, "lineage");
}

TEST_F(TicketsTest, AFailedImportIsStartedAgain) {
  host_.on_open = [](int) { return Result<>(fail(Code::not_found, "it has gone")); };
  CreateRequest import;
  import.import = ImportRequest{{"a", 7766}, "pg", {}};
  ASSERT_TRUE(imports_->begin("pg", import));
  ASSERT_TRUE(imports_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(catalogue_->find("pg")->state, volumes::State::failed);
  EXPECT_EQ(tickets_->begin_retry("t1", "unknown").error().code, Code::not_found);
  host_.on_open = [](int) { return Result<>(); };
  ASSERT_TRUE(tickets_->begin_retry("t1", "pg"));
  ASSERT_TRUE(imports_->wait("pg", after(std::chrono::seconds(20))));
  EXPECT_EQ(tickets_->status(*catalogue_->find("t1"))["state"], "done");
  EXPECT_EQ(*read_file(data("pg") / "file"), "one");
  EXPECT_EQ(tickets_->begin_retry("t2", "pg").error().code, Code::invalid_argument);
}

/// A local volume has no lineage, and another one may have its name by now.
TEST_F(TicketsTest, ALocalVolumeThatWasMadeAnewIsAnotherOne) {
  host_.description.driver = "local";
  host_.description.lineage = "";
  host_.description.instance = "17-1";
  EXPECT_EQ(run("first", request_)["state"], "done");
  write("two");
  std::this_thread::sleep_for(settling);
  EXPECT_EQ(run("again", request_)["state"], "done");
  host_.description.instance = "";  // a peer that does not tell
  EXPECT_EQ(run("earlier-version", request_)["state"], "done");
  host_.description.instance = "17-1";
  EXPECT_EQ(run("once-more", request_)["state"], "done");
  host_.description.instance = "17-2";
  const auto begun = tickets_->begin("other", request_);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::already_exists);
  EXPECT_THAT(begun.error().message, testing::HasSubstr("replace=true"));
}

}  // namespace
}  // namespace ferry::migration
