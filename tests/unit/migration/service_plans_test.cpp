#include "migration/service_plans.h"

#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <thread>

#include "fake_peer.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using engine::testing::golden;
using engine::testing::routes;
using engine::testing::ScriptedEngine;
using testing::HasSubstr;
using volumes::State;

ServiceDescription service() {
  ServiceDescription service;
  service.container = "db";
  service.status = "running";
  service.image_name = "postgres:16";
  service.layer = {"overlay2", true, true, {1, 2, 3}, 100};
  service.host.architecture = "x86_64";
  service.host.os = "linux";
  auto& mount = service.mounts.emplace_back();
  mount.at = {"volume", "pgdata", "", "/data", "ferry", "", true};
  return service;
}

/// The plan of another host's service, for this one, whose Docker Engine answers with recordings.
class ServicePlansTest : public testing::Test {
 protected:
  ServicePlansTest() {
    other_.on_describe_service = [this](const std::string& container,
                                        ServiceDetail detail) -> Result<ServiceDescription> {
      if (container != "db") return fail(Code::not_found, "there is no container \"" + container + "\"");
      if (detail == ServiceDetail::full && ++described_ <= unavailable_)
        return fail(Code::unavailable, "the peer is away");
      return service();
    };
    open();
  }
  ~ServicePlansTest() override { plans_->abandon_all(); }

  void open() {
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
    sources_ = std::make_unique<Sources>(*catalogue_, mounts_, client_, tracker_, directory_.path(), directory_ / "p");
    services_ = std::make_unique<Services>(client_, *sources_);
    planner_ = std::make_unique<ServicePlanner>(client_, *catalogue_, directory_ / "net");
    plans_ = std::make_unique<ServicePlans>(ServicePlans::Parts{*catalogue_, peers_, *services_, *planner_});
  }
  void restart() {
    plans_->abandon_all();
    plans_.reset();
    planner_.reset();
    services_.reset();
    sources_.reset();
    catalogue_.reset();  // which is locked
    open();
    plans_->resume();
  }
  static ServicePlanRequest request(const std::string& container = "db", bool exports = false) {
    ServicePlanRequest request;
    request.peer = transport::PeerAddress("a", 7766);
    request.exports = exports;
    request.options.container = container;
    return request;
  }
  nlohmann::json status() const { return plans_->status(*catalogue_->find("ticket")); }
  nlohmann::json wait(const std::function<bool(const nlohmann::json&)>& until) const {
    const Deadline deadline = after(std::chrono::seconds(20));
    while (!until(status()) && SteadyClock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return status();
  }
  nlohmann::json wait() const {
    return wait([](const nlohmann::json& now) { return now["state"] == "done" || now["state"] == "failed"; });
  }

  test::TemporaryDirectory directory_;
  std::atomic<int> described_{0};
  std::atomic<int> unavailable_{0};
  FakeHost other_;
  FakePeers peers_{other_};
  ScriptedEngine engine_{
      routes("1.41", {{"GET /v1.41/info", answer(200, golden("26.1", "service_info.json"))},
                      {"GET /v1.41/containers/json", answer(200, golden("26.1", "services.json"))}})};
  engine::Client client_{engine_.path()};
  engine::Tracker tracker_{client_, [] {}};
  volumes::Mounts mounts_{directory_ / "p", directory_ / "scratch"};
  std::unique_ptr<volumes::Catalogue> catalogue_;
  std::unique_ptr<Sources> sources_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<ServicePlanner> planner_;
  std::unique_ptr<ServicePlans> plans_;
};

TEST_F(ServicePlansTest, APlanIsInTheTicketsStatusForGood) {
  ASSERT_TRUE(plans_->begin("ticket", request()));
  const auto done = wait();
  ASSERT_EQ(done["state"], "done") << done;
  EXPECT_EQ(done["service"]["container"], "db");
  EXPECT_EQ(done["service"]["layer"]["added"], 1);
  EXPECT_EQ(done["service"]["mounts"][0]["action"], "create");
  EXPECT_TRUE(done["migration"]["error"].is_null());
  restart();
  EXPECT_EQ(status(), done);
  EXPECT_EQ(catalogue_->find("ticket")->state, State::done);
}

TEST_F(ServicePlansTest, WhatIsWrongIsFoundAtOnce) {
  const auto refused = plans_->begin("ticket", request("none"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("\"none\""));
  other_.uuid = catalogue_->uuid();
  const auto own = plans_->begin("ticket", request());
  ASSERT_FALSE(own);
  EXPECT_THAT(own.error().message, HasSubstr("is this host"));
  EXPECT_FALSE(catalogue_->find("ticket"));
}

TEST_F(ServicePlansTest, APeerThatIsAwayIsWaitedFor) {
  unavailable_ = 2;
  ASSERT_TRUE(plans_->begin("ticket", request()));
  EXPECT_EQ(wait()["state"], "done");
  EXPECT_EQ(described_, 3);
}

TEST_F(ServicePlansTest, ARestartCarriesOn) {
  unavailable_ = 1'000'000;
  ASSERT_TRUE(plans_->begin("ticket", request()));
  wait([](const nlohmann::json& now) { return now["migration"]["error"] == "the peer is away"; });
  plans_->abandon_all();
  unavailable_ = 0;
  restart();
  EXPECT_EQ(wait()["state"], "done");
}

TEST_F(ServicePlansTest, ATicketThatIsRemovedEndsIt) {
  unavailable_ = 1'000'000;
  ASSERT_TRUE(plans_->begin("ticket", request()));
  plans_->cancel("ticket");
  EXPECT_EQ(catalogue_->find("ticket")->state, State::importing);
  EXPECT_TRUE(catalogue_->remove("ticket"));
}

TEST_F(ServicePlansTest, AnErrorOfThePlanIsTheTickets) {
  other_.on_describe_service = [](const std::string&, ServiceDetail detail) -> Result<ServiceDescription> {
    auto broken = service();
    if (detail == ServiceDetail::full) broken.host_config["Devices"] = 7;
    return broken;
  };
  ASSERT_TRUE(plans_->begin("ticket", request()));
  const auto failed = wait();
  EXPECT_EQ(failed["state"], "failed");
  EXPECT_THAT(failed["migration"]["error"].get<std::string>(), HasSubstr("configuration"));
}

}  // namespace
}  // namespace ferry::migration
