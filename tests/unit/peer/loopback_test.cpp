#include <gmock/gmock.h>

#include <fstream>

#include "host.h"
#include "migration/imports.h"
#include "peer/client.h"
#include "peer/connection.h"
#include "peer/messages.h"
#include "peer/server.h"
#include "support/temporary_directory.h"
#include "support/tree.h"
#include "transport/tls_server.h"
#include "transport/tls_transport.h"

namespace ferry::peer {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

/// A host with a peer server.
class Host : public BareHost {
 public:
  Host(const fs::path& root, const transport::KeyFile& keys, std::uint16_t port, std::set<Permission> allowed,
       const ServerTimes& times)
      : BareHost(root), server_(sources, catalogue->uuid(), std::move(allowed), times), tls_(keys, port, "127.0.0.1") {
    server_.move_services(services_, planner_);
    server_.add_routes(tls_.routes());
    const auto started = tls_.start();
    EXPECT_TRUE(started) << started.error().message;
  }
  std::uint16_t port() const { return tls_.port(); }
  std::size_t open_sources() const { return server_.open_sources(); }

 private:
  const migration::Services services_{client, sources};
  const migration::ServicePlanner planner_{client, *catalogue};
  Server server_;
  transport::TlsServer tls_;
};

class Loopback : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(keys_.ensure());
    start();
    volumes::VolumeRecord record;
    record.name = "pgdata";
    record.created = "2026-11-22T17:05:09Z";
    record.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
    record.options = {{"mode", "rw"}};
    ASSERT_TRUE(host_->catalogue->create(record));
  }
  void start(std::set<Permission> allowed = {Permission::read}) {
    const std::uint16_t port = host_ ? host_->port() : 0;
    host_.reset();
    host_ = std::make_unique<Host>(directory_ / "source-host", keys_, port, std::move(allowed), times_);
    request_ = {{"127.0.0.1", host_->port()}, "pgdata", {}};
  }
  fs::path data() const { return host_->catalogue->layout().data("pgdata"); }
  void fill(int files, std::size_t size) {
    for (int i = 0; i < files; ++i)
      std::ofstream(data() / std::to_string(i)) << std::string(size, static_cast<char>('a' + i % 26));
  }
  /// More than what sockets hold, so that its walk lasts until it is read.
  void make_long_manifest() {
    const std::string target(4000, 't');
    for (int i = 0; i < 30; ++i) {
      fs::create_directory(data() / std::to_string(i));
      for (int j = 0; j < 100; ++j) fs::create_symlink(target, data() / std::to_string(i) / std::to_string(j));
    }
  }
  std::shared_ptr<migration::Peer> peer() { return factory_->peer(request_.peer); }
  std::shared_ptr<Connection> connection() {
    return std::make_shared<Connection>(
        std::shared_ptr<transport::Transport>(transport::make_tls_transport(request_.peer.endpoint, keys_)));
  }
  Result<std::string> post(Connection& connection, const std::string& path, const std::string& body = "") {
    return connection.ask({"POST", path, body, seconds(5), seconds(5)});
  }
  std::string open_source(Connection& connection) {
    const auto opened = post(connection, "/sources", encode(OpenRequest{"pgdata", migration::Freeze::refuse}));
    EXPECT_TRUE(opened) << opened.error().message;
    return "/sources/" + *decode_opened(*opened);
  }

  test::TemporaryDirectory directory_;
  transport::KeyFile keys_{directory_ / "key"};
  ServerTimes times_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<migration::PeerFactory> factory_ = make_peer_factory(keys_, "");
  migration::ImportRequest request_;
};

