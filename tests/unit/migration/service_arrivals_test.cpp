#include "migration/service_arrivals.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "fake_peer.h"
#include "migration/ticket_kind.h"
#include "open_tickets.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"
#include "support/wait.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;
using engine::testing::answer;
using nlohmann::json;
using testing::HasSubstr;
using volumes::State;

const std::string anonymous(64, 'a');
const std::string anonymous_there(64, 'b');
const std::string id(64, '1');

json info() {
  return {{"Architecture", "x86_64"},
          {"OSType", "linux"},
          {"Driver", "overlay2"},
          {"Name", "here"},
          {"CgroupVersion", "2"},
          {"Runtimes", {{"runc", json::object()}}},
          {"Plugins", {{"Log", {"json-file"}}}}};
}

/// The Engine of a destination: it makes volumes and one container, and asks Ferry for the former.
class ArrivalEngine {
 public:
  /// `create` and `remove`: Ferry's Create and Remove of volumes.
  ArrivalEngine(std::function<void(const std::string&)> create, std::function<void(const std::string&)> remove)
      : create_(std::move(create)), remove_(std::move(remove)) {}

  fs::path socket() const { return http_.path(); }
  bool has_container() const {
    const std::lock_guard guard(mutex_);
    return !name_.empty();
  }
  std::string created() const {
    const std::lock_guard guard(mutex_);
    return created_;
  }
  /// The next creates of containers wait for that.
  void stall(bool stalls) {
    const std::lock_guard guard(mutex_);
    stalls_ = stalls;
    changed_.notify_all();
  }
  void wait_for_create() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }
  void wait_for_container() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !name_.empty(); });
  }
  /// What a create of a container is answered; empty: as ever.
  void refuse(std::string with) {
    const std::lock_guard guard(mutex_);
    refusal_ = std::move(with);
  }
  /// The volume that it shows where an anonymous one was asked for.
  void show_as_anonymous(const std::string& name) {
    const std::lock_guard guard(mutex_);
    shown_ = name;
  }

 private:
  void serve(engine::testing::Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.44"));
    const std::string line = request.substr(0, request.find('\n'));
    const auto begins = [&](const char* with) { return line.starts_with(with); };
    if (begins("GET /v1.44/info")) return connection.send(answer(200, info().dump()));
    if (begins("GET /v1.44/containers/json")) return connection.send(answer(200, "[]"));
    if (begins("GET /v1.44/images/"))
      return connection.send(answer(200, R"({"Id":"sha256:1","Architecture":"amd64","Os":"linux"})"));
    if (begins("GET /v1.44/volumes/")) return connection.send(volume(line.substr(line.rfind('/') + 1)));
    if (begins("POST /v1.44/volumes/create")) {
      const std::string name = json::parse(request.substr(request.find('\n')))["Name"];
      create_(name);
      return connection.send(volume(name));
    }
    if (begins("POST /v1.44/containers/create")) return connection.send(create(line, request));
    if (begins("GET /v1.44/containers/")) return connection.send(container());
    if (begins("DELETE /v1.44/containers/")) return connection.send(erase());
    connection.send(answer(404, R"({"message":"page not found"})"));
  }
  static std::string volume(const std::string& name) {
    if (name == "pg" || name == "victim") return answer(404, R"({"message":"no such volume"})");
    return answer(200, json({{"Name", name},
                             {"Driver", "ferry:latest"},
                             {"Labels", json::object()},
                             {"Options", json::object()},
                             {"Status", {{"lineage", "x"}}}})
                           .dump());
  }
  std::string create(const std::string& line, const std::string& request) {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !stalls_; });
    --waiting_;
    if (!refusal_.empty()) return refusal_;
    if (!name_.empty()) return answer(409, R"({"message":"Conflict. The container name is already in use"})");
    name_ = line.substr(line.find("name=") + 5);
    created_ = request.substr(request.find('\n') + 1);
    changed_.notify_all();
    lock.unlock();
    create_(anonymous_there);
    return answer(201, R"({"Id":"made","Warnings":[]})");
  }
  std::string container() const {
    const std::lock_guard guard(mutex_);
    if (name_.empty()) return answer(404, R"({"message":"No such container"})");
    const auto mount = [](const std::string& name, const char* at) {
      return json{{"Type", "volume"}, {"Name", name}, {"Destination", at}, {"Driver", "ferry:latest"}, {"RW", true}};
    };
    return answer(200, json({{"Id", "made"},
                             {"Name", "/" + name_},
                             {"State", {{"Running", false}, {"Status", "created"}}},
                             {"Mounts", json::array({mount("pg", "/data"), mount(shown_, "/anonymous")})}})
                           .dump());
  }
  std::string erase() {
    std::unique_lock lock(mutex_);
    if (name_.empty()) return answer(404, R"({"message":"No such container"})");
    name_.clear();
    lock.unlock();
    remove_(anonymous_there);
    return answer(204, "");
  }

  const std::function<void(const std::string&)> create_, remove_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string name_, created_, refusal_, shown_ = anonymous_there;  // protected by mutex_, as are the following
  bool stalls_ = false;
  int waiting_ = 0;
  engine::testing::ScriptedEngine http_{
      [this](engine::testing::Connection& connection, const std::string& request) { serve(connection, request); }};
};

