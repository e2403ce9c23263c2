#include "driver/rpc_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/random.h"
#include "base/time.h"
#include "driver/engine_client.h"
#include "driver/fake_driver.h"

namespace ferry::driver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RpcServerTest : public testing::Test {
 protected:
  const std::filesystem::path socket_ = std::filesystem::temp_directory_path() / ("ferry-" + random_hex(6) + ".sock");
  FakeDriver driver_;
  RpcServer server_{driver_, socket_};

  void SetUp() override {
    const auto started = server_.start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void TearDown() override {
    driver_.release();
    server_.stop();
    std::filesystem::remove(socket_);
  }
  std::string call(const std::string& request) { return EngineClient(socket_).call(request); }
  std::string answer(const std::string& method, const std::string& body) { return body_of(call(post(method, body))); }
};

TEST_F(RpcServerTest, EveryRpcReachesTheDriver) {
  EngineClient engine(socket_);
  for (const auto& [method, body] :
       std::vector<std::pair<std::string, std::string>>{{"VolumeDriver.Create", R"({"Name":"v","Opts":{"k":"x"}})"},
                                                        {"VolumeDriver.Mount", R"({"Name":"v","ID":"1"})"},
                                                        {"VolumeDriver.Unmount", R"({"Name":"v","ID":"1"})"},
                                                        {"VolumeDriver.Path", R"({"Name":"v"})"},
                                                        {"VolumeDriver.Get", R"({"Name":"v"})"},
                                                        {"VolumeDriver.Remove", R"({"Name":"v"})"},
                                                        {"VolumeDriver.List", "{}"},
                                                        {"VolumeDriver.Capabilities", "{}"},
                                                        {"Plugin.Activate", ""}}) {
    const std::string response = engine.call(post(method, body));
    EXPECT_EQ(status_of(response), "HTTP/1.1 200 OK") << method;
    EXPECT_THAT(body_of(response), HasSubstr("\"Err\":\"\"")) << method;
  }
  EXPECT_THAT(driver_.calls(), ElementsAre("create v k=x", "mount v 1", "unmount v 1", "path v", "get v", "remove v"));
}

TEST_F(RpcServerTest, FailuresAreStatus200WithErr) {
  EXPECT_EQ(answer("VolumeDriver.Remove", R"({"Name":"broken"})"), "{\"Err\":\"disk on fire\"}\n");
  EXPECT_EQ(answer("VolumeDriver.Get", R"({"Name":"missing"})"), "{\"Err\":\"there is no volume \\\"missing\\\"\"}\n");
  EXPECT_THAT(answer("VolumeDriver.Create", R"({"Name":"thrower"})"), HasSubstr("internal error"));
  EXPECT_THAT(answer("VolumeDriver.Create", ""), HasSubstr("no body"));
  EXPECT_THAT(answer("VolumeDriver.Mount", R"({"Name":"nowhere","ID":"1"})"), HasSubstr("no mountpoint"));
  EXPECT_EQ(status_of(call(post("VolumeDriver.Remove", R"({"Name":"broken"})"))), "HTTP/1.1 200 OK");
}

TEST_F(RpcServerTest, AGetThatCannotBeAnsweredBreaksTheConnection) {
  for (const auto* body : {R"({"Name":"broken"})", R"({"Name":"thrower"})", ""}) {
    EngineClient engine(socket_);
    ASSERT_TRUE(engine.send(post("VolumeDriver.Get", body)));
    EXPECT_EQ(engine.receive(), "") << body;
    EXPECT_TRUE(engine.is_at_end());
  }
  EXPECT_THAT(answer("VolumeDriver.Get", R"({"Name":"v"})"), HasSubstr("\"Err\":\"\""));
}

TEST_F(RpcServerTest, PathsAreCaseInsensitiveAndUnknownOnesNotFound) {
  EXPECT_THAT(answer("volumedriver.GET", R"({"Name":"v"})"), HasSubstr("\"Err\":\"\""));
  for (const auto& request : {post("VolumeDriver.Burn", "{}"), post("", "{}"),
                              std::string("GET /VolumeDriver.List HTTP/1.1\r\nHost: x\r\n\r\n"),
                              std::string("PUT /VolumeDriver.List HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")}) {
    const std::string response = call(request);
    EXPECT_THAT(status_of(response), HasSubstr("404")) << request;
    EXPECT_THAT(body_of(response), HasSubstr("{\"Err\":\"")) << request;
  }
}

TEST_F(RpcServerTest, AnyHostHeaderWillDo) {
  for (const auto* host :
       {"Host: \r\n", "", "Host: /run/docker/plugins/x.sock\r\n", "Host: %2Frun:80\r\n", "host: \xff\r\n"}) {
    const std::string request =
        std::string("POST /VolumeDriver.List HTTP/1.1\r\n") + host + "Content-Length: 3\r\n\r\n{}\n";
    EXPECT_EQ(status_of(call(request)), "HTTP/1.1 200 OK") << host;
  }
}

TEST_F(RpcServerTest, ARequestWithoutLengthHasNoBody) {
  const auto start = SteadyClock::now();
  EXPECT_THAT(body_of(call("POST /VolumeDriver.Create HTTP/1.1\r\nHost: x\r\n\r\n")), HasSubstr("no body"));
  EXPECT_LT(SteadyClock::now() - start, seconds(2));
}

TEST_F(RpcServerTest, BodiesMayBeChunked) {
  const std::string head = "POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(body_of(call(head + "8\r\n{\"Name\":\r\n4\r\n\"v\"}\r\n0\r\n\r\n")), HasSubstr("\"Err\":\"\""));
  EXPECT_THAT(body_of(call("POST /VolumeDriver.Path HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
              HasSubstr("no body"));
}

TEST_F(RpcServerTest, BodiesAreBounded) {
  const std::string mib(1U << 20, ' ');
  EXPECT_THAT(answer("VolumeDriver.Path", R"({"Name":"v"})" + mib.substr(20)), HasSubstr("\"Err\":\"\""));
  const std::string counted = call(post("VolumeDriver.Path", R"({"Name":"v"})" + mib));
  const std::string chunked =
      call("POST /VolumeDriver.Path HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n" + mib + " \r\n0\r\n\r\n");
  for (const auto& response : {counted, chunked}) {
    EXPECT_THAT(status_of(response), HasSubstr("413"));
    EXPECT_EQ(body_of(response), "{\"Err\":\"the request is larger than 1 MiB\"}\n");
  }
}

TEST_F(RpcServerTest, RequestsMayArriveInPiecesAndInARow) {
  EngineClient engine(socket_);
  const std::string request = post("VolumeDriver.Get", R"({"Name":"v"})");
  for (const char byte : request) ASSERT_TRUE(engine.send(std::string(1, byte)));
  EXPECT_THAT(body_of(engine.receive()), HasSubstr("\"Name\":\"v\""));
  std::string row;
  for (int i = 0; i < 200; ++i) row += post("VolumeDriver.Get", "{\"Name\":\"v" + std::to_string(i) + "\"}");
  ASSERT_TRUE(engine.send(row));
  for (int i = 0; i < 200; ++i)
    ASSERT_THAT(body_of(engine.receive()), HasSubstr("\"Name\":\"v" + std::to_string(i) + "\""));
}

TEST_F(RpcServerTest, AConnectionIsKeptThroughManyRequestsAndIdleTimes) {
  EngineClient engine(socket_);
  for (int i = 0; i < 300; ++i) ASSERT_NE(engine.call(post("VolumeDriver.List", "{}")), "");
  std::this_thread::sleep_for(milliseconds(6500));  // httplib's own limit is 5 s
  EXPECT_NE(engine.call(post("VolumeDriver.List", "{}")), "");
}

TEST_F(RpcServerTest, GarbageEndsOnlyItsOwnConnection) {
  for (const auto* bytes :
       {"\r\n\r\n", "hello\r\n\r\n", "\x16\x03\x01\x02\x00", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"}) {
    EngineClient engine(socket_);
    engine.send(bytes);
  }
  EXPECT_THAT(answer("VolumeDriver.List", ""), HasSubstr("\"Volumes\""));
}

TEST_F(RpcServerTest, BlockedMountsSlowDownNobody) {
  std::vector<std::unique_ptr<EngineClient>> blocked;
  for (int i = 0; i < 64; ++i) {
    blocked.push_back(std::make_unique<EngineClient>(socket_));
    ASSERT_TRUE(blocked.back()->send(post("VolumeDriver.Mount", R"({"Name":"blocked","ID":"1"})")));
  }
  driver_.wait_until_blocked(64);
  for (const auto* method : {"VolumeDriver.Get", "VolumeDriver.List", "VolumeDriver.Capabilities"}) {
    const auto start = SteadyClock::now();
    EXPECT_THAT(answer(method, R"({"Name":"v"})"), HasSubstr("\"Err\":\"\""));
    EXPECT_LT(SteadyClock::now() - start, milliseconds(100)) << method;
  }
  driver_.release();
  for (const auto& engine : blocked) EXPECT_THAT(engine->receive(), HasSubstr("/mnt/blocked"));
}

TEST_F(RpcServerTest, StopEndsIdleConnectionsAtOnceAndFinishesRunningCalls) {
  EngineClient idle(socket_);
  EngineClient fresh(socket_);
  EngineClient running(socket_);
  ASSERT_NE(idle.call(post("VolumeDriver.List", "{}")), "");
  ASSERT_TRUE(running.send(post("VolumeDriver.Mount", R"({"Name":"blocked","ID":"1"})")));
  driver_.wait_until_blocked(1);
  std::thread stopping([this] { server_.stop(); });
  EXPECT_TRUE(idle.is_at_end());
  EXPECT_TRUE(fresh.is_at_end());
  EXPECT_FALSE(EngineClient(socket_).connected());
  driver_.release();
  EXPECT_THAT(running.receive(), HasSubstr("/mnt/blocked"));
  const auto start = SteadyClock::now();
  stopping.join();
  EXPECT_LT(SteadyClock::now() - start, seconds(1));
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(RpcServerTest, TheSocketIsPrivateAndAStaleOneIsReplaced) {
  struct stat status {};
  ASSERT_EQ(::lstat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  RpcServer second(driver_, socket_);
  EXPECT_EQ(second.start().error().code, Code::busy);
  EXPECT_NE(answer("VolumeDriver.List", "{}"), "");
  server_.stop();
  const Fd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_.string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(second.start());
  EXPECT_NE(answer("VolumeDriver.List", "{}"), "");
}

TEST_F(RpcServerTest, OtherFilesAreNotReplaced) {
  const std::filesystem::path file = socket_.string() + ".file";
  std::ofstream(file) << "data";
  EXPECT_EQ(RpcServer(driver_, file).start().error().code, Code::already_exists);
  EXPECT_TRUE(std::filesystem::exists(file));
  std::filesystem::remove(file);
  EXPECT_EQ(RpcServer(driver_, "/tmp/" + std::string(120, 'x')).start().error().code, Code::invalid_argument);
}

TEST_F(RpcServerTest, RunningOutOfDescriptorsIsSurvived) {
  rlimit original{};
  ::getrlimit(RLIMIT_NOFILE, &original);
  std::vector<Fd> fill;
  EngineClient waiting(socket_);
  ASSERT_NE(waiting.call(post("VolumeDriver.List", "{}")), "");
  const int top = ::dup(0);
  ::close(top);
  rlimit tight = original;
  tight.rlim_cur = static_cast<rlim_t>(top) + 1;
  Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));  // takes the last descriptor
  ::setrlimit(RLIMIT_NOFILE, &tight);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_.string().copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_NE(waiting.call(post("VolumeDriver.List", "{}")), "");
  ::setrlimit(RLIMIT_NOFILE, &original);
  EXPECT_THAT(answer("VolumeDriver.List", "{}"), HasSubstr("\"Volumes\""));
}

TEST_F(RpcServerTest, LogsEachRpcWithoutOptionValues) {
  std::ostringstream log;
  const auto former = spdlog::default_logger();
  auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  logger->set_level(spdlog::level::debug);
  spdlog::set_default_logger(logger);
  answer("VolumeDriver.Create", R"({"Name":"v\nforged","Opts":{"password":"hunter2","k":"x"}})");
  EXPECT_THAT(answer("VolumeDriver.Create", R"({"Name":"picky","Opts":{"from":"hunter2@host"}})"),
              HasSubstr("hunter2"));
  answer("VolumeDriver.Mount", R"({"Name":"broken","ID":"1"})");
  server_.stop();
  spdlog::set_default_logger(former);
  EXPECT_THAT(log.str(), HasSubstr(R"(rpc VolumeDriver.Create "v\x0aforged" ["k", "password"] ok )"));
  EXPECT_THAT(log.str(), HasSubstr(R"(rpc VolumeDriver.Create "picky" ["from"] failed )"));
  EXPECT_THAT(log.str(), HasSubstr(R"(rpc VolumeDriver.Mount "broken" failed )"));
  EXPECT_THAT(log.str(), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace ferry::driver
