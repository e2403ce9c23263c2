#include "engine/client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "base/time.h"
#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using namespace std::chrono_literals;
using testing::answer;
using testing::chunk;
using testing::chunked;
using testing::Connection;
using ::testing::ElementsAre;
using testing::golden;
using ::testing::HasSubstr;
using testing::ping;
using testing::routes;
using testing::ScriptedEngine;
using ::testing::SizeIs;

constexpr ClientLimits quick{.connect = 200ms, .read = 200ms, .change = 400ms, .body = 4000, .event = 1000};

/// A script that answers pings as 1.44 and everything else with the same bytes.
ScriptedEngine::Script always(const std::string& bytes) {
  return [bytes](Connection& connection, const std::string& request) {
    connection.send(request.starts_with("GET /_ping") ? ping("1.44") : bytes);
  };
}

TEST(Client, UsesTheEnginesVersionButNoneBeyondTheKnown) {
  for (const auto& [offered, used] : {std::pair{"1.41", "1.41"}, {"1.44", "1.44"}, {"1.51", "1.44"}}) {
    ScriptedEngine engine(routes(
        offered, {{std::string("GET /v") + used + "/volumes/pgdata", answer(200, golden("20.10", "volume.json"))}}));
    Client client(engine.path());
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(client.volume("pgdata"));
    EXPECT_THAT(engine.requests(), SizeIs(3)) << "the version is asked once";
  }
}

TEST(Client, RecordedAnswersOfARealEngineByteByByte) {
  const auto ping_bytes = golden("20.10", "ping.http");
  const auto containers = golden("20.10", "containers.http");
  ScriptedEngine engine([&](Connection& connection, const std::string& request) {
    connection.send_bytewise(request.starts_with("GET /_ping") ? ping_bytes : containers);
  });
  Client client(engine.path());
  const auto mounts = client.container_mounts();
  ASSERT_TRUE(mounts) << mounts.error().message;
  EXPECT_THAT(*mounts, SizeIs(5));
}

TEST(Client, NegotiatesAnewWhenAnotherEngineRefusesTheVersion) {
  std::atomic<bool> replaced = false;
  const auto volume = answer(200, golden("26.1", "volume.json"));
  const auto old_engine = routes("1.41", {{"GET /v1.41/volumes/pgdata", volume}});
  const auto new_engine =
      routes("1.51", {{"GET /v1.41/volumes/pgdata", answer(400, golden("28.5", "version_too_old.json"))},
                      {"GET /v1.44/volumes/pgdata", volume}});
  ScriptedEngine engine([&](Connection& connection, const std::string& request) {
    (replaced ? new_engine : old_engine)(connection, request);
  });
  Client client(engine.path());
  EXPECT_TRUE(client.volume("pgdata"));
  replaced = true;
  EXPECT_TRUE(client.volume("pgdata"));
  EXPECT_TRUE(client.volume("pgdata"));
  EXPECT_THAT(engine.requests(), SizeIs(6));
}

TEST(Client, TakesTheEnginesOwnVersionWhenTheNewestKnownIsTooOld) {
  ScriptedEngine engine(
      routes("1.60", {{"GET /v1.44/info", answer(400, R"({"message":"client version 1.44 is too old. Minimum 1.50"})")},
                      {"GET /v1.60/info", answer(200, golden("28.5", "info.json"))}}));
  Client client(engine.path());
  EXPECT_EQ(client.data_root().value(), "/var/lib/docker");
}

TEST(Client, ARefusalThatRepeatsIsAnErrorNotALoop) {
  ScriptedEngine engine(always(answer(400, golden("28.5", "version_too_new.json"))));
  Client client(engine.path());
  const auto root = client.data_root();
  EXPECT_EQ(root.error().code, Code::invalid_argument);
  EXPECT_THAT(root.error().message, HasSubstr("too new"));
  EXPECT_THAT(engine.requests(), SizeIs(4));
}

TEST(Client, ErrorsHaveTheEnginesReason) {
  const std::vector<std::pair<int, Code>> codes = {
      {400, Code::invalid_argument}, {403, Code::denied}, {404, Code::not_found}, {409, Code::busy}, {500, Code::io},
      {503, Code::unavailable},      {301, Code::io}};
  for (const auto& [status, code] : codes) {
    ScriptedEngine engine(always(answer(status, R"({"message":"why not"})")));
    Client client(engine.path());
    const auto removed = client.remove_volume("x");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, code) << status;
    EXPECT_EQ(removed.error().message, "Docker Engine: why not");
    if (status == 409) {
      EXPECT_EQ(client.create_volume("x", "d", {}, {}).error().code, Code::already_exists);
    }
  }
}

