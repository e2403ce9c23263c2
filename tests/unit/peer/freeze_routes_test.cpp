#include <gmock/gmock.h>

#include "host.h"
#include "peer/client.h"
#include "peer/server.h"
#include "support/scripted_engine.h"
#include "support/temporary_directory.h"
#include "support/wait.h"
#include "transport/tls_server.h"

namespace ferry::peer {
namespace {

using engine::testing::answer;
using migration::FreezeKind;
using migration::FreezeRequest;
using migration::FreezeStep;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

const std::string id(32, 'a');

/// What a peer may ask of a host whose Engine has no containers.
class FreezeRoutes : public testing::Test {
 protected:
  FreezeRoutes() {
    std::filesystem::create_symlink(engine_.path(), directory_ / "host" / "no-engine.sock");
    host_.tracker.start();
    EXPECT_TRUE(wait([&] { return host_.tracker.connected(); }));
    EXPECT_TRUE(keys_.ensure());
    for (const char* name : {"pgdata", "other"}) {
      volumes::VolumeRecord record;
      record.name = name;
      EXPECT_TRUE(host_.catalogue->create(record));
    }
    freezes_.start();
  }
  ~FreezeRoutes() override {
    tls_.reset();
    freezes_.stop();
    host_.tracker.stop();
  }
  static bool wait(const std::function<bool()>& until) { return test::wait(until, seconds(10)); }
  std::shared_ptr<migration::Peer> serve(std::set<Permission> allowed) {
    tls_.reset();
    server_ = std::make_unique<Server>(host_.sources, host_.catalogue->uuid(), std::move(allowed));
    return serve_on(freezes_);
  }
  std::shared_ptr<migration::Peer> serve_on(migration::Freezes& freezes, std::optional<FreezeRequest> only = {}) {
    server_->let_freeze(freezes, std::move(only));
    tls_ = std::make_unique<transport::TlsServer>(keys_, 0, "127.0.0.1");
    server_->add_routes(tls_->routes());
    EXPECT_TRUE(tls_->start());
    return factory_->peer(transport::PeerAddress("127.0.0.1", tls_->port()));
  }
  static Result<bool> begin(migration::Peer& peer, const FreezeRequest& request) {
    return peer.freeze(id, FreezeStep::begin, request, seconds(5));
  }
  static Code refusal(migration::Peer& peer, const FreezeRequest& request) {
    const auto begun = begin(peer, request);
    EXPECT_FALSE(begun);
    return begun ? Code::io : begun.error().code;
  }

  test::TemporaryDirectory directory_;
  engine::testing::ScriptedEngine engine_{[](engine::testing::Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.44"));
    if (request.find("/events?") != std::string::npos) {
      connection.send(engine::testing::chunked);
      return connection.wait_for_end();
    }
    if (request.find("/volumes/") != std::string::npos) return connection.send(answer(404, R"({"message":"no such"})"));
    connection.send(answer(200, request.find("/volumes") != std::string::npos ? R"({"Volumes":[]})" : "[]"));
  }};
  BareHost host_{directory_ / "host"};
  const migration::ContainerHolds holds_{host_.client};
  migration::Freezes freezes_{{host_.catalogue->layout(), host_.client, host_.tracker, holds_}};
  transport::KeyFile keys_{directory_ / "key"};
  std::unique_ptr<Server> server_;
  std::unique_ptr<transport::TlsServer> tls_;
  std::unique_ptr<migration::PeerFactory> factory_ = make_peer_factory(keys_, "");
};

TEST_F(FreezeRoutes, WhatStandsStillNeedsItsPermissionAndAWatchIsPartOfReading) {
  const FreezeRequest watch{{"pgdata", "other"}, FreezeKind::watch};
  EXPECT_EQ(refusal(*serve({}), watch), Code::denied);
  const auto peer = serve({Permission::read});
  EXPECT_EQ(refusal(*peer, {{"pgdata"}}), Code::denied);
  const auto begun = begin(*peer, watch);
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_FALSE(*begun);
  EXPECT_TRUE(peer->freeze(id, FreezeStep::beat, watch, seconds(5)));
  EXPECT_TRUE(*peer->freeze(id, FreezeStep::end, watch, seconds(5)));
  EXPECT_EQ(peer->freeze(id, FreezeStep::beat, watch, seconds(5)).error().code, Code::not_found);
}

TEST_F(FreezeRoutes, NothingIsHeldForAVolumeThatCannotBeRead) {
  EXPECT_EQ(refusal(*serve({Permission::read, Permission::freeze}), {{"pgdata", "of-nobody"}}), Code::not_found);
}

TEST_F(FreezeRoutes, OfAnExportItsUserSaysHowAndForHowLong) {
  server_ = std::make_unique<Server>(host_.sources, host_.catalogue->uuid(),
                                     std::set<Permission>{Permission::read, Permission::freeze});
  server_->restrict_to({"pgdata"}, "b", {});
  const auto peer = serve_on(freezes_, FreezeRequest{{}, FreezeKind::pause, milliseconds(300)});
  EXPECT_EQ(refusal(*peer, {{"other"}}), Code::denied);
  EXPECT_EQ(refusal(*peer, {{"pgdata"}, FreezeKind::stop}), Code::denied);
  const FreezeRequest request{{"pgdata"}, FreezeKind::pause, std::chrono::hours(1)};
  ASSERT_TRUE(begin(*peer, request));
  EXPECT_TRUE(wait([&] { return !peer->freeze(id, FreezeStep::beat, request, seconds(5)); }));
}

}  // namespace
}  // namespace ferry::peer
