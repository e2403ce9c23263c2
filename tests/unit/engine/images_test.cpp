#include "engine/images.h"

#include <gmock/gmock.h>

#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using testing::answer;
using testing::chunk;
using testing::chunked;
using testing::Connection;
using ::testing::HasSubstr;
using testing::ping;
using testing::ScriptedEngine;

/// An Engine that answers everything but a ping with `bytes`.
class ImagesTest : public ::testing::Test {
 protected:
  void set_answer(const std::string& bytes) {
    const std::lock_guard guard(mutex_);
    bytes_ = bytes;
  }
  std::string last_request() const {
    const std::string request = engine_.requests().back();
    return request.substr(0, request.find('\n'));
  }

  std::mutex mutex_;
  std::string bytes_;  // protected by mutex_
  ScriptedEngine engine_{[this](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    const std::lock_guard guard(mutex_);
    connection.send(bytes_);
  }};
  Client client_{engine_.path()};
  Images images_{client_};
};

TEST_F(ImagesTest, APullIsAskedForByDigest) {
  bytes_ =
      chunked + chunk("{\"status\":\"Pulling from library/x\"}\r\n{\"status\":\"Download complete\"}\r\n") + chunk("");
  EXPECT_TRUE(images_.pull("registry:5000/x@sha256:12"));
  EXPECT_EQ(last_request(), "POST /v1.44/images/create?fromImage=registry%3A5000%2Fx%40sha256%3A12");
}

TEST_F(ImagesTest, AnErrorWithinTheAnswerIsOne) {
  set_answer(chunked + chunk("{\"status\":\"Pulling from library/x\"}\r\n") +
             chunk(R"({"errorDetail":{"message":"no such host"},"error":"no such host"})"
                   "\r\n") +
             chunk(""));
  const auto pulled = images_.pull("x@sha256:12");
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Code::io);
  EXPECT_THAT(pulled.error().message, HasSubstr("no such host"));
}

TEST_F(ImagesTest, ARefusalIsOne) {
  set_answer(answer(404, R"({"message":"manifest unknown"})"));
  const auto pulled = images_.pull("x@sha256:12");
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Code::not_found);
}

TEST_F(ImagesTest, AnImageComesInPieces) {
  set_answer(chunked + chunk("one") + chunk("two") + chunk(""));
  std::string saved;
  EXPECT_TRUE(images_.save("sha256:12", [&](std::string_view piece) {
    saved += piece;
    return Result<>();
  }));
  EXPECT_EQ(saved, "onetwo");
  EXPECT_EQ(last_request(), "GET /v1.44/images/sha256%3A12/get");
  const auto refused = images_.save("x", [](std::string_view) { return Result<>(fail(Code::no_space, "full")); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "full");
}

TEST_F(ImagesTest, NamesHaveATagBehindTheirLastColon) {
  set_answer(answer(201, ""));
  for (const auto& [name, query] :
       std::map<std::string, std::string>{{"x", "repo=x&tag=latest"},
                                          {"x:3", "repo=x&tag=3"},
                                          {"registry:5000/team/x", "repo=registry%3A5000%2Fteam%2Fx&tag=latest"},
                                          {"registry:5000/x:3", "repo=registry%3A5000%2Fx&tag=3"}}) {
    EXPECT_TRUE(images_.tag("sha256:12", name));
    EXPECT_EQ(last_request(), "POST /v1.44/images/sha256%3A12/tag?" + query);
  }
}

}  // namespace
}  // namespace ferry::engine