TEST(Client, RecordedConflictOfRemove) {
  ScriptedEngine engine(always(answer(409, golden("28.5", "remove_busy.json"))));
  Client client(engine.path());
  const auto removed = client.remove_volume("pgdata");
  EXPECT_EQ(removed.error().code, Code::busy);
  EXPECT_THAT(removed.error().message, HasSubstr("volume is in use - ["));
}

TEST(Client, NamesAreOneEscapedSegment) {
  ScriptedEngine engine(always(answer(404, "{}")));
  Client client(engine.path());
  EXPECT_EQ(client.volume("a/b?c#d %\xc3\xbc").error().code, Code::not_found);
  EXPECT_EQ(engine.requests().back(), "GET /v1.44/volumes/a%2Fb%3Fc%23d%20%25%C3%BC\n");
  for (const auto* name : {"", ".", ".."}) EXPECT_EQ(client.volume(name).error().code, Code::invalid_argument);
  EXPECT_THAT(engine.requests(), SizeIs(2));
}

TEST(Client, RemoveAcceptsNoContent) {
  ScriptedEngine engine(always("HTTP/1.1 204 No Content\r\n\r\n"));
  EXPECT_TRUE(Client(engine.path()).remove_volume("x"));
  EXPECT_EQ(engine.requests().back(), "DELETE /v1.44/volumes/x\n");
}

TEST(Client, CreateSendsEverythingAsJson) {
  ScriptedEngine engine(always(answer(201, golden("28.5", "volume.json"))));
  Client client(engine.path());
  const auto volume = client.create_volume("pgdata", "ferry", {{"mode", "ro"}}, {{"a,b", "c \"d\""}});
  ASSERT_TRUE(volume) << volume.error().message;
  EXPECT_EQ(volume->labels.at("a,b"), "c d") << "what the Engine says counts, not what was asked for";
  EXPECT_EQ(engine.requests().back(),
            "POST /v1.44/volumes/create\n"
            R"({"Driver":"ferry","DriverOpts":{"mode":"ro"},"Labels":{"a,b":"c \"d\""},"Name":"pgdata"})");
}

TEST(Client, CreateLeavesOutWhatIsEmpty) {
  ScriptedEngine engine(always(answer(201, golden("28.5", "volume.json"))));
  ASSERT_TRUE(Client(engine.path()).create_volume("pgdata", "ferry", {}, {}));
  EXPECT_EQ(engine.requests().back(),
            "POST /v1.44/volumes/create\n"
            R"({"Driver":"ferry","Name":"pgdata"})");
}

TEST(Client, CreateRefusesWhatJsonCannotHold) {
  Client client("/nonexistent/docker.sock");
  EXPECT_EQ(client.create_volume("x", "ferry", {}, {{"a", "\xff"}}).error().code, Code::invalid_argument);
}

TEST(Client, NoSocketIsUnavailableAtOnce) {
  Client client("/nonexistent/docker.sock");
  const auto begin = SteadyClock::now();
  const auto volumes = client.volumes();
  EXPECT_EQ(volumes.error().code, Code::unavailable);
  EXPECT_THAT(volumes.error().message, HasSubstr("/nonexistent/docker.sock"));
  EXPECT_LT(SteadyClock::now() - begin, 100ms);
  EXPECT_EQ(Client(std::string(200, 'x')).volumes().error().code, Code::invalid_argument);
}

TEST(Client, ABootingEngineIsUnavailableWithinTheTimeout) {
  ScriptedEngine engine([](Connection& connection, const std::string&) { connection.wait_for_end(); });
  Client client(engine.path(), quick);
  const auto begin = SteadyClock::now();
  EXPECT_EQ(client.volumes().error().code, Code::unavailable);
  EXPECT_LT(SteadyClock::now() - begin, 2s);
}

TEST(Client, TheDeadlineCoversABodyThatTrickles) {
  ScriptedEngine engine([](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    connection.send(chunked);
    for (int i = 0; i < 30; ++i) {
      connection.send(chunk(" "));
      std::this_thread::sleep_for(20ms);
    }
  });
  Client client(engine.path(), quick);
  const auto begin = SteadyClock::now();
  const auto root = client.data_root();
  EXPECT_EQ(root.error().code, Code::unavailable);
  EXPECT_THAT(root.error().message, HasSubstr("did not answer within 200 ms"));
  EXPECT_LT(SteadyClock::now() - begin, 1500ms);
}

TEST(Client, HugeAnswersAreRefusedHoweverTheyAreFramed) {
  const std::string huge(100000, 'x');
  for (const auto& bytes : {answer(200, huge), chunked + chunk(huge) + "0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n" + huge,
                            std::string("HTTP/1.1 500 X\r\nContent-Length: 99999999999999\r\n\r\n") + huge}) {
    ScriptedEngine engine(always(bytes));
    EXPECT_EQ(Client(engine.path(), quick).volumes().error().code, Code::corrupt);
  }
}