TEST_F(Loopback, DescribesAVolume) {
  fill(1, 100'000);
  EXPECT_EQ(*peer()->identify(seconds(5)), host_->catalogue->uuid());
  const auto described = peer()->describe(request_, 0, seconds(5));
  ASSERT_TRUE(described) << described.error().message;
  EXPECT_EQ(described->driver, "ferry");
  EXPECT_EQ(described->lineage, "1b4e28ba-2fa1-4d2f-883f-0016d3cca427");
  EXPECT_EQ(described->options, (volumes::StringMap{{"mode", "rw"}}));
  EXPECT_FALSE(described->labels_known);
  EXPECT_GE(described->bytes, 100'000U);
  EXPECT_EQ(peer()->describe(request_, INT64_MAX, seconds(5))->bytes, 0U);  // it fits, whatever it is
}

TEST_F(Loopback, ErrorsComeThrough) {
  request_.volume = "missing";
  const auto missing = peer()->describe(request_, 0, seconds(5));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("missing"));
  volumes::VolumeRecord record;
  record.name = request_.volume = "half";
  record.state = volumes::State::importing;
  ASSERT_TRUE(host_->catalogue->create(record));
  EXPECT_EQ(peer()->describe(request_, 0, seconds(5)).error().code, Code::busy);
  EXPECT_EQ(peer()->open(request_).error().code, Code::busy);
}

TEST_F(Loopback, AnImportFromEndToEnd) {
  fill(30, 200'000);
  fs::create_directories(data() / "d" / "e");
  fs::create_hard_link(data() / "1", data() / "d" / "link");
  auto catalogue = std::move(*volumes::Catalogue::open(volumes::Layout(directory_ / "other")));
  const migration::ArchiveStore archives({}, {});
  migration::Imports imports(*catalogue, *factory_, archives);
  migration::CreateRequest request;
  request.import = request_;
  ASSERT_TRUE(imports.begin("copy", request));
  ASSERT_TRUE(imports.wait("copy", after(seconds(60))));
  ASSERT_EQ(catalogue->find("copy")->state, volumes::State::ready) << catalogue->find("copy")->migration;
  EXPECT_EQ(test::tree_difference(data(), catalogue->layout().data("copy")), "");
  EXPECT_EQ(catalogue->find("copy")->migration["consistency"], "live");  // nobody could be asked who writes
}

TEST_F(Loopback, ARestartOfThePeerInTheMiddleIsSurvived) {
  fill(8, 9'000'000);
  auto catalogue = std::move(*volumes::Catalogue::open(volumes::Layout(directory_ / "other")));
  const migration::ArchiveStore archives({}, {});
  migration::Imports imports(*catalogue, *factory_, archives);
  migration::CreateRequest request;
  request.import = request_;
  ASSERT_TRUE(imports.begin("copy", request));
  for (const std::uint64_t bytes : {1U, 20'000'000U}) {
    while (!imports.wait("copy", SteadyClock::now()) &&
           imports.status("copy")["bytes_sent"].get<std::uint64_t>() < bytes)
      std::this_thread::yield();
    start();
  }
  ASSERT_TRUE(imports.wait("copy", after(seconds(60))));
  ASSERT_EQ(catalogue->find("copy")->state, volumes::State::ready) << catalogue->find("copy")->migration;
  EXPECT_EQ(test::tree_difference(data(), catalogue->layout().data("copy")), "");
}

TEST_F(Loopback, WhatIsNotAllowedIsRefused) {
  for (const auto& allowed :
       {std::set<Permission>{}, std::set<Permission>{Permission::write, Permission::freeze, Permission::containers}}) {
    start(allowed);
    EXPECT_TRUE(peer()->identify(seconds(5)));
    EXPECT_EQ(peer()->describe(request_, 0, seconds(5)).error().code, Code::denied);
    const auto opened = peer()->open(request_);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().message, HasSubstr("ALLOW"));
  }
}

TEST_F(Loopback, AnUnknownSourceIsWorthOpeningAnew) {
  const auto link = connection();
  for (const char* what : {"/manifest", "/content", "/seal"})
    EXPECT_EQ(post(*link, std::string("/sources/00ff") + what).error().code, Code::unavailable) << what;
  const std::string source = open_source(*link);
  EXPECT_TRUE(link->ask({"DELETE", source, "", seconds(5), seconds(5)}));
  EXPECT_TRUE(link->ask({"DELETE", source, "", seconds(5), seconds(5)}));
  EXPECT_EQ(post(*link, source + "/manifest").error().code, Code::unavailable);
}

TEST_F(Loopback, OddRequestsAreAnsweredAndHarmNobody) {
  const auto link = connection();
  const std::string source = open_source(*link);
  EXPECT_EQ(post(*link, "/describe", "{").error().code, Code::corrupt);
  EXPECT_EQ(post(*link, "/describe", encode(DescribeRequest{{"../pgdata", migration::Freeze::none}, 0})).error().code,
            Code::invalid_argument);
  EXPECT_EQ(post(*link, "/nothing").error().code, Code::unsupported);
  EXPECT_FALSE(post(*link, "/sources/" + std::string(7000, 'a') + "/seal"));
  EXPECT_FALSE(post(*link, "/describe", std::string(8 << 20, 'x')));
  const auto fresh = connection();
  EXPECT_EQ(post(*fresh, source + "/content", "\xff\xff").error().code, Code::corrupt);
  EXPECT_EQ(post(*fresh, source + "/content", std::string(9, '\0') + std::string("\1\1\0\0", 4)).error().code,
            Code::corrupt);  // before any manifest
  EXPECT_TRUE(post(*fresh, source + "/manifest"));
  EXPECT_TRUE(post(*fresh, source + "/content", std::string(10, '\0')));
  EXPECT_TRUE(post(*fresh, source + "/seal", encode(SealRequest{false})));
}

TEST_F(Loopback, AWalkExcludesEverythingElseOfItsSource) {
  times_.turn = milliseconds(50);
  start();
  make_long_manifest();
  const auto link = connection();
  const auto other = connection();
  const std::string source = open_source(*link);
  bool asked = false;
  const auto walked =
      link->stream({"POST", source + "/manifest", "", seconds(5), seconds(30)}, [&](std::string_view) -> Result<> {
        if (std::exchange(asked, true)) return {};
        for (const auto& [what, body] :
             {std::pair{"/manifest", std::string()}, {"/content", ""}, {"/seal", encode(SealRequest{false})}}) {
          const auto refused = post(*other, source + what, body);
          EXPECT_FALSE(refused) << what;
          EXPECT_EQ(refused ? Code::io : refused.error().code, Code::unavailable) << what;
        }
        return {};
      });
  EXPECT_TRUE(walked);
  EXPECT_TRUE(asked);
  EXPECT_TRUE(post(*other, source + "/seal", encode(SealRequest{false})));
}

TEST_F(Loopback, WhatFollowsAWalkWaitsForItsEnd) {
  make_long_manifest();
  const auto link = connection();
  const auto other = connection();
  const std::string source = open_source(*link);
  std::thread asking;
  const auto walked =
      link->stream({"POST", source + "/manifest", "", seconds(5), seconds(30)}, [&](std::string_view) -> Result<> {
        if (asking.joinable()) return {};
        asking = std::thread([&] {
          const auto read = post(*other, source + "/content", std::string(10, '\0'));
          EXPECT_TRUE(read) << read.error().message;
        });
        std::this_thread::sleep_for(milliseconds(100));  // most likely it is waiting by then
        return {};
      });
  EXPECT_TRUE(walked);
  asking.join();
}

TEST_F(Loopback, ASourceThatNobodyAsksForIsClosedByItself) {
  times_.idle = milliseconds(200);
  start();
  const auto link = connection();
  open_source(*link);
  EXPECT_EQ(host_->open_sources(), 1U);
  const Deadline deadline = after(seconds(20));
  while (host_->open_sources() != 0 && SteadyClock::now() < deadline) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(host_->open_sources(), 0U);
}

TEST_F(Loopback, ASourceThatIsBeingReadIsNotClosed) {
  fill(4, 9'000'000);
  times_.idle = milliseconds(200);
  start();
  const auto link = connection();
  const std::string source = open_source(*link);
  ASSERT_TRUE(post(*link, source + "/manifest"));
  std::string wants;
  sync::append_wants(wants, 0, std::vector<sync::Want>{{1, 0, {}}, {2, 0, {}}, {3, 0, {}}, {4, 0, {}}});
  bool waited = false;
  const auto read =
      link->stream({"POST", source + "/content", wants, seconds(5), seconds(30)}, [&](std::string_view) -> Result<> {
        if (!std::exchange(waited, true)) std::this_thread::sleep_for(milliseconds(600));
        return {};
      });
  EXPECT_TRUE(read) << read.error().message;
  EXPECT_TRUE(post(*link, source + "/seal", encode(SealRequest{false})));
}

TEST_F(Loopback, BodiesWithoutLengthAreBoundedWhereverTheyAreSentTo) {
  const auto transport = transport::make_tls_transport(request_.peer.endpoint, keys_);
  for (const char* path : {"/ferry/v2/describe", "/ferry/v2/sources/00ff/content", "/ferry/v2/sources/00ff/manifest",
                           "/ferry/v2/nothing", "/"})
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
      auto client = transport->connect(seconds(5));
      ASSERT_TRUE(client) << client.error().message;
      std::size_t sent = 0;
      httplib::Request request;
      request.method = method;
      request.path = path;
      request.is_chunked_content_provider_ = true;
      request.headers = {{"Transfer-Encoding", "chunked"}};
      request.content_provider_ = [&](std::size_t, std::size_t, httplib::DataSink& sink) {
        const std::string piece(1 << 20, ' ');
        sent += piece.size();
        if (sent > 64U << 20) sink.done();
        return sent > 64U << 20 || sink.write(piece.data(), piece.size());
      };
      httplib::Response response;
      httplib::Error error = httplib::Error::Success;
      const bool answered = (*client)->send(request, response, error);
      EXPECT_TRUE(!answered || response.status >= 400) << method << " " << path << " " << response.status;
      EXPECT_LT(sent, 32U << 20) << method << " " << path;
    }
  EXPECT_TRUE(peer()->identify(seconds(5)));
}

