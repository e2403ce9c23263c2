#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libssh2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <future>

#include "transport/peer_socket.h"
#include "transport/rogue.h"
#include "transport/ssh_known_hosts.h"
#include "transport/ssh_transport.h"
#include "transport/sshd.h"
#include "transport/tls_server.h"

extern "C" {  // of LeakSanitizer, where that is
__attribute__((weak)) void __lsan_disable();
__attribute__((weak)) void __lsan_enable();
}

namespace ferry::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

/// A real sshd, and behind it, on the Unix socket, a server as Ferry's.
class Ssh : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::filesystem::path login_ = directory_.path() / "login";  // what the mount ssh is
  const std::filesystem::path known_hosts_ = login_ / "known_hosts";
  KeyFile server_key_{directory_.path() / "server"};
  KeyFile client_key_{directory_.path() / "client"};
  std::unique_ptr<Sshd> sshd_;
  std::unique_ptr<PeerSocket> place_;
  std::unique_ptr<TlsServer> server_;

  void SetUp() override {
    if (const auto why = Sshd::why_not(); !why.empty()) GTEST_SKIP() << why;
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
    std::filesystem::create_directories(login_);
    write_private(server_key_.path(), std::string(64, '1'));
    write_private(client_key_.path(), std::string(64, '1'));
    make_key(login_ / "id_ed25519", "ed25519");
    authorize("id_ed25519");
    start_sshd();
    start_ferry();
  }

  void start_sshd(const std::string& settings = "", const std::vector<std::string>& types = {"ed25519"}) {
    sshd_.reset();
    sshd_ = std::make_unique<Sshd>(directory_.path(), settings, types);
    know(types.front());
  }

  void start_ferry() {
    server_.reset();
    place_ = std::make_unique<PeerSocket>(sshd_->run(), sshd_->run() / "docker.sock");
    server_ = std::make_unique<TlsServer>(server_key_, [this] { return place_->listen(); });
    server_->routes().Get(
        "/", [](const httplib::Request&, httplib::Response& response) { response.set_content("hello", "text/plain"); });
    server_->routes().Get("/big", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(std::string(30'000'000, 'x'), "application/octet-stream");
    });
    server_->routes().Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "application/octet-stream");
    });
    ASSERT_TRUE(server_->start());
  }

  void authorize(const std::string& key, const std::string& restriction = "") {
    write_private(directory_.path() / "authorized", restriction + read_text(login_ / (key + ".pub")));
    std::filesystem::permissions(directory_.path() / "authorized", std::filesystem::perms(0644));
  }

  std::string host_key(const std::string& type) { return read_text(directory_.path() / ("host_" + type + ".pub")); }
  std::string name() { return "[127.0.0.1]:" + std::to_string(sshd_->port()); }
  void know(const std::string& type) { write_private(known_hosts_, name() + " " + host_key(type)); }

  std::unique_ptr<Transport> transport(const std::string& user = "root") {
    return make_ssh_transport({PeerAddress::Way::ssh, user, {"127.0.0.1", sshd_->port()}}, client_key_, login_);
  }
  Result<std::unique_ptr<PeerClient>> connect(const std::string& user = "root") {
    return transport(user)->connect(seconds(5));
  }
  /// The same with an ECDSA key, of which libssh2 before 1.11 has libcrypto allocate a number and forgets it
  /// (openssl.c, gen_publickey_from_ecdsa_openssh_priv_data). What else it forgets, SshMemory frees.
  Result<std::unique_ptr<PeerClient>> connect_by_ecdsa() {
    const bool forgets = LIBSSH2_VERSION_NUM < 0x010b00 && __lsan_disable != nullptr;
    if (forgets) __lsan_disable();
    auto client = connect();
    if (forgets) __lsan_enable();
    return client;
  }
  Error connect_error(const std::string& user = "root") {
    const auto start = SteadyClock::now();
    auto client = connect(user);
    EXPECT_LT(SteadyClock::now() - start, seconds(5));
    return client ? Error{Code::io, "connected"} : client.error();
  }
  void expect_error(const Error& error, Code code, const std::string& text) {
    EXPECT_EQ(error.code, code) << error.message << "\n" << sshd_->log();
    EXPECT_THAT(error.message, HasSubstr(text));
    EXPECT_THAT(error.message, Not(HasSubstr("\n")));
  }
  std::string server_name() { return "the sshd of 127.0.0.1:" + std::to_string(sshd_->port()); }
};

