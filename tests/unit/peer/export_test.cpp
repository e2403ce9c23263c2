#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "full_host.h"
#include "support/temporary_directory.h"
#include "transport/tls_transport.h"

namespace ferry::peer {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class ExportTest : public testing::Test {
 protected:
  ExportTest() { EXPECT_TRUE(keys_.ensure()); }

  migration::TicketRequest request(const std::vector<std::string>& names) const {
    migration::TicketRequest request;
    request.peer = {"127.0.0.1", there_.port()};
    for (const auto& name : names) request.volumes.push_back({name, name});
    return request;
  }
  nlohmann::json wait(const std::string& ticket) {
    const auto status = [&] { return here_.exports.status(*here_.catalogue->find(ticket)); };
    const Deadline deadline = after(seconds(30));
    while (status()["state"] == "exporting" && SteadyClock::now() < deadline)
      std::this_thread::sleep_for(milliseconds(5));
    return status();
  }

  test::TemporaryDirectory directory_;
  transport::KeyFile keys_{directory_ / "key"};
  FullHost here_{directory_ / "here", keys_};
  FullHost there_{directory_ / "there", keys_};
};

TEST_F(ExportTest, ManyVolumesNeedNoMoreLinksThanOne) {
  std::vector<std::string> names;
  for (int i = 10; i < 30; ++i) {
    names.push_back("v" + std::to_string(i));
    here_.add(names.back());
  }
  const auto begun = here_.exports.begin("ticket", request(names));
  ASSERT_TRUE(begun) << begun.error().message;
  const auto status = wait("ticket");
  ASSERT_EQ(status["state"], "done") << status.dump(2);
  for (const auto& name : names) {
    std::string content;
    std::ifstream(there_.catalogue->layout().data(name) / "file") >> content;
    EXPECT_EQ(content, name);
  }
}

TEST_F(ExportTest, OnlyItsVolumesCanBeRead) {
  here_.add("pg");
  here_.add("secret");
  Offer offer(transport::make_tls_transport({"127.0.0.1", there_.port()}, keys_), std::string(32, 'a'), here_.sources,
              here_.catalogue->uuid(), {{"pg"}, &here_.hand_offs});
  ASSERT_TRUE(offer.start());
  // Asked as the destination would: by a ticket that names what is not offered.
  auto wanted = request({"pg", "secret"});
  wanted.peer = transport::PeerAddress::turned(std::string(32, 'a'), "here");
  const auto begun = there_.tickets.begin("ticket", wanted);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::denied);
  EXPECT_THAT(begun.error().message, HasSubstr("secret"));
}

TEST_F(ExportTest, OfTheServicesOnlyItsOwnIsShown) {
  const migration::Services services(here_.client, here_.sources);
  const migration::ContainerHolds holds(here_.client);
  migration::ServiceDepartures departures(
      {*here_.catalogue, here_.hand_offs, holds, [] {}, [](const std::string&) { return Result<>(); }});
  Offer::Offered offered{{"pg"}, &here_.hand_offs, "db", std::string(64, '1'), &services, &departures};
  Offer offer(transport::make_tls_transport({"127.0.0.1", there_.port()}, keys_), std::string(32, 'a'), here_.sources,
              here_.catalogue->uuid(), std::move(offered));
  ASSERT_TRUE(offer.start());
  const auto peer = there_.peers->peer(transport::PeerAddress::turned(std::string(32, 'a'), "here"));
  const auto describe = [&](const std::string& container) {
    return peer->describe_service(container, migration::ServiceDetail::whole, seconds(20)).error();
  };
  const auto is_shown = [](const Error& error) { return error.message.find("of the export") == std::string::npos; };
  EXPECT_TRUE(is_shown(describe("db")) && is_shown(describe(std::string(64, '1'))));  // there is no Engine to ask
  const Error other = describe("web");
  EXPECT_EQ(other.code, Code::denied);
  EXPECT_FALSE(is_shown(other)) << other.message;
  const auto image = peer->image("web", 0, [](std::string_view) { return Result<>(); });
  ASSERT_FALSE(image);
  EXPECT_FALSE(is_shown(image.error())) << image.error().message;
  migration::HandOffRequest held;
  held.container = "web";
  const auto hold = [&](const std::string& id) {
    return peer->hand_off(id, migration::hand_off::Request::hold, held, seconds(20)).error();
  };
  EXPECT_FALSE(is_shown(hold(std::string(32, 'a'))));
  held.container = "db";
  EXPECT_TRUE(is_shown(hold(std::string(32, 'b')))) << "as one that follows it";
  held.container.clear();
  held.volumes = {{"pg", "pg", 1, "", false}};
  EXPECT_EQ(hold(std::string(32, 'a')).code, Code::denied) << "its volumes go with it only";
}

TEST_F(ExportTest, ItCanBeStoppedAtAnyInstant) {
  here_.add("pg");
  for (int i = 0; i < 20; ++i) {
    Offer offer(transport::make_tls_transport({"127.0.0.1", there_.port()}, keys_), std::string(32, 'a'), here_.sources,
                here_.catalogue->uuid(), {{"pg"}, &here_.hand_offs});
    std::thread starts([&] { (void)offer.start(); });
    std::thread stops([&] { offer.stop(); });
    std::this_thread::sleep_for(milliseconds(i));
    offer.stop();
    starts.join();
    stops.join();
  }
}

TEST_F(ExportTest, ADestinationThatEndsEveryConnectionIsTrouble) {
  transport::TlsServer hostile(keys_, 0, "127.0.0.1");
  std::atomic<int> asked{0};
  hostile.routes().Post(".*", [&](const httplib::Request&, httplib::Response& response) {
    ++asked;
    response.set_header("Connection", "close");
    response.set_content("{}", "application/json");
  });
  ASSERT_TRUE(hostile.start());
  Offer offer(transport::make_tls_transport({"127.0.0.1", hostile.port()}, keys_), std::string(32, 'a'), here_.sources,
              here_.catalogue->uuid(), {{"pg"}, &here_.hand_offs});
  ASSERT_TRUE(offer.start());
  const Deadline deadline = after(seconds(20));
  while (offer.trouble().empty() && SteadyClock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_THAT(offer.trouble(), HasSubstr("ended the connection"));
  EXPECT_LE(asked, 20) << "it is asked again only after a pause";
  offer.stop();
}

}  // namespace
}  // namespace ferry::peer