TEST_F(Loopback, AnErrorOfTheSinkEndsTheRequestAndIsPassedOn) {
  fill(1, 1);
  const auto link = connection();
  const std::string source = open_source(*link);
  const auto stopped = link->stream({"POST", source + "/manifest", "", seconds(5), seconds(5)},
                                    [](std::string_view) { return Result<>(fail(Code::no_space, "full")); });
  EXPECT_EQ(stopped.error().code, Code::no_space);
  EXPECT_TRUE(connection()->ask({"GET", "/hello", "", seconds(5), seconds(5)}));
}

TEST_F(Loopback, AbortBreaksWhatIsUnderWayAtOnce) {
  fill(4, 20'000'000);
  const auto source = peer();
  auto opened = source->open(request_);
  ASSERT_TRUE(opened) << opened.error().message;
  sync::ManifestDecoder decoder;
  ASSERT_TRUE((*opened)->manifest([&](std::string_view bytes) { return decoder.feed(bytes); }));
  const auto manifest = decoder.finish();
  ASSERT_TRUE(manifest);
  std::string wants;
  sync::append_wants(wants, 0, std::vector<sync::Want>{{1, 0, {}}, {2, 0, {}}, {3, 0, {}}, {4, 0, {}}});
  std::thread aborter;
  const auto answered = (*opened)->content(wants, [&](std::string_view) -> Result<> {
    if (!aborter.joinable()) aborter = std::thread([&] { source->abort(); });
    return {};
  });
  aborter.join();
  ASSERT_FALSE(answered);
  EXPECT_EQ(answered.error().code, Code::cancelled);
  EXPECT_EQ((*opened)->seal(false).error().code, Code::cancelled);
  EXPECT_EQ(source->open(request_).error().code, Code::cancelled);
  EXPECT_EQ(source->identify(seconds(5)).error().code, Code::cancelled);
}