TEST_F(Ssh, LeadsToFerry) {
  const auto transport = this->transport();
  EXPECT_EQ(transport->peer(), "ssh://root@127.0.0.1:" + std::to_string(sshd_->port()));
  auto client = transport->connect(seconds(5));
  ASSERT_TRUE(client) << client.error().message << sshd_->log();
  for (int i = 0; i < 50; ++i) ASSERT_EQ((*client)->Get("/")->body, "hello");
  const auto big = (*client)->Get("/big");
  ASSERT_TRUE(big) << httplib::to_string(big.error());
  EXPECT_EQ(big->body, std::string(30'000'000, 'x'));
  const std::string body(3'000'000, 'y');
  EXPECT_EQ((*client)->Post("/echo", body, "application/octet-stream")->body, body);
}

TEST_F(Ssh, SeveralAtOnce) {
  const auto transport = this->transport();
  std::vector<std::future<bool>> all;
  for (int i = 0; i < 12; ++i)
    all.push_back(std::async(std::launch::async, [&] {
      auto client = transport->connect(seconds(5));
      return client && (*client)->Get("/big")->body.size() == 30'000'000;
    }));
  for (auto& one : all) EXPECT_TRUE(one.get());
}

TEST_F(Ssh, EveryTypeOfKeyLogsIn) {
  for (const std::string type : {"ecdsa", "rsa", "ed25519"}) {
    if (type == "rsa" && LIBSSH2_VERSION_NUM < 0x010b00) continue;  // signs with SHA-1 only, which sshd refuses
    for (const char* old : {"id_ed25519", "id_ecdsa", "id_rsa"}) std::filesystem::remove(login_ / old);
    make_key(login_ / ("id_" + type), type);
    authorize("id_" + type);
    const auto client = type == "ecdsa" ? connect_by_ecdsa() : connect();
    EXPECT_TRUE(client) << type << ": " << client.error().message;
  }
}

TEST_F(Ssh, TheKeyIsAskedForInsideTheTunnel) {
  write_private(client_key_.path(), std::string(64, '2'));
  const Error error = connect_error();
  expect_error(error, Code::denied, "the keys of this host and ssh://root@127.0.0.1:");
  EXPECT_THAT(error.message, HasSubstr("differ"));
}

TEST_F(Ssh, AnUnknownHostKeyIsShownAndNotTaken) {
  write_private(known_hosts_, "");
  const auto blob = known_keys(name() + " " + host_key("ed25519"), {"127.0.0.1", sshd_->port()}).at(0).blob;
  expect_error(connect_error(), Code::denied, key_fingerprint(blob));
  std::filesystem::remove(known_hosts_);
  expect_error(connect_error(), Code::denied, "is not known here; compare with `ssh-keygen -lf");
  EXPECT_FALSE(std::filesystem::exists(known_hosts_));
  EXPECT_THAT(sshd_->log(), Not(HasSubstr("Accepted publickey")));
}

TEST_F(Ssh, AChangedHostKeyIsRefused) {
  make_key(directory_.path() / "host_other", "ed25519");
  know("other");
  expect_error(connect_error(), Code::denied, "HAS CHANGED: it shows (ed25519, SHA256:");
  EXPECT_THAT(sshd_->log(), Not(HasSubstr("Accepted publickey")));
}

TEST_F(Ssh, TheTypeOfHostKeyThatIsKnownIsAskedFor) {
  start_sshd("", {"ed25519", "ecdsa", "rsa"});
  start_ferry();
  for (const std::string type : {"rsa", "ecdsa", "ed25519"}) {
    if (type == "rsa" && LIBSSH2_VERSION_NUM < 0x010b00) continue;
    know(type);
    const auto client = connect();
    EXPECT_TRUE(client) << type << ": " << client.error().message;
  }
}

TEST_F(Ssh, WhoeverIsNotLetInIsTold) {
  expect_error(connect_error("nobody-of-that-name"), Code::denied,
               server_name() + " does not let user nobody-of-that-name in with id_ed25519");
  make_key(login_ / "id_ed25519", "ed25519");
  expect_error(connect_error(), Code::denied, server_name() + " does not let user root in with id_ed25519");
  start_sshd("PubkeyAuthentication no");
  expect_error(connect_error(), Code::denied, "PubkeyAuthentication");
}

TEST_F(Ssh, KeysThatCannotBeUsedAreNamed) {
  std::filesystem::permissions(login_ / "id_ed25519", std::filesystem::perms(0644));
  expect_error(connect_error(), Code::denied,
               "id_ed25519 in the directory ssh.source may be read by others (mode 0644)");
  make_key(login_ / "id_ed25519", "ed25519", "secret");
  expect_error(connect_error(), Code::denied, "has a passphrase");
  std::filesystem::remove(login_ / "id_ed25519");
  expect_error(connect_error(), Code::denied, "docker plugin set ferry ssh.source=/root/.ssh");
  write_private(login_ / "id_rsa", "nonsense");
  expect_error(connect_error(), Code::denied, "id_rsa, which this libssh2 cannot use");
}

