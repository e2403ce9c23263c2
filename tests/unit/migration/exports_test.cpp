#include "migration/exports.h"

#include <gmock/gmock.h>

#include <deque>
#include <thread>

#include "fake_peer.h"
#include "migration/arrivals.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

/// What the destination says, and what it was asked for. Outlives the objects that ask.
struct There {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> asked;  // protected by mutex, as is the rest
  Result<> begun;
  Result<> ended;
  Result<nlohmann::json> status = nlohmann::json{
      {"state", "importing"}, {"migration", nlohmann::json::object()}, {"volumes", nlohmann::json::array()}};

  void set(const std::function<void()>& change) {
    const std::lock_guard guard(mutex);
    change();
  }
  void say(const std::string& state, const char* error = nullptr) {
    set([&] {
      status =
          nlohmann::json{{"state", state}, {"migration", nlohmann::json::object()}, {"volumes", {{{"name", "pg"}}}}};
      if (error != nullptr) (*status)["migration"]["error"] = error;
    });
  }
  void note(const std::string& what) {
    asked.push_back(what);
    changed.notify_all();
  }
  void wait_for(const std::string& what) {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, seconds(20), [&] {
      return std::find(asked.begin(), asked.end(), what) != asked.end();
    })) << what;
  }
  std::size_t count(const std::string& what) {
    const std::lock_guard guard(mutex);
    return static_cast<std::size_t>(std::count(asked.begin(), asked.end(), what));
  }
};

class FakeDestination : public Destination {
 public:
  explicit FakeDestination(There& there) : there_(there) {}
  Result<> begin(const TicketRequest&, milliseconds) override { return answer("begin", there_.begun); }
  Result<> offer() override { return answer("offer", Result<>()); }
  Result<nlohmann::json> status(milliseconds) override { return answer("status", there_.status); }
  Result<> end(milliseconds) override { return answer("end", there_.ended); }
  std::string trouble() const override { return {}; }
  void abort() override {}

 private:
  template <class T>
  T answer(const std::string& what, const T& given) {
    const std::lock_guard guard(there_.mutex);
    there_.note(what);
    return given;
  }
  There& there_;
};

class ExportsTest : public testing::Test {
 protected:
  ExportsTest() {
    peers_.on_destination = [this] { return std::make_shared<FakeDestination>(there_); };
    open();
    volumes::VolumeRecord record;
    record.name = "pg";
    record.created = record.lineage = "x";
    EXPECT_TRUE(catalogue_->create(record));
  }
  void open() {
    exports_.reset();
    hand_offs_.reset();
    sources_.reset();
    catalogue_.reset();
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
    sources_ = std::make_unique<Sources>(*catalogue_, mounts_, client_, tracker_, directory_.path(), directory_ / "p");
    hand_offs_ = std::make_unique<HandOffs>(
        HandOffs::Parts{*catalogue_, mounts_, client_, tracker_, *sources_, [] {},
                        [this](const std::string& name) { return catalogue_->remove(name); }});
    exports_ = std::make_unique<Exports>(Exports::Parts{*catalogue_, peers_, *sources_, *hand_offs_});
  }
  /// As another process finds it.
  void restart() {
    exports_->abandon_all();
    open();
    there_.set([&] { there_.asked.clear(); });
    exports_->resume();
  }
  TicketRequest moving() const {
    TicketRequest request = request_;
    request.move = true;
    return request;
  }
  nlohmann::json status() const { return exports_->status(*catalogue_->find("ticket")); }
  nlohmann::json wait_until(const std::function<bool(const nlohmann::json&)>& condition) const {
    const Deadline deadline = after(seconds(20));
    while (!condition(status()) && SteadyClock::now() < deadline) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_TRUE(condition(status())) << status();
    return status();
  }
  nlohmann::json wait_for_state(const std::string& state) const {
    return wait_until([&](const nlohmann::json& status) { return status["state"] == state; });
  }
  bool is_told() const { return catalogue_->find("ticket")->import["told"]; }
  void wait_until_told() const {
    wait_until([&](const nlohmann::json&) { return is_told(); });
  }

  const TicketRequest request_{{"b", 7766}, {{"pg", "pg"}}, {}, false, false};
  test::TemporaryDirectory directory_;
  There there_;
  FakeHost host_;
  FakePeers peers_{host_};
  engine::Client client_{directory_ / "no-engine.sock"};
  engine::Tracker tracker_{client_, [] {}};
  volumes::Mounts mounts_{directory_ / "propagated", directory_ / "scratch"};
  std::unique_ptr<volumes::Catalogue> catalogue_;
  std::unique_ptr<Sources> sources_;
  std::unique_ptr<HandOffs> hand_offs_;
  std::unique_ptr<Exports> exports_;
};

TEST_F(ExportsTest, WhatIsRefusedLeavesNothingAtEitherEnd) {
  for (const Code code : {Code::already_exists, Code::unavailable}) {  // the latter may have begun nevertheless
    there_.set([&] { there_.begun = fail(code, "no"); });
    const auto begun = exports_->begin("ticket", request_);
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.error().code, code);
    EXPECT_FALSE(catalogue_->find("ticket"));
  }
  EXPECT_THAT(there_.asked, ElementsAre("begin", "end", "begin", "end"));
}

