#include "peer/client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "base/time.h"
#include "support/temporary_directory.h"
#include "transport/tls_server.h"

namespace ferry::peer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

/// A peer that has the key and answers byte by byte, never to the end.
class DrippingPeer : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(keys_.ensure());
    const auto drip = [this](const httplib::Request&, httplib::Response& response) {
      response.set_chunked_content_provider("application/json", [this](std::size_t, httplib::DataSink& sink) {
        std::this_thread::sleep_for(pause_);
        if (ended_) sink.done();
        return ended_ || sink.write(piece_.data(), piece_.size());
      });
    };
    server_.routes().Get("/ferry/v2/hello", drip);
    server_.routes().Post("/ferry/v2/describe", drip);
    ASSERT_TRUE(server_.start());
  }
  void TearDown() override { ended_ = true; }

  /// How long both questions take, which must fail.
  void expect_an_end() {
    const auto factory = make_peer_factory(keys_, "");
    const auto peer = factory->peer({"127.0.0.1", server_.port()});
    const auto start = SteadyClock::now();
    const auto identified = peer->identify(milliseconds(400));
    const auto described = peer->describe({{}, "pgdata", {migration::Freeze::none}}, 0, milliseconds(400));
    EXPECT_LT(SteadyClock::now() - start, milliseconds(2400));
    ASSERT_FALSE(identified);
    ASSERT_FALSE(described);
    for (const Error& error : {identified.error(), described.error()}) {
      EXPECT_EQ(error.code, Code::unavailable);
      EXPECT_THAT(error.message, HasSubstr("127.0.0.1:" + std::to_string(server_.port()) + " did not answer in time"));
    }
  }

  test::TemporaryDirectory directory_;
  transport::KeyFile keys_{directory_ / "key"};
  milliseconds pause_{50};
  std::string piece_ = " ";
  std::atomic<bool> ended_{false};
  transport::TlsServer server_{keys_, 0, "127.0.0.1"};
};

TEST_F(DrippingPeer, IsNotWaitedForLongerThanAllowedAltogether) { expect_an_end(); }

TEST_F(DrippingPeer, NorIsOneThatDripsFast) {
  pause_ = milliseconds(1);
  expect_an_end();
}

TEST_F(DrippingPeer, NorIsOneThatSaysNothing) {
  pause_ = milliseconds(1500);
  expect_an_end();
}

}  // namespace
}  // namespace ferry::peer