/// The destination of a container db of the host a, which has the volume pg and an anonymous one.
class ServiceArrivalsTest : public testing::Test, protected OpenTickets {
 protected:
  ServiceArrivalsTest() {
    service_.container = "db";
    service_.id = id;
    service_.status = "running";
    service_.has_values = true;
    service_.config = {{"Image", "busybox"}, {"Volumes", {{"/anonymous", json::object()}}}};
    service_.host_config = {{"NetworkMode", "none"},
                            {"Runtime", "runc"},
                            {"LogConfig", {{"Type", "json-file"}}},
                            {"Binds", json::array({"pg:/data"})}};
    service_.networks = {{"none", json::object()}};
    service_.image_name = "busybox";
    service_.image.id = "sha256:1";
    service_.host.architecture = "x86_64";
    service_.host.os = "linux";
    service_.host.store = "overlay2";
    service_.host.cgroup_version = "2";
    service_.host.runtimes = {"runc"};
    service_.host.log_drivers = {"json-file"};
    service_.layer.store = "overlay2";
    add("pg", "/data");
    add(anonymous, "/anonymous").anonymous = true;
    host_.root = directory_ / "source";
    fs::create_directories(host_.root);
    host_.description.volume = "pg";
    host_.description.lineage = "lineage";
    host_.on_describe_service = [this](const std::string&, ServiceDetail) -> Result<ServiceDescription> {
      const std::lock_guard guard(mutex_);
      return service_;
    };
    request_.options.container = "db";
    request_.options.layer = false;
    request_.peer = {"a", 7766};
    open();
  }
  ~ServiceArrivalsTest() override { close(); }

  ServiceMount& add(const std::string& name, const std::string& destination) {
    auto& mount = service_.mounts.emplace_back();
    mount.at = {"volume", name, "/x", destination, "ferry", "", true};
    return mount;
  }
  void open() {
    open_tickets(directory_.path(), {peers_, archives_, mounts_, client_, tracker_, pauses_});
    planner_ = std::make_unique<ServicePlanner>(client_, *catalogue_, directory_ / "net");
    arrivals_ =
        std::make_unique<ServiceArrivals>(ServiceArrivals::Parts{*catalogue_, peers_, client_, *planner_, *tickets_});
    ready_ = true;
  }
  void close() {
    host_.release();
    arrivals_->abandon_all();
    tickets_->abandon_all();
    ready_ = false;
    arrivals_.reset();
    close_tickets();
  }
  /// Ferry's Create, of a ticket's volume or of an anonymous one.
  void create(const std::string& name) {
    if (!ready_) return;
    if (tickets_->create_expected(name)) return;
    volumes::VolumeRecord record;
    record.name = name;
    record.created = record.lineage = "x";
    (void)catalogue_->create(record);
  }
  void remove(const std::string& name) {
    if (ready_) (void)catalogue_->remove(name);
  }
  static bool wait(const std::function<bool()>& until) { return test::wait(until, std::chrono::seconds(20)); }
  json status() const {
    const auto ticket = catalogue_->find("move-db");
    if (!ticket) return {};
    return is_ticket(*ticket, TicketKind::arriving_service) ? arrivals_->status(*ticket) : tickets_->status(*ticket);
  }
  json failed() const {
    EXPECT_TRUE(wait([&] { return status()["state"] == "failed"; })) << status().dump(1);
    return status()["migration"]["error"];
  }
  bool is_undone() const {
    return !engine_.has_container() && !catalogue_->find("pg") && !catalogue_->find(anonymous_there);
  }

  test::TemporaryDirectory directory_;
  std::mutex mutex_;
  ServiceDescription service_;  // protected by mutex_ once one has begun
  ServiceMoveRequest request_;
  FakeHost host_;
  FakePeers peers_{host_};
  TicketPauses pauses_;
  const ArchiveStore archives_{{}, {}};
  std::atomic<bool> ready_{false};
  ArrivalEngine engine_{[this](const std::string& name) { create(name); },
                        [this](const std::string& name) { remove(name); }};
  volumes::Mounts mounts_{directory_ / "propagated", directory_ / "scratch"};
  engine::Client client_{engine_.socket()};
  engine::Tracker tracker_{client_, [] {}};
  std::unique_ptr<ServicePlanner> planner_;
  std::unique_ptr<ServiceArrivals> arrivals_;
};

