#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/random.h"
#include "migration/hand_offs.h"
#include "support/scripted_engine.h"

namespace ferry::migration {

/// The host that hands volumes off, with a socket that answers as a Docker Engine does that has at most one container.
class HandOffSource {
 public:
  /// What the Engine answers to a request; empty: as ever.
  using Answer = std::function<std::string(const std::string& request)>;
  explicit HandOffSource(std::filesystem::path root, Answer answer = {})
      : root_(std::move(root)), answer_(std::move(answer)) {
    open();
  }

  /// As another process finds it.
  void restart() {
    close();
    open();
  }
  void close() {
    hand_offs.reset();
    sources.reset();
    catalogue.reset();
  }
  void open() {
    catalogue = std::move(*volumes::Catalogue::open(volumes::Layout(root_)));
    sources = std::make_unique<Sources>(*catalogue, mounts, client, tracker, root_, root_ / "propagated");
    hand_offs =
        std::make_unique<HandOffs>(HandOffs::Parts{*catalogue, mounts, client, tracker, *sources, [] {},
                                                   [this](const std::string& name) { return catalogue->remove(name); }},
                                   longest_silence);
    hand_offs->resume([this](const std::string&) { return holding_ticket; });
  }

  void add(const std::string& name, bool is_copy = false) {
    volumes::VolumeRecord record;
    record.name = name;
    record.created = "2026-11-22T17:05:09Z";
    record.lineage = "lineage of " + name;
    if (is_copy) record.import = {{"host", "x"}};
    const auto created = catalogue->create(record);
    ASSERT_TRUE(created) << created.error().message;
    std::ofstream(catalogue->layout().data(name) / "file") << name;
  }
  static HandOffRequest request(const std::vector<std::string>& names) {
    HandOffRequest request;
    request.host = "b";
    request.peer = transport::PeerAddress("b", 7766);
    for (const auto& name : names) request.volumes.push_back({name, name, 1, "lineage of " + name, false});
    return request;
  }
  volumes::State state(const std::string& name) const { return catalogue->find(name)->state; }
  bool owns(const std::string& name) const {
    const auto record = catalogue->find(name);
    return record && record->state == volumes::State::ready && hand_offs->check_mountable(name);
  }

  std::atomic<bool> has_container{false};  ///< a running one, which has the volume pg
  std::string holding_ticket;
  std::chrono::milliseconds longest_silence = std::chrono::minutes(15);

 private:
  void answer(engine::testing::Connection& connection, const std::string& request) const {
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.45"));
    if (const std::string more = answer_ ? answer_(request) : ""; !more.empty()) return connection.send(more);
    if (request.find("/volumes/") != std::string::npos)
      return connection.send(engine::testing::answer(
          200,
          R"({"Name":"pg","Driver":"ferry:latest","Labels":{"team":"web"},"Options":{},"Status":{"lineage":"x"}})"));
    if (request.find("/containers/json") == std::string::npos)
      return connection.send(engine::testing::answer(404, R"({"message":"page not found"})"));
    const char* container = R"([{"Id":"c","Names":["/web"],"State":"running",)"
                            R"("Mounts":[{"Type":"volume","Name":"pg","Destination":"/data","RW":false}]}])";
    connection.send(engine::testing::answer(200, has_container ? container : "[]"));
  }

  const std::filesystem::path root_;
  const Answer answer_;
  engine::testing::ScriptedEngine engine_{
      [this](engine::testing::Connection& connection, const std::string& request) { answer(connection, request); }};

 public:
  engine::Client client{engine_.path()};
  engine::Tracker tracker{client, [] {}};
  volumes::Mounts mounts{root_ / "propagated", root_ / "scratch"};
  std::unique_ptr<volumes::Catalogue> catalogue;
  std::unique_ptr<Sources> sources;
  std::unique_ptr<HandOffs> hand_offs;
};

}  // namespace ferry::migration
