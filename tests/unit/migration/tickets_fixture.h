#pragma once

#include <gmock/gmock.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "base/files.h"
#include "fake_peer.h"
#include "open_tickets.h"
#include "support/temporary_directory.h"

namespace ferry::migration {

namespace fs = std::filesystem;

/// Tickets with everything behind them but a Docker Engine, mounts and a network.
class TicketsTest : public testing::Test, protected OpenTickets {
 protected:
  void SetUp() override {
    open();
    fs::create_directories(host_.root = directory_ / "source");
    write("one");
    host_.description.volume = "pg";
    host_.description.driver = "ferry";
    host_.description.lineage = "lineage";
    host_.description.labels = {{"team", "web"}};
  }
  void TearDown() override {
    host_.release();
    close_tickets();
  }

  static constexpr std::chrono::milliseconds settling{50};  // the kernel's clock moves on: two times may be told apart

  void write(const std::string& content) { std::ofstream(host_.root / "file") << content; }
  fs::path data(const std::string& volume) const { return catalogue_->layout().data(volume); }

  nlohmann::json run(const std::string& ticket, const TicketRequest& request) {
    const auto begun = tickets_->begin(ticket, request);
    EXPECT_TRUE(begun) << begun.error().message;
    const Deadline deadline = after(std::chrono::seconds(20));
    const auto status = [&] { return tickets_->status(*catalogue_->find(ticket)); };
    while (status()["state"] == "importing" && SteadyClock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return status();
  }

  /// A volume of this host, with nothing in it.
  void add(const std::string& name, const std::string& lineage) {
    volumes::VolumeRecord record;
    record.name = name;
    record.created = "x";
    record.lineage = lineage;
    ASSERT_TRUE(catalogue_->create(record));
  }

  /// The record of a ticket that another process has decided to update pg with, and has not got any further.
  void store_decided_update(const std::string& ticket, std::vector<bool> planned = {}) {
    TicketPlan plan{request_, "other-host", {{"pg", "update", host_.description, "lineage"}}, nullptr};
    plan.planned = std::move(planned);
    plan.committing = nlohmann::json::array({{{"digest", "decided"}}});
    volumes::VolumeRecord record;
    record.name = ticket;
    record.kind = volumes::Kind::ticket;
    record.created = record.lineage = "x";
    record.state = volumes::State::importing;
    record.import = to_json(plan);
    ASSERT_TRUE(catalogue_->create(record));
  }

  /// As another process finds it.
  void restart() {
    close_tickets();
    open();
  }
  void open() { open_tickets(directory_.path(), {peers_, archives_, mounts_, client_, tracker_, pauses_}); }

  TicketPauses pauses_;
  const TicketRequest request_{{"a", 7766}, {{"pg", "pg"}}, {}, false, false};
  test::TemporaryDirectory directory_;
  FakeHost host_;
  FakePeers peers_{host_};
  const ArchiveStore archives_{{}, {}};
  volumes::Mounts mounts_{directory_ / "propagated", directory_ / "scratch"};
  engine::Client client_{directory_ / "engine.sock"};
  engine::Tracker tracker_{client_, [] {}};
};

}  // namespace ferry::migration
