#include <mutex>

#include "support/scripted_engine.h"
#include "support/tree.h"
#include "tickets_fixture.h"

namespace ferry::migration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Somebody writes to a volume here while a ticket updates it.
class TicketsWritten : public TicketsTest {
 protected:
  void SetUp() override {
    TicketsTest::SetUp();
    std::ofstream(host_.root / "kept") << "as it was copied";
    run("first", both_);
    std::this_thread::sleep_for(settling);
    write("two");
    std::this_thread::sleep_for(settling);
    replace_.replace = true;
  }

  void edit(const std::string& volume, const std::string& content) const {
    std::ofstream(data(volume) / "kept") << content;
  }
  /// What the content of `attempt`, counted from now on, brings with it.
  void during_content(std::function<void(int attempt)> action) {
    const int before = host_.opened;
    host_.on_content = [=, this](int attempt) -> Result<> {
      const std::lock_guard guard(mutex_);
      if (attempt - before != last_) action(last_ = attempt - before);
      return {};
    };
  }
  std::string content(const std::string& volume, const char* file) const { return *read_file(data(volume) / file); }

  TicketRequest both_{{"a", 7766}, {{"pg", "pg"}, {"pg", "other"}}, {}, false, false};
  TicketRequest replace_ = both_;
  std::mutex mutex_;
  int last_ = 0;
};

TEST_F(TicketsWritten, IsNotLostAndNotMixedIn) {
  during_content([&](int attempt) {
    if (attempt == 1) edit("pg", "edited here");
  });
  const auto status = run("t2", both_);
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(),
              AllOf(HasSubstr("volume pg"), HasSubstr("kept"), HasSubstr("was written to here"), HasSubstr("replace")));
  for (const char* volume : {"pg", "other"}) {
    EXPECT_EQ(content(volume, "file"), "one");
    EXPECT_EQ(catalogue_->find(volume)->state, volumes::State::ready);
    EXPECT_FALSE(fs::exists(catalogue_->layout().update(volume)));
  }
  EXPECT_EQ(content("pg", "kept"), "edited here");
  EXPECT_THAT(run("t3", both_)["migration"]["error"].get<std::string>(), HasSubstr("has been changed here"));
}

// Long before the ticket has all of its volumes.
TEST_F(TicketsWritten, IsFoundInAVolumeThatIsPreparedAlready) {
  during_content([&](int attempt) {
    if (attempt == 2) edit("pg", "edited here");
  });
  EXPECT_THAT(run("t2", both_)["migration"]["error"].get<std::string>(), HasSubstr("kept"));
  EXPECT_EQ(content("other", "file"), "one");
}

TEST_F(TicketsWritten, IsLostIfItMayBe) {
  during_content([&](int attempt) {
    if (attempt == 2) edit("pg", "edited here");
  });
  const auto status = run("t2", replace_);
  EXPECT_EQ(status["state"], "done") << status;
  for (const char* volume : {"pg", "other"}) EXPECT_EQ(test::tree_difference(host_.root, data(volume)), "");
  EXPECT_EQ(host_.opened, 5);  // what nobody has written to was not brought again
  EXPECT_EQ(run("t3", both_)["state"], "done");
}

TEST_F(TicketsWritten, AllTheTimeEndsTheTicket) {
  TicketRequest one = replace_;
  one.volumes = {{"pg", "pg"}};
  host_.on_content = [&](int attempt) -> Result<> {
    edit("pg", "edited here " + std::to_string(attempt));
    return {};
  };
  const auto status = run("t2", one);
  EXPECT_EQ(status["state"], "failed") << status;
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("4 times in a row"));
  EXPECT_EQ(content("pg", "file"), "one");
}

/// With an Engine that can be made to fall silent.
class TicketsAndEngine : public TicketsWritten {
 protected:
  void TearDown() override {
    TicketsWritten::TearDown();
    client_.stop();
  }
  void connect() const { fs::create_symlink(engine_.path(), directory_ / "engine.sock"); }

  std::atomic<bool> answers_{false};
  std::atomic<bool> running_{false};
  engine::testing::ScriptedEngine engine_{[this](engine::testing::Connection& connection, const std::string& request) {
    using namespace engine::testing;
    if (!answers_) return;
    if (request.starts_with("GET /_ping")) return connection.send(ping("1.44"));
    const std::string container =
        R"({"Id":"1","Names":["/db"],"State":"running","Status":"Up","Mounts":[{"Type":"volume","Name":"pg",)"
        R"("Driver":"ferry","Destination":"/data","RW":true}]})";
    if (request.find("/containers/json") != std::string::npos)
      return connection.send(answer(200, running_ ? "[" + container + "]" : "[]"));
    connection.send(answer(404, R"({"message":"no such volume"})"));
  }};
};

TEST_F(TicketsAndEngine, WithoutOneItIsSaidThatMountsAreNotKnown) {
  const auto status = run("t2", both_);
  EXPECT_EQ(status["state"], "done");
  EXPECT_THAT(status["volumes"][0]["warnings"].dump(), HasSubstr("without the Docker Engine's socket"));
  EXPECT_THAT(status["migration"]["warnings"].dump(), HasSubstr("pg: without the Docker Engine's socket"));
}

TEST_F(TicketsAndEngine, OneThatDoesNotAnswerIsWaitedFor) {
  connect();
  ASSERT_TRUE(tickets_->begin("t2", both_));
  const auto error = [&] { return tickets_->status(*catalogue_->find("t2"))["migration"]["error"]; };
  const Deadline deadline = after(std::chrono::seconds(10));
  while (!error().is_string() && SteadyClock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_THAT(error().dump(), HasSubstr("does not tell whether containers have volume pg"));
  EXPECT_EQ(content("pg", "file"), "one");
  EXPECT_EQ(tickets_->holder("pg"), "t2");
  answers_ = true;
  ASSERT_TRUE(tickets_->wait("pg", after(std::chrono::seconds(20))));
  const auto status = tickets_->status(*catalogue_->find("t2"));
  EXPECT_EQ(status["state"], "done");
  EXPECT_EQ(status["volumes"][0]["warnings"], nlohmann::json::array());
  EXPECT_EQ(content("pg", "file"), "two");
}

// Through a bind that Ferry does not know any more.
TEST_F(TicketsAndEngine, AContainerThatHasTheVolumeInTheEndIsBusy) {
  connect();
  answers_ = true;
  during_content([&](int attempt) {
    if (attempt == 2) running_ = true;
  });
  const auto status = run("t2", both_);
  EXPECT_EQ(status["state"], "failed");
  EXPECT_THAT(status["migration"]["error"].get<std::string>(), HasSubstr("volume pg is mounted here"));
  EXPECT_EQ(content("pg", "file"), "one");
  EXPECT_EQ(tickets_->begin("t3", both_).error().code, Code::busy);
}

}  // namespace
}  // namespace ferry::migration
