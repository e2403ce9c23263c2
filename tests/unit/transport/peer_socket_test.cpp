#include "transport/peer_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "transport/stream_client.h"
#include "transport/temporary.h"
#include "transport/tls_server.h"
#include "transport/tls_stream.h"

namespace ferry::transport {
namespace {

using testing::HasSubstr;

class PeerSocketTest : public testing::Test {
 protected:
  TemporaryDirectory run_;
  const std::filesystem::path engine_ = run_.path() / "docker.sock";
  const std::filesystem::path place_ = run_.path() / "ferry" / "peer.sock";

  static Fd connect_to(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.string().size());
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
    return fd;
  }

  static struct stat facts(const std::filesystem::path& path) {
    struct stat found {};
    EXPECT_EQ(::lstat(path.c_str(), &found), 0) << path;
    return found;
  }

  /// A socket as the Engine makes it, for that group.
  void make_engine_socket(gid_t group) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, engine_.c_str(), engine_.string().size());
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::chown(engine_.c_str(), 0, group), 0);
    ASSERT_EQ(::chmod(engine_.c_str(), 0660), 0);
  }
};

TEST_F(PeerSocketTest, MakesWhatIsMissingForRootAlone) {
  PeerSocket socket(run_.path(), engine_);
  auto listening = socket.listen();
  ASSERT_TRUE(listening) << listening.error().message;
  EXPECT_EQ(facts(place_).st_mode, S_IFSOCK | 0600U);
  EXPECT_EQ(facts(place_.parent_path()).st_mode, S_IFDIR | 0700U);
  EXPECT_TRUE(connect_to(place_));
}

TEST_F(PeerSocketTest, WhoeverMayUseTheEngineMayConnect) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  make_engine_socket(4711);
  PeerSocket socket(run_.path(), engine_);
  ASSERT_TRUE(socket.listen());
  EXPECT_EQ(facts(place_).st_mode, S_IFSOCK | 0660U);
  EXPECT_EQ(facts(place_).st_gid, 4711U);
  EXPECT_EQ(facts(place_.parent_path()).st_mode, S_IFDIR | 0710U);
  EXPECT_EQ(facts(place_.parent_path()).st_gid, 4711U);
}

TEST_F(PeerSocketTest, GoesWhenItEnds) {
  {
    PeerSocket socket(run_.path(), engine_);
    ASSERT_TRUE(socket.listen());
  }
  EXPECT_FALSE(std::filesystem::exists(place_));
  PeerSocket again(run_.path(), engine_);
  EXPECT_TRUE(again.listen());
}

TEST_F(PeerSocketTest, WhatAKilledOneHasLeftIsReplaced) {
  std::filesystem::create_directories(place_.parent_path());
  write_private(place_, "not even a socket");
  write_private(place_.string() + ".new", "half made");
  PeerSocket socket(run_.path(), engine_);
  auto listening = socket.listen();
  ASSERT_TRUE(listening) << listening.error().message;
  EXPECT_TRUE(connect_to(place_));
}

TEST_F(PeerSocketTest, ASecondOneTakesNothingAway) {
  PeerSocket first(run_.path(), engine_);
  const auto listening = first.listen();
  ASSERT_TRUE(listening);
  {
    PeerSocket second(run_.path(), engine_);
    const auto refused = second.listen();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::busy);
    EXPECT_THAT(refused.error().message, HasSubstr("another Ferry on this host has /run/ferry/peer.sock"));
  }
  EXPECT_TRUE(connect_to(place_));
  first.remove();
  PeerSocket later(run_.path(), engine_);
  EXPECT_TRUE(later.listen());
}

TEST_F(PeerSocketTest, WhatIsNotItsOwnStays) {
  PeerSocket first(run_.path(), engine_);
  ASSERT_TRUE(first.listen());
  std::filesystem::remove(place_);
  write_private(place_, "somebody else's");
  first.remove();
  EXPECT_EQ(read_text(place_), "somebody else's");
}