TEST_F(ServiceArrivalsTest, WhatItNeedsIsMadeAndThenItsContentComes) {
  host_.hang_in_content = true;
  std::ofstream(host_.root / "file") << "content";
  const auto begun = arrivals_->begin("move-db", request_);
  ASSERT_TRUE(begun) << begun.error().message;
  ASSERT_TRUE(wait([&] { return status()["service"]["step"] == "bring volumes"; })) << status().dump(1);
  EXPECT_EQ(tickets_->holder("pg"), "move-db");
  EXPECT_EQ(tickets_->holder(anonymous_there), "move-db");
  EXPECT_EQ(catalogue_->find("pg")->state, State::importing);
  const json body = json::parse(engine_.created());
  EXPECT_EQ(body["HostConfig"]["VolumeDriver"], "ferry:latest");
  EXPECT_EQ(body["HostConfig"]["Binds"], json::array({"pg:/data"}));
  host_.release();  // nothing is handed off by that host
  EXPECT_THAT(failed().dump(), HasSubstr("nothing is handed off"));
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceArrivalsTest, NoPeerNamesAVolumeOfThisHost) {
  volumes::VolumeRecord victim;
  victim.name = "victim";
  victim.created = victim.lineage = "x";
  ASSERT_TRUE(catalogue_->create(victim));
  std::ofstream(catalogue_->layout().data("victim") / "file") << "precious";
  service_.mounts[1].at.name = "victim";
  service_.host_config["Binds"] = json::array({"pg:/data", "victim:/anonymous"});
  EXPECT_EQ(arrivals_->begin("move-db", request_).error().code, Code::corrupt);
  service_.mounts[1].at.name = anonymous;
  service_.host_config["Binds"] = json::array({"pg:/data"});
  engine_.show_as_anonymous("victim");
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  EXPECT_THAT(failed().dump(), HasSubstr("no anonymous volume"));
  EXPECT_EQ(read_file(catalogue_->layout().data("victim") / "file").value_or(""), "precious");
  EXPECT_TRUE(catalogue_->find("victim")->import.is_null());
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceArrivalsTest, WhatTheEngineRefusesFailsAndIsTakenBack) {
  engine_.refuse(answer(400, R"({"message":"invalid reference format"})"));
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  EXPECT_THAT(failed().dump(), HasSubstr("invalid reference format"));
  EXPECT_TRUE(is_undone());
  EXPECT_TRUE(arrivals_->cancel("move-db")) << "at once";
}

/// As while the plugin is disabled, after a crash.
TEST_F(ServiceArrivalsTest, AnEngineThatIsAtOddsForAMomentIsAskedAgain) {
  engine_.refuse(answer(500, R"({"message":"error while mounting volume: plugin is not there"})"));
  host_.hang_in_content = true;
  std::ofstream(host_.root / "file") << "content";
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  ASSERT_TRUE(wait([&] { return status()["migration"]["error"].is_string(); }));
  EXPECT_EQ(status()["state"], "importing");
  engine_.refuse("");
  EXPECT_TRUE(wait([&] { return status()["service"]["step"] == "bring volumes"; })) << status().dump(1);
}

TEST_F(ServiceArrivalsTest, AContainerThatIsStillBeingMadeGoes) {
  engine_.stall(true);
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  engine_.wait_for_create();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    engine_.stall(false);
  });
  const auto cancelled = arrivals_->cancel("move-db");
  later.join();
  EXPECT_TRUE(cancelled) << cancelled.error().message;
  EXPECT_TRUE(is_undone());
}

TEST_F(ServiceArrivalsTest, AnotherProcessFindsWhatWasMade) {
  host_.hang_in_content = true;
  std::ofstream(host_.root / "file") << "content";
  engine_.stall(true);
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  engine_.wait_for_create();
  arrivals_->abandon_all();
  engine_.stall(false);
  engine_.wait_for_container();
  ASSERT_TRUE(wait([&] { return catalogue_->find(anonymous_there) != nullptr; }));
  close();
  host_.released = false;
  open();
  arrivals_->resume();
  EXPECT_TRUE(wait([&] { return status()["service"]["step"] == "bring volumes"; })) << status().dump(1);
  EXPECT_EQ(tickets_->holder(anonymous_there), "move-db");
}

TEST_F(ServiceArrivalsTest, AnotherContainerOfThatNameIsNotTheOne) {
  engine_.refuse(answer(500, R"({"message":"not now"})"));
  ASSERT_TRUE(arrivals_->begin("move-db", request_));
  ASSERT_TRUE(wait([&] { return status()["migration"]["error"].is_string(); }));
  {
    const std::lock_guard guard(mutex_);
    service_.id = std::string(64, '2');
  }
  EXPECT_THAT(failed().dump(), HasSubstr("made anew"));
  EXPECT_TRUE(is_undone());
}

}  // namespace
}  // namespace ferry::migration
