#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <thread>

#include "transport/rogue.h"
#include "transport/tcp.h"
#include "transport/temporary.h"
#include "transport/tls_server.h"
#include "transport/tls_transport.h"

namespace ferry::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AnyOf;
using testing::HasSubstr;

class Tls : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  KeyFile server_key_{directory_.path() / "server"};
  KeyFile client_key_{directory_.path() / "client"};
  std::promise<void> held_;      // the handler of /held has been called
  std::promise<void> released_;  // it may end
  TlsServer server_{server_key_, 0, "127.0.0.1"};
  std::atomic<int> requests_ = 0;

  void SetUp() override {
    set_keys('1', '1');
    server_.routes().Get("/", [this](const httplib::Request&, httplib::Response& response) {
      ++requests_;
      response.set_content("hello", "text/plain");
    });
    server_.routes().Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "application/octet-stream");
    });
    server_.routes().Get("/slow", [](const httplib::Request&, httplib::Response& response) {
      std::this_thread::sleep_for(milliseconds(500));
      response.set_content("late", "text/plain");
    });
    server_.routes().Get("/held", [this](const httplib::Request&, httplib::Response& response) {
      held_.set_value();
      released_.get_future().wait_for(seconds(20));
      response.set_content("late", "text/plain");
    });
    server_.routes().Get("/throw",
                         [](const httplib::Request&, httplib::Response&) { throw std::runtime_error("boo"); });
    ASSERT_TRUE(server_.start());
  }

  void set_keys(char server, char client) {
    write_private(server_key_.path(), std::string(64, server));
    write_private(client_key_.path(), std::string(64, client));
  }

  Result<std::unique_ptr<httplib::ClientImpl>> connect(std::uint16_t port, milliseconds timeout = seconds(3)) {
    return make_tls_transport({"127.0.0.1", port}, client_key_)->connect(timeout);
  }
  Result<std::unique_ptr<httplib::ClientImpl>> connect() { return connect(server_.port()); }

  Error connect_error(std::uint16_t port, milliseconds timeout = seconds(3)) {
    auto client = connect(port, timeout);
    return client ? Error{Code::io, "connected"} : client.error();
  }
};

TEST_F(Tls, AMatchingKeyConnects) {
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message;
  for (int i = 0; i < 300; ++i) ASSERT_EQ((*client)->Get("/")->body, "hello");
  const std::string big(3'000'000, 'x');
  EXPECT_EQ((*client)->Post("/echo", big, "application/octet-stream")->body, big);
}

TEST_F(Tls, DifferentKeysAreDenied) {
  set_keys('1', '2');
  const Error error = connect_error(server_.port());
  EXPECT_EQ(error.code, Code::denied) << error.message;
  EXPECT_THAT(error.message,
              HasSubstr("the keys of this host and 127.0.0.1:" + std::to_string(server_.port()) + " differ"));
  EXPECT_EQ(requests_, 0);
}

TEST_F(Tls, ARotatedKeyCountsForTheNextConnection) {
  auto before = connect();
  ASSERT_TRUE(before);
  set_keys('2', '1');
  EXPECT_EQ(connect_error(server_.port()).code, Code::denied);
  EXPECT_TRUE((*before)->Get("/"));
  set_keys('2', '2');
  auto later = connect();
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_TRUE((*later)->Get("/"));
}

TEST_F(Tls, AnUnreadableKeyOnEitherSideIsSaid) {
  std::filesystem::remove(server_key_.path());
  const Error theirs = connect_error(server_.port());
  EXPECT_EQ(theirs.code, Code::unavailable) << theirs.message;
  EXPECT_THAT(theirs.message, HasSubstr("cannot read its key"));
  write_private(client_key_.path(), "nonsense");
  EXPECT_EQ(connect_error(server_.port()).code, Code::corrupt);
}

TEST_F(Tls, ServersThatDoNotProveTheKeyAreRefused) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    RogueServer rogue(version);
    const Error error = connect_error(rogue.port());
    EXPECT_EQ(error.code, Code::unsupported) << error.message;
    EXPECT_THAT(error.message, HasSubstr("not"));
    EXPECT_EQ(rogue.received(), "");
  }
}

TEST_F(Tls, AServerWithACertificateAndTheIdentityIsRefused) {
  RogueServer rogue(TLS1_3_VERSION, RogueServer::Psk::wrong_key_for_any_identity);
  const Error error = connect_error(rogue.port());
  EXPECT_THAT(error.code, AnyOf(Code::denied, Code::unsupported)) << error.message;
  EXPECT_EQ(rogue.received(), "");
}

TEST_F(Tls, OtherServicesAreToldApart) {
  for (const auto* greeting : {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail ready\r\n"}) {
    RawServer other(greeting);
    const Error error = connect_error(other.port());
    EXPECT_EQ(error.code, Code::unsupported) << error.message;
    EXPECT_THAT(error.message, HasSubstr("does not speak Ferry's protocol"));
  }
  RawServer silent("", RawServer::Then::wait);
  const Error late = connect_error(silent.port(), milliseconds(300));
  EXPECT_EQ(late.code, Code::unavailable);
  EXPECT_THAT(late.message, HasSubstr("does not answer"));
  RawServer closing("", RawServer::Then::close);
  const Error closed = connect_error(closing.port());
  EXPECT_EQ(closed.code, Code::unavailable);
  EXPECT_THAT(closed.message, HasSubstr("closed the connection"));
}

TEST_F(Tls, NetworkErrorsAreToldApart) {
  const std::uint16_t free_port = bound_port(listen_tcp("127.0.0.1", 0)->get());
  const Error refused = connect_error(free_port);
  EXPECT_EQ(refused.code, Code::unavailable);
  EXPECT_THAT(refused.message, HasSubstr("nothing listens on 127.0.0.1:"));
  const auto start = SteadyClock::now();
  auto unknown = make_tls_transport({"no-such-host.invalid", 7766}, client_key_)->connect(seconds(3));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::unavailable);
  EXPECT_THAT(unknown.error().message, HasSubstr("host name \"no-such-host.invalid\""));
  EXPECT_LT(SteadyClock::now() - start, seconds(4));
}