TEST_F(ExportsTest, ADoneOneIsForgottenThere) {
  there_.say("done");
  ASSERT_TRUE(exports_->begin("ticket", request_));
  EXPECT_EQ(wait_for_state("done")["migration"]["error"], nullptr);
  there_.wait_for("end");
  wait_until_told();
  EXPECT_EQ(there_.count("begin"), 1U);
  EXPECT_TRUE(exports_->cancel("ticket"));
  EXPECT_EQ(there_.count("end"), 1U);
}

TEST_F(ExportsTest, AFailureSaysWhereItWas) {
  there_.say("failed", "disk full");
  ASSERT_TRUE(exports_->begin("ticket", request_));
  const auto failed = wait_for_state("failed");
  EXPECT_EQ(failed["migration"]["error"], "peer b:7766: disk full");
  EXPECT_EQ(failed["volumes"][0]["state"], "failed");
}

TEST_F(ExportsTest, OfTheDestinationsVolumesOnlyThoseAskedForAreShown) {
  there_.set([&] {
    (*there_.status)["volumes"] = {{{"name", "other"}, {"state", "x"}}, {{"name", "pg"}, {"state", "prepared"}}};
  });
  ASSERT_TRUE(exports_->begin("ticket", request_));
  const auto shown = wait_until([](const nlohmann::json& now) { return now["volumes"][0]["state"] == "prepared"; });
  EXPECT_EQ(shown["volumes"].size(), 1U);
  EXPECT_EQ(shown["volumes"][0]["source"], "pg");
}

TEST_F(ExportsTest, ARestartGoesOnAndDoesNotBeginAnew) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  const auto id = status()["migration"]["id"];
  restart();
  there_.wait_for("status");
  EXPECT_EQ(status()["migration"]["id"], id);
  there_.say("done");
  wait_for_state("done");
  EXPECT_EQ(there_.count("begin"), 0U);
  EXPECT_GE(there_.count("offer"), 1U);
}

TEST_F(ExportsTest, OneThatWasCancelledThereMeanwhileStaysSo) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  there_.set([&] { there_.status = fail(Code::not_found, "none"); });
  restart();
  EXPECT_THAT(wait_for_state("failed")["migration"]["error"].get<std::string>(), HasSubstr("cancelled at b:7766"));
  EXPECT_EQ(there_.count("begin"), 0U);
}

TEST_F(ExportsTest, OneOfWhichTheBeginningIsNotKnownBegins) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  exports_->abandon_all();
  ASSERT_TRUE(catalogue_->update("ticket", [](volumes::VolumeRecord& record) { record.import["begun"] = false; }));
  restart();
  there_.wait_for("begin");
}

TEST_F(ExportsTest, TheDestinationIsToldOnceItIsBack) {
  there_.say("done");
  there_.set([&] { there_.ended = fail(Code::unavailable, "away"); });
  ASSERT_TRUE(exports_->begin("ticket", request_));
  wait_for_state("done");
  there_.wait_for("end");
  restart();
  EXPECT_EQ(status()["state"], "done");
  EXPECT_FALSE(is_told());
  there_.set([&] { there_.ended = {}; });
  there_.wait_for("end");
  wait_until_told();
  EXPECT_EQ(there_.count("status"), 0U);
  restart();
  EXPECT_EQ(there_.count("end"), 0U);
}

TEST_F(ExportsTest, CancellingTellsTheDestination) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  ASSERT_TRUE(exports_->cancel("ticket"));
  EXPECT_EQ(there_.count("end"), 1U);
  there_.set([&] { there_.asked.clear(); });
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(there_.count("status"), 0U);
}

TEST_F(ExportsTest, CancellingDoesNotNeedTheDestination) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  there_.set([&] { there_.ended = fail(Code::unavailable, "away"); });
  EXPECT_TRUE(exports_->cancel("ticket"));
}

TEST_F(ExportsTest, WhatIsDecidedThereGoesOn) {
  ASSERT_TRUE(exports_->begin("ticket", request_));
  there_.set([&] { there_.ended = fail(Code::busy, "decided"); });
  const auto cancelled = exports_->cancel("ticket");
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::busy);
  there_.say("done");
  wait_for_state("done");
}

/// ---- hand-offs: a destination may have everything, and wait for this host's word, which comes over the export's
/// links

TEST_F(ExportsTest, OfAHandOffTheTicketStaysUntilTheDestinationKnowsThatItIsCancelled) {
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  there_.set([&] { there_.ended = fail(Code::unavailable, "away"); });
  const auto cancelled = exports_->cancel("ticket");
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::busy);
  EXPECT_THAT(cancelled.error().message, HasSubstr("has not been told yet"));
  wait_for_state("failed");
  EXPECT_FALSE(is_told());
  restart();
  there_.wait_for("offer");
  there_.set([&] { there_.ended = {}; });
  wait_until_told();
  EXPECT_TRUE(exports_->cancel("ticket"));
}

