#include "transport/sftp.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <thread>

#include "transport/sftp_server.h"

namespace ferry::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class SftpTest : public SftpServerTest {
 protected:
  Result<std::unique_ptr<Sftp>> try_connect(const std::string& user = "root") {
    return Sftp::connect(host(user), login_, after(seconds(5)));
  }
  std::unique_ptr<Sftp> connect(const std::string& user = "root") {
    auto server = try_connect(user);
    EXPECT_TRUE(server) << server.error().message << "\n" << sshd_->log();
    return server ? std::move(*server) : nullptr;
  }

  /// That little is all that the kernel keeps of what this program sends to the server.
  void narrow() const {
    int found = 0;
    for (int fd = 0; fd < 1024; ++fd) {
      sockaddr_in peer{};
      socklen_t size = sizeof peer;
      if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
      if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != sshd_->port()) continue;
      const int little = 16 << 10;
      ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
      ++found;
    }
    ASSERT_EQ(found, 1);
  }
};

TEST_F(SftpTest, WhatIsWrittenIsRead) {
  const auto server = connect();
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += std::to_string(i) + ",";
  ASSERT_TRUE(server->create(path("part"), path("whole")));
  // What is not acknowledged yet is given again, with more behind it.
  for (std::size_t done = 0, given = 0; done < content.size();) {
    given = std::min(given + 500'000, content.size());
    const auto acknowledged = server->write(std::span(content).subspan(done, given - done));
    ASSERT_TRUE(acknowledged) << acknowledged.error().message;
    ASSERT_GT(*acknowledged, 0U);
    done += *acknowledged;
    ASSERT_LE(done, given);
  }
  ASSERT_TRUE(server->close_durably());
  struct stat info {};
  ASSERT_EQ(::stat(path("part").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_TRUE(server->rename(path("part"), path("whole"), false));
  EXPECT_FALSE(there("part"));
  ASSERT_TRUE(server->open(path("whole")));
  EXPECT_EQ(server->size(), content.size());
  std::string got, buffer(100'000, 0);
  while (true) {
    const auto n = server->read(buffer);
    ASSERT_TRUE(n) << n.error().message;
    if (*n == 0) break;
    got.append(buffer, 0, *n);
  }
  EXPECT_EQ(got, content);
}

TEST_F(SftpTest, OnlyWhoMayReplacesAFile) {
  const auto server = connect();
  write("part", "new");
  write("whole", "old");
  const auto refused = server->rename(path("part"), path("whole"), false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::already_exists);
  EXPECT_THAT(refused.error().message, HasSubstr(path("whole") + " on 127.0.0.1"));
  EXPECT_EQ(read("whole"), "old");
  ASSERT_TRUE(server->rename(path("part"), path("whole"), true));
  EXPECT_EQ(read("whole"), "new");
  EXPECT_FALSE(there("part") || there("part.old"));
  write("part", "first");
  ASSERT_TRUE(server->rename(path("part"), path("none"), true)) << "there was none";
  EXPECT_EQ(read("none"), "first");
}

/// Without OpenSSH's posix-rename there are two steps.
TEST_F(SftpTest, AServerThatCannotReplaceAtOnceDoesItInSteps) {
  start("Subsystem sftp internal-sftp -P posix-rename");
  const auto server = connect();
  write("part", "new");
  write("whole", "old");
  const auto renamed = server->rename(path("part"), path("whole"), true);
  // One that refuses what it has announced leaves everything as it was; it never loses a file.
  if (renamed) {
    EXPECT_EQ(read("whole"), "new");
    EXPECT_FALSE(there("part") || there("part.old"));
  } else {
    EXPECT_EQ(read("whole"), "old");
    EXPECT_EQ(read("part"), "new");
  }
}

TEST_F(SftpTest, ARefusedNameIsToldAsItWasRefused) {
  std::filesystem::permissions(files_, std::filesystem::perms(0755));
  const auto server = connect("ops");
  write("part", "new");
  const auto refused = server->rename(path("part"), path("none"), false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied) << refused.error().message;
}

TEST_F(SftpTest, WhatIsThereAndWhatIsNot) {
  const auto server = connect();
  write("file", "x");
  EXPECT_EQ(*server->kind(path("file")), Sftp::Kind::other);
  EXPECT_EQ(*server->kind(path(".")), Sftp::Kind::directory);
  EXPECT_EQ(*server->kind(path("none")), Sftp::Kind::none);
  struct statvfs facts {};
  ASSERT_EQ(::statvfs(path("file").c_str(), &facts), 0);
  const auto room = server->room(path("file"));
  ASSERT_TRUE(room && *room);
  EXPECT_NEAR(static_cast<double>(**room), static_cast<double>(facts.f_bavail * facts.f_frsize), 1e9);
  EXPECT_TRUE(server->remove(path("file")));
  EXPECT_TRUE(server->remove(path("file"))) << "which is none";
  EXPECT_FALSE(there("file"));
  for (const auto& error : {server->open(path("none")), server->create(path("no/such"), "shown")}) {
    ASSERT_FALSE(error);
    EXPECT_EQ(error.error().code, Code::not_found);
    EXPECT_THAT(error.error().message, HasSubstr("no such file or directory"));
  }
}

TEST_F(SftpTest, WhoIsNotPermittedIsToldSo) {
  const auto server = connect("ops");
  const auto refused = server->create(path("part"), path("whole"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(path("whole")), HasSubstr("user ops")));
}

TEST_F(SftpTest, AnExistingFileIsNotWrittenOver) {
  const auto server = connect();
  write("part", "another's");
  EXPECT_FALSE(server->create(path("part"), path("whole")));
  EXPECT_EQ(read("part"), "another's");
}

TEST_F(SftpTest, AnSshdWithoutSftpSaysSo) {
  start("Subsystem nothing /bin/false");
  const auto refused = try_connect();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("Subsystem sftp"));
}

TEST_F(SftpTest, ALostConnectionIsWorthARetry) {
  const auto server = connect();
  ASSERT_TRUE(server->create(path("part"), path("whole")));
  sshd_->stop();
  const std::string content(100'000, 'x');
  Result<std::size_t> written = 0;
  for (int i = 0; written && i < 10'000; ++i) written = server->write(content);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::unavailable) << written.error().message;
  EXPECT_THAT(written.error().message, HasSubstr(path("whole")));
}

TEST_F(SftpTest, AStallEndsAtTheDeadline) {
  std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto server = connect();
  server->hurry(after(milliseconds(300)));
  const auto start = SteadyClock::now();
  const auto opened = server->open(fifo);  // for which the server waits until somebody writes
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unavailable) << opened.error().message;
  EXPECT_LT(SteadyClock::now() - start, seconds(5));
}

/// libssh2 itself would wait for the same call again, and let no other one pass.
TEST_F(SftpTest, WhatTheNetworkDoesNotTakeIsNotInTheWay) {
  auto server = connect();
  ASSERT_TRUE(server->create(path("part"), path("whole")));
  narrow();
  sshd_->freeze();
  server->hurry(after(milliseconds(300)));
  const std::string content(1U << 20, 'x');
  const auto written = server->write(content);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::unavailable) << written.error().message;
  sshd_->thaw();
  server->hurry(after(seconds(10)));
  const auto found = server->kind(path("part"));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, Sftp::Kind::other);
}

/// A leak sanitizer sees what is not freed. Only libssh2 1.11 needs to have sent all for that.
TEST_F(SftpTest, AConnectionWithMoreToSendThanTheNetworkTakesIsFreed) {
  const auto server = connect();
  ASSERT_TRUE(server->create(path("part"), path("whole")));
  narrow();
  sshd_->freeze();
  server->hurry(after(milliseconds(300)));
  const std::string content(16U << 20, 'x');
  EXPECT_FALSE(server->write(content));
}

TEST_F(SftpTest, AbortEndsWhatIsUnderWay) {
  std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto server = connect();
  std::thread aborts([&] {
    std::this_thread::sleep_for(milliseconds(100));
    server->abort();
  });
  const auto start = SteadyClock::now();
  const auto opened = server->open(fifo);
  aborts.join();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::cancelled) << opened.error().message;
  EXPECT_LT(SteadyClock::now() - start, seconds(5));
}

}  // namespace
}  // namespace ferry::transport