TEST_F(Ssh, WhatIsWrongAtTheFarEndIsToldApart) {
  const std::string where(peer_socket_path);
  place_->remove();
  expect_error(connect_error(), Code::unavailable, server_name() + " finds no " + where);
  start_sshd("AllowStreamLocalForwarding no");
  start_ferry();
  expect_error(connect_error(), Code::unavailable, "it is forbidden by AllowStreamLocalForwarding");
  start_sshd("Subsystem sftp /bin/false");
  place_->remove();
  expect_error(connect_error(), Code::unavailable,
               server_name() + " does not lead to " + where + ": Ferry does not run");
}

TEST_F(Ssh, AKeyThatMayNotForwardIsTold) {
  authorize("id_ed25519", "restrict ");
  expect_error(connect_error(), Code::unavailable, "a restriction of the key in authorized_keys");
}

TEST_F(Ssh, WhoMayNotReachTheSocketIsTold) {
  expect_error(connect_error("ops"), Code::denied, "user ops may not connect to /run/ferry/peer.sock");
  std::filesystem::remove(sshd_->run() / "docker.sock");
  const Fd engine(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (sshd_->run() / "docker.sock").string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(engine.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::chown(address.sun_path, 0, 4711), 0);
  ASSERT_EQ(::chmod(address.sun_path, 0660), 0);
  start_ferry();
  const auto client = connect("ops");
  EXPECT_TRUE(client) << client.error().message;
}

TEST_F(Ssh, WhatIsNoSshdIsToldApart) {
  const auto at = [&](std::uint16_t port, milliseconds timeout = seconds(3)) {
    auto client =
        make_ssh_transport({PeerAddress::Way::ssh, "root", {"127.0.0.1", port}}, client_key_, login_)->connect(timeout);
    return client ? Error{Code::io, "connected"} : client.error();
  };
  const std::uint16_t free_port = bound_port(listen_tcp("127.0.0.1", 0)->get());
  expect_error(at(free_port), Code::unavailable, "is that where its sshd is?");
  RawServer silent("", RawServer::Then::wait);
  expect_error(at(silent.port(), milliseconds(300)), Code::unavailable, "does not answer as an sshd");
  RawServer closing("", RawServer::Then::close);
  expect_error(at(closing.port()), Code::unavailable, "closed the connection before it was secured");
  const FullListener full;
  expect_error(at(full.port(), milliseconds(300)), Code::unavailable, "does not answer");
}

TEST_F(Ssh, ACutConnectionEndsTheRequest) {
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message;
  std::size_t seen = 0;
  const auto start = SteadyClock::now();
  const auto answer = (*client)->Get("/big", [&](const char*, std::size_t size) {
    if (seen == 0) sshd_->stop();
    seen += size;
    return true;
  });
  EXPECT_FALSE(answer);
  EXPECT_LT(seen, 30'000'000U);
  EXPECT_EQ(transport()->explain(answer.error()).code, Code::unavailable);
  EXPECT_FALSE((*client)->Get("/"));
  EXPECT_LT(SteadyClock::now() - start, seconds(5));
}

TEST_F(Ssh, StopEndsARequestThatWaits) {
  std::promise<void> asked;
  std::promise<void> released;
  server_.reset();
  place_ = std::make_unique<PeerSocket>(sshd_->run(), "");
  server_ = std::make_unique<TlsServer>(server_key_, [this] { return place_->listen(); });
  server_->routes().Get("/held", [&](const httplib::Request&, httplib::Response&) {
    asked.set_value();
    released.get_future().wait_for(seconds(20));
  });
  ASSERT_TRUE(server_->start());
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message;
  auto answer = std::async(std::launch::async, [&] { return (*client)->Get("/held"); });
  asked.get_future().wait();
  const auto start = SteadyClock::now();
  (*client)->stop();
  EXPECT_FALSE(answer.get());
  EXPECT_LT(SteadyClock::now() - start, seconds(3));
  released.set_value();
  server_.reset();  // whose handler uses what this function has
}

TEST_F(Ssh, AnIdleConnectionAnswersItsSshd) {
  start_sshd("ClientAliveInterval 1\nClientAliveCountMax 1");
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message;
  std::this_thread::sleep_for(milliseconds(3500));  // longer than an sshd waits for one that does not answer
  EXPECT_TRUE((*client)->Get("/")) << sshd_->log();
}

TEST_F(Ssh, KeysAreRenewedMeanwhile) {
  start_sshd("RekeyLimit 2M");
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message;
  for (int i = 0; i < 3; ++i) {
    const auto answer = (*client)->Get("/big");
    ASSERT_TRUE(answer) << httplib::to_string(answer.error()) << sshd_->log();
    EXPECT_EQ(answer->body.size(), 30'000'000U);
  }
}

}  // namespace
}  // namespace ferry::transport