TEST(Permissions, AreAListOrNone) {
  EXPECT_EQ(*parse_permissions("read,write,freeze,containers"),
            (std::set<Permission>{Permission::read, Permission::write, Permission::freeze, Permission::containers}));
  EXPECT_EQ(*parse_permissions("read"), (std::set<Permission>{Permission::read}));
  EXPECT_TRUE(parse_permissions("none")->empty());
  for (const char* bad : {"", ",", "reed", "read, write", "none,read", "READ"})
    EXPECT_FALSE(parse_permissions(bad)) << bad;
}

/// This host has no Docker Engine; the rest is tests/e2e/test_service_plan.py.
TEST_F(Loopback, ServicesNeedContainersInAllow) {
  const auto peers = make_peer_factory(keys_, "");
  const auto ask = [&] {
    return peers->peer(request_.peer)->describe_service("db", migration::ServiceDetail::quick, seconds(5));
  };
  const auto plan = [&] {
    migration::ServiceOptions options;
    options.container = "db";
    return peers->peer(request_.peer)->plan_service({}, options, seconds(5));
  };
  const auto layer = [&] {
    auto request = request_;
    request.container = "db";
    auto opened = peers->peer(request.peer)->open(request);
    return opened ? Error{} : opened.error();
  };
  start({Permission::read, Permission::write});
  for (const Error& error : {ask().error(), plan().error(), layer()}) {
    EXPECT_EQ(error.code, Code::denied);
    EXPECT_THAT(error.message, HasSubstr("ALLOW"));
  }
  start({Permission::read, Permission::containers});
  EXPECT_EQ(ask().error().code, Code::unavailable) << "there is no Engine";
  EXPECT_EQ(layer().code, Code::unavailable);
  EXPECT_EQ(plan().error().code, Code::denied);
  start({Permission::write, Permission::containers});
  EXPECT_EQ(layer().code, Code::denied);
  EXPECT_EQ(plan().error().code, Code::unavailable);
  EXPECT_EQ(ask().error().code, Code::denied);
}

}  // namespace
}  // namespace ferry::peer