TEST_F(Tls, AnAddressThatNeverAnswersTimesOut) {
  const FullListener silent;
  const auto start = SteadyClock::now();
  const Error error = connect_error(silent.port(), milliseconds(400));
  EXPECT_EQ(error.code, Code::unavailable);
  EXPECT_THAT(error.message, HasSubstr("does not answer"));
  EXPECT_LT(SteadyClock::now() - start, seconds(3));
}

TEST_F(Tls, ClientsWithoutTheKeyReachNoRoute) {
  const auto key = *server_key_.load();
  const std::string identity = "ferry-psk-1 " + key.fingerprint();
  const std::string right(reinterpret_cast<const char*>(key.bytes().data()), Key::size);
  EXPECT_TRUE(client_is_served(server_.port(), {identity, right}));
  requests_ = 0;
  EXPECT_FALSE(client_is_served(server_.port(), {"", ""}));
  EXPECT_FALSE(client_is_served(server_.port(), {identity, std::string(32, 'x')}));
  EXPECT_FALSE(client_is_served(server_.port(), {"another", right}));
  for (const auto* bytes :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\xff\xff garbage", "\x80\x2e\x01\x03\x01"}) {
    RawClient client(server_.port());
    client.send(bytes);
    EXPECT_THAT(client.receive_all(seconds(6)), testing::Not(HasSubstr("HTTP")));
  }
  EXPECT_EQ(requests_, 0);
  EXPECT_TRUE(connect());
}

TEST_F(Tls, UnfinishedHandshakesEndAfterFiveSeconds) {
  RawClient silent(server_.port());
  RawClient slow(server_.port());
  const auto start = SteadyClock::now();
  std::thread dripping([&] {
    const std::string hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
    for (std::size_t i = 0; i < 20 && slow.send(hello.substr(i % hello.size(), 1)); ++i)
      std::this_thread::sleep_for(milliseconds(400));
  });
  silent.receive_all(seconds(10));
  slow.receive_all(seconds(10));
  const auto took = SteadyClock::now() - start;
  dripping.join();
  EXPECT_GT(took, milliseconds(4500));
  EXPECT_LT(took, milliseconds(7000));
}

TEST_F(Tls, HandlersThatThrowAreAnsweredWith500) {
  auto client = connect();
  ASSERT_TRUE(client);
  const auto response = (*client)->Get("/throw");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 500);
  EXPECT_THAT(response->body, testing::Not(HasSubstr("boo")));
  EXPECT_TRUE((*client)->Get("/"));
}

TEST_F(Tls, ABrokenClientStaysBrokenAndSaysSo) {
  auto client = connect();
  ASSERT_TRUE(client);
  server_.stop();
  const auto response = (*client)->Get("/");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error(), httplib::Error::Connection);
  EXPECT_FALSE((*client)->Get("/"));
  const Error error = make_tls_transport({"a", 7766}, client_key_)->explain(response.error());
  EXPECT_EQ(error.message, "the connection to a:7766 is closed");
}

TEST_F(Tls, StopIsPromptWithIdleAndBusyAndUnfinishedConnections) {
  std::vector<std::unique_ptr<httplib::ClientImpl>> idle;
  for (int i = 0; i < 10; ++i) idle.push_back(std::move(*connect()));
  EXPECT_TRUE(idle[0]->Get("/"));
  RawClient unfinished(server_.port());
  std::thread busy([&] { EXPECT_FALSE(idle[1]->Get("/slow")); });
  std::this_thread::sleep_for(milliseconds(100));
  const auto start = SteadyClock::now();
  server_.stop();
  EXPECT_LT(SteadyClock::now() - start, seconds(2));
  busy.join();
}

TEST_F(Tls, ARequestCanBeAbortedFromAnotherThread) {
  auto client = connect();
  ASSERT_TRUE(client);
  std::thread aborting([&] {
    held_.get_future().wait_for(seconds(20));
    (*client)->stop();
  });
  EXPECT_FALSE((*client)->Get("/held"));  // which is answered only after this
  released_.set_value();
  aborting.join();
}

TEST_F(Tls, ThreeHundredConnectionsEndAtTheLimit) {
  std::vector<std::unique_ptr<httplib::ClientImpl>> clients;
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    auto client = connect();
    if (client) {
      clients.push_back(std::move(*client));
      continue;
    }
    ++refused;
    EXPECT_EQ(client.error().code, Code::unavailable) << client.error().message;
  }
  EXPECT_EQ(clients.size(), 256U);
  EXPECT_EQ(refused, 44);
  for (const auto& client : clients) ASSERT_EQ(client->Get("/")->body, "hello");
  clients.clear();
  for (int i = 0; i < 100 && !connect(); ++i) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_TRUE(connect());
}

}  // namespace
}  // namespace ferry::transport