TEST_F(PeerSocketTest, WhatSomebodyHasRemovedIsMadeAgain) {
  PeerSocket socket(run_.path(), engine_);
  EXPECT_FALSE(socket.is_in_place());
  auto listening = socket.listen();
  ASSERT_TRUE(listening);
  EXPECT_TRUE(socket.is_in_place());
  for (const auto& gone : {place_, place_.parent_path()}) {
    std::filesystem::remove_all(gone);
    EXPECT_FALSE(socket.is_in_place());
    listening = socket.listen();
    ASSERT_TRUE(listening) << listening.error().message;
    EXPECT_TRUE(socket.is_in_place());
    EXPECT_TRUE(connect_to(place_));
    EXPECT_EQ(PeerSocket(run_.path(), engine_).listen().error().code, Code::busy);
  }
  socket.remove();
  EXPECT_FALSE(socket.is_in_place());
}

TEST_F(PeerSocketTest, ALinkIsNotFollowed) {
  const TemporaryDirectory elsewhere;
  std::filesystem::create_directory_symlink(elsewhere.path(), place_.parent_path());
  PeerSocket socket(run_.path(), engine_);
  EXPECT_FALSE(socket.listen());
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere.path()));
}

TEST_F(PeerSocketTest, WhoComesThroughItHasToProveTheKey) {
  const KeyFile keys(run_.path() / "key");
  ASSERT_TRUE(keys.ensure());
  PeerSocket place(run_.path(), engine_);
  TlsServer server(keys, [&] { return place.listen(); });
  server.routes().Get("/", [](const httplib::Request& request, httplib::Response& response) {
    response.set_content("hello" + request.remote_addr, "text/plain");
  });
  ASSERT_TRUE(server.start());
  EXPECT_EQ(server.port(), 0);
  const auto context = make_client_context();
  const auto ask = [&](const std::string& key) -> Result<std::string> {
    Fd socket = connect_to(place_);
    write_private(run_.path() / "other", key);
    FERRY_ASSIGN(const Key own, KeyFile(run_.path() / "other").load());
    FERRY_ASSIGN(Ssl ssl, connect_tls(context->get(), socket.get(), own, "the peer", after(std::chrono::seconds(3))));
    auto stream = std::make_unique<TlsStream>(std::move(ssl), socket.get());
    const auto client = make_stream_client({"a", 22}, Link{std::move(socket), nullptr, std::move(stream)});
    const auto answer = client->Get("/");
    return answer ? answer->body : to_string(answer.error());
  };
  EXPECT_EQ(ask(read_text(keys.path())).value(), "hello");
  const auto stranger = ask(std::string(64, '7'));
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, Code::denied);
}

TEST_F(PeerSocketTest, ConnectionsStayWhenItIsMadeAgain) {
  const KeyFile keys(run_.path() / "key");
  ASSERT_TRUE(keys.ensure());
  PeerSocket place(run_.path(), engine_);
  TlsServer server(keys, [&] { return place.listen(); });
  server.routes().Get(
      "/", [](const httplib::Request&, httplib::Response& response) { response.set_content("hello", "text/plain"); });
  ASSERT_TRUE(server.start());
  const auto context = make_client_context();
  const auto connect = [&]() -> Result<std::unique_ptr<PeerClient>> {
    Fd socket = connect_to(place_);
    FERRY_ASSIGN(const Key key, keys.load());
    FERRY_ASSIGN(Ssl ssl, connect_tls(context->get(), socket.get(), key, "the peer", after(std::chrono::seconds(3))));
    auto stream = std::make_unique<TlsStream>(std::move(ssl), socket.get());
    return make_stream_client({"a", 22}, Link{std::move(socket), nullptr, std::move(stream)});
  };
  const auto before = connect();
  ASSERT_TRUE(before) << before.error().message;
  EXPECT_EQ((*before)->Get("/")->body, "hello");
  std::filesystem::remove_all(place_.parent_path());
  ASSERT_TRUE(server.listen_again());
  const auto later = connect();
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ((*later)->Get("/")->body, "hello");
  EXPECT_EQ((*before)->Get("/")->body, "hello");
}

}  // namespace
}  // namespace ferry::transport
