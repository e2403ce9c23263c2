#include "engine/images.h"

#include <gmock/gmock.h>

#include "support/scripted_engine.h"
#include "tar.h"

namespace ferry::engine {
namespace {

using testing::answer;
using testing::chunk;
using testing::chunked;
using testing::Connection;
using ::testing::HasSubstr;
using testing::ping;
using testing::routes;
using testing::ScriptedEngine;

/// An Engine that has two images.
TEST(Images, AsManyLayersAreKnownAsSomeImageBeginsWith) {
  const auto image = [](const char* layers) {
    return answer(200, std::string(R"({"Id":"sha256:1","RootFS":{"Layers":)") + layers + "}}");
  };
  ScriptedEngine engine(routes(
      "1.44", {{"GET /v1.44/images/json", answer(200, R"([{"Id":"sha256:1"},{"Id":"sha256:2"},{"Id":"sha256:3"}])")},
               {"GET /v1.44/images/sha256%3A1/json", image(R"(["a","x","c"])")},
               {"GET /v1.44/images/sha256%3A2/json", image(R"(["a","b"])")},
               {"GET /v1.44/images/sha256%3A3/json", answer(404, R"({"message":"gone"})")}}));
  Client client(engine.path());
  const Images images(client);
  using Layers = std::vector<std::string>;
  for (const auto& [layers, known] : std::map<Layers, std::size_t>{
           {{}, 0}, {{"b"}, 0}, {{"a"}, 1}, {{"a", "b", "c"}, 2}, {{"a", "x", "c", "d"}, 3}, {{"a", "c"}, 1}}) {
    const auto count = images.count_known(layers);
    ASSERT_TRUE(count) << count.error().message;
    EXPECT_EQ(*count, known);
  }
}

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
  set_answer(chunked + chunk("{\"status\":\"Pulling from library/x\"}\r\n{\"status\":\"Download complete\"}\r\n") +
             chunk(""));
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
  Image image;
  image.id = "sha256:12";
  EXPECT_TRUE(images_.save(image, 0, [&](std::string_view piece) {
    saved += piece;
    return Result<>();
  }));
  EXPECT_EQ(saved, "onetwo");
  EXPECT_EQ(last_request(), "GET /v1.44/images/sha256%3A12/get");
  const auto refused = images_.save(image, 0, [](std::string_view) { return Result<>(fail(Code::no_space, "full")); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "full");
}

/// As 20.10 writes it: what the layers' files are called is said last. The third layer is the first one again.
TEST_F(ImagesTest, WhatTheOtherEngineHasIsLeftOut) {
  Image image;
  image.id = "sha256:12";
  image.layers = {"sha256:a", "sha256:b", "sha256:a", "sha256:c"};
  testing::Files files = {{"1/layer.tar", "A"}, {"2/layer.tar", "B"}, {"3/layer.tar", "A"}, {"4/layer.tar", "C"}};
  const std::string layers = R"(["1/layer.tar","2/layer.tar","3/layer.tar","4/layer.tar"])";
  files["manifest.json"] = R"([{"Config":"12.json","Layers":)" + layers + "}]";
  const std::string packed = testing::pack(files, "pax");
  set_answer(chunked + chunk(packed.substr(0, 700)) + chunk(packed.substr(700)) + chunk(""));
  const auto saved = [&](std::size_t known) {
    std::string bytes;
    const auto done = images_.save(image, known, [&](std::string_view piece) {
      bytes += piece;
      return Result<>();
    });
    EXPECT_TRUE(done) << done.error().message;
    return testing::unpack(bytes);
  };
  EXPECT_EQ(saved(0), files);
  files.erase("2/layer.tar");
  EXPECT_EQ(saved(2), files) << "what is there again further up is needed";
  files.erase("1/layer.tar");
  files.erase("3/layer.tar");
  EXPECT_EQ(saved(3), files);
  files.erase("4/layer.tar");
  EXPECT_EQ(saved(4), files);
  EXPECT_EQ(saved(99), files);
  image.layers.pop_back();
  EXPECT_EQ(saved(3).size(), 5U) << "nothing is left out of what is not understood";
}

TEST_F(ImagesTest, AManifestThatCannotBeReadIsAnError) {
  Image image;
  image.layers = {"sha256:a"};
  for (const char* manifest : {"", "[]", R"([{"Layers":7}])"}) {
    set_answer(chunked + chunk(testing::pack({{"manifest.json", manifest}}, "pax")) + chunk(""));
    const auto saved = images_.save(image, 1, [](std::string_view) { return Result<>(); });
    ASSERT_FALSE(saved) << manifest;
    EXPECT_EQ(saved.error().code, Code::corrupt);
  }
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