TEST_F(ExportsTest, OfAHandOffTheUserMayNotWantToWaitForThat) {
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  there_.set([&] { there_.ended = fail(Code::unavailable, "away"); });
  ASSERT_FALSE(exports_->cancel("ticket"));
  wait_for_state("failed");
  EXPECT_TRUE(exports_->cancel("ticket"));
}

TEST_F(ExportsTest, OfAHandOffNoErrorOfTheDestinationIsTheEnd) {
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  for (const Code code : {Code::denied, Code::unsupported, Code::corrupt, Code::io}) {
    there_.set([&] {
      there_.status = fail(code, "it does not let its peers write volumes");
      there_.asked.clear();
    });
    there_.wait_for("status");
    wait_until([](const nlohmann::json& now) { return now["migration"]["error"].is_string(); });
    EXPECT_EQ(status()["state"], "exporting");
  }
  there_.say("failed", "the disk is full");
  EXPECT_THAT(wait_for_state("failed")["migration"]["error"].get<std::string>(), HasSubstr("the disk is full"));
}

TEST_F(ExportsTest, WhatWasTakenBackByForceSaysSo) {
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  ASSERT_TRUE(catalogue_->update("ticket", [](volumes::VolumeRecord& record) { record.import["taken"] = true; }));
  there_.say("done");
  EXPECT_THAT(wait_for_state("failed")["migration"]["error"].get<std::string>(), HasSubstr("taken back by force"));
}

TEST_F(ExportsTest, ACopyOfAnEarlierVersionIsNoHandOff) {
  there_.say("done");
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  EXPECT_THAT(wait_for_state("failed")["migration"]["error"].get<std::string>(), HasSubstr("nothing was handed off"));
}

TEST_F(ExportsTest, WhatWasTakenBackByForceCanBeForgotten) {
  ASSERT_TRUE(exports_->begin("ticket", moving()));
  const std::string id = catalogue_->find("ticket")->import["export"];
  ASSERT_TRUE(catalogue_->update("pg", [&](volumes::VolumeRecord& record) {
    record.hand_off = {{"reclaimed", id}, {"of", 1}};
  }));
  EXPECT_TRUE(exports_->cancel("ticket"));
}

TEST_F(ExportsTest, ItMayBeCancelledAndStoppedAtOnce) {
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(exports_->begin("ticket", request_));
    std::thread cancels([&] { (void)exports_->cancel("ticket"); });
    std::thread too([&] { (void)exports_->cancel("ticket"); });
    exports_->abandon_all();
    cancels.join();
    too.join();
    ASSERT_TRUE(catalogue_->remove("ticket"));
    open();
  }
}

// --- at the destination ------------------------------------------------------------------------------------------

class ArrivalsTest : public testing::Test {
 protected:
  ArrivalsTest() {
    volumes::VolumeRecord record;
    record.name = "pg";
    record.created = record.lineage = "x";
    EXPECT_TRUE(catalogue_->create(record));
  }
  Result<> add(const std::string& name, volumes::Kind kind) {
    volumes::VolumeRecord record;
    record.name = name;
    record.kind = kind;
    record.created = record.lineage = "x";
    return catalogue_->create(record);
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<volumes::Catalogue> catalogue_ =
      std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
  int begun_ = 0;
  Arrivals arrivals_{*catalogue_,
                     {[this](const std::string& ticket, const TicketRequest&) {
                        ++begun_;
                        return add(ticket, volumes::Kind::ticket);
                      },
                      [this](const std::string& ticket) { return catalogue_->remove(ticket); },
                      [](const volumes::VolumeRecord&) { return nlohmann::json::object(); }}};
};

TEST_F(ArrivalsTest, OneIsBegunOnce) {
  EXPECT_EQ(arrivals_.status("1").error().code, Code::not_found);
  ASSERT_TRUE(arrivals_.begin("1", {}));
  ASSERT_TRUE(arrivals_.begin("1", {}));
  EXPECT_EQ(begun_, 1);
  EXPECT_TRUE(arrivals_.status("1"));
}

TEST_F(ArrivalsTest, ARequestThatComesAfterItsEndBeginsNothing) {
  ASSERT_TRUE(arrivals_.end("1"));
  EXPECT_EQ(arrivals_.begin("1", {}).error().code, Code::not_found);
  ASSERT_TRUE(arrivals_.begin("2", {}));
  ASSERT_TRUE(arrivals_.end("2"));
  EXPECT_EQ(arrivals_.begin("2", {}).error().code, Code::not_found);
  EXPECT_EQ(begun_, 1);
}

TEST_F(ArrivalsTest, AVolumeOfSuchANameIsNotOne) {
  ASSERT_TRUE(add(Arrivals::ticket_of("1"), volumes::Kind::volume));
  ASSERT_TRUE(arrivals_.end("1"));
  EXPECT_TRUE(catalogue_->find(Arrivals::ticket_of("1")));
  EXPECT_EQ(arrivals_.status("1").error().code, Code::not_found);
}

}  // namespace
}  // namespace ferry::migration