TEST(Client, BrokenAnswersAreErrors) {
  const auto volumes = golden("28.5", "volumes.json");
  const auto whole = answer(200, volumes);
  for (std::size_t size = 0; size + 1 < whole.size(); size += 7) {
    ScriptedEngine engine(always(whole.substr(0, size)));
    EXPECT_FALSE(Client(engine.path(), quick).volumes()) << size;
  }
  for (const auto& bytes : {std::string("nonsense\r\n\r\n"), std::string("HTTP/1.1 200 OK\r\n\r\nnot json"),
                            chunked + "zz\r\n" + volumes, chunked + chunk("{")}) {
    ScriptedEngine engine(always(bytes));
    EXPECT_FALSE(Client(engine.path(), quick).volumes());
  }
}

TEST(Client, ServesManyThreads) {
  ScriptedEngine engine(always(answer(200, golden("28.5", "volume.json"))));
  Client client(engine.path());
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 10; ++j) EXPECT_TRUE(client.volume("pgdata"));
    });
  for (auto& thread : threads) thread.join();
}

/// The actions of the events that arrive when the recorded stream is sent by `send`.
std::vector<std::string> follow(const std::function<void(Connection&, const std::string&)>& send) {
  ScriptedEngine engine([&](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    connection.send(chunked);
    send(connection, golden("28.5", "events.jsonl"));
  });
  std::vector<std::string> actions;
  bool open = false;
  Interrupt interrupt;
  const auto ended =
      Client(engine.path())
          .follow_events(
              interrupt, [&] { open = true; }, [&](const Event& event) { actions.push_back(event.action); });
  EXPECT_TRUE(open);
  EXPECT_EQ(ended.error().code, Code::unavailable);
  return actions;
}

TEST(Client, EventsMayBeCutAnywhere) {
  const auto whole = follow([](Connection& c, const std::string& events) { c.send(chunk(events) + "0\r\n\r\n"); });
  EXPECT_THAT(whole, SizeIs(36));
  EXPECT_EQ(follow([](Connection& c, const std::string& events) { c.send_bytewise(chunk(events)); }), whole);
  EXPECT_EQ(follow([](Connection& c, const std::string& events) {
              for (const char byte : events) c.send(chunk(std::string(1, byte)));
            }),
            whole);
}

TEST(Client, EventsThatCannotBeUnderstoodEndTheStream) {
  for (const auto& bytes : {std::string("{\"Type\":1}\n"), std::string("nonsense\n"), std::string(2000, 'x')}) {
    ScriptedEngine engine(always(chunked + chunk(bytes)));
    Interrupt interrupt;
    const auto ended = Client(engine.path(), quick)
                           .follow_events(
                               interrupt, [] {}, [](const Event&) {});
    EXPECT_EQ(ended.error().code, Code::corrupt);
  }
}

TEST(Client, ARefusedStreamIsNotOpen) {
  ScriptedEngine engine(always(answer(500, R"({"message":"no events today"})")));
  Interrupt interrupt;
  const auto ended = Client(engine.path())
                         .follow_events(
                             interrupt, [] { ADD_FAILURE(); }, [](const Event&) { ADD_FAILURE(); });
  EXPECT_EQ(ended.error().message, "Docker Engine: no events today");
}

TEST(Client, AnInterruptEndsWhatIsUnderWayAndWhatComesLater) {
  std::atomic<int> waiting = 0;
  ScriptedEngine engine([&](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    if (request.find("/events") != std::string::npos) connection.send(chunked);
    ++waiting;
    connection.wait_for_end();
  });
  Client client(engine.path());
  Interrupt interrupt;
  std::thread lister([&] { EXPECT_EQ(client.volumes(&interrupt).error().code, Code::cancelled); });
  std::thread follower([&] {
    EXPECT_EQ(client
                  .follow_events(
                      interrupt, [] {}, [](const Event&) {})
                  .error()
                  .code,
              Code::cancelled);
  });
  while (waiting < 2) std::this_thread::yield();
  const auto begin = SteadyClock::now();
  interrupt.trip();
  lister.join();
  follower.join();
  EXPECT_LT(SteadyClock::now() - begin, 1s);
  EXPECT_EQ(client.volumes(&interrupt).error().code, Code::cancelled);
}

TEST(UrlEscape, KeepsOnlyUnreservedCharacters) {
  EXPECT_EQ(url_escape("AZaz09-._~"), "AZaz09-._~");
  EXPECT_EQ(url_escape("a/b c%\n\xff+"), "a%2Fb%20c%25%0A%FF%2B");
}

}  // namespace
}  // namespace ferry::engine
