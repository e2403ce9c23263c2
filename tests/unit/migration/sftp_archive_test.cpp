#include "migration/sftp_archive.h"

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "transport/sftp_server.h"

namespace ferry::migration {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr std::size_t mib = 1U << 20;

/// An archive whose connection is lost now and then. What transport::Sftp does itself is in transport/sftp_test.cpp.
class SftpArchiveTest : public transport::SftpServerTest {
 protected:
  ArchiveAddress address() const { return {ArchiveAddress::Way::sftp, host(), path("whole")}; }
  std::unique_ptr<ArchiveOutput> create(bool replace = false) const {
    auto output = create_by_sftp(address(), login_, path("part"), replace, after(seconds(5)));
    EXPECT_TRUE(output) << output.error().message;
    return output ? std::move(*output) : nullptr;
  }
  std::unique_ptr<ArchiveInput> open() const {
    auto input = open_by_sftp(address(), login_, after(seconds(5)));
    EXPECT_TRUE(input) << input.error().message;
    return input ? std::move(*input) : nullptr;
  }
  /// 2 MiB, which have arrived.
  void write_start(ArchiveOutput& output) const {
    ASSERT_TRUE(output.write(std::string_view(content_).substr(0, 2 * mib)));
    ASSERT_TRUE(output.flush());
  }
  void lose_connections() {
    sshd_->stop();
    sshd_->start();
  }
  /// Of the file, from its end if negative.
  void alter(const std::string& name, std::streamoff offset, const std::string& text) const {
    std::fstream file(files_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset, offset < 0 ? std::ios::end : std::ios::beg);
    file << text;
  }
  static Result<std::string> read_all(ArchiveInput& input, std::size_t most = SIZE_MAX) {
    std::string all, buffer(100'000, 0);
    while (all.size() < most) {
      FERRY_ASSIGN(const std::size_t n, input.read(buffer));
      if (n == 0) break;
      all.append(buffer, 0, n);
    }
    return all;
  }
  void wait_for_trouble(const std::function<std::string()>& trouble) const {
    const Deadline deadline = after(seconds(20));
    while (trouble().empty() && SteadyClock::now() < deadline) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_THAT(trouble(), HasSubstr(path("whole")));
  }

  const std::string content_ = [] {
    std::string text;
    for (int i = 0; text.size() < 9 * mib; ++i) text += std::to_string(i) + ",";
    return text;
  }();
};

TEST_F(SftpArchiveTest, WritingGoesOnWhereItWas) {
  const auto output = create();
  std::string expected = content_;
  for (std::size_t at = 0; at < content_.size(); at += 3 * mib) {
    const auto written = output->write(std::string_view(content_).substr(at, 3 * mib));
    ASSERT_TRUE(written) << written.error().message;
    ASSERT_TRUE(output->flush());
    lose_connections();
    alter("part", 0, "here");  // what is written already is not written again
    expected.replace(0, 4, "here");
  }
  const auto finished = output->finish();
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_TRUE(read("whole") == expected);
  EXPECT_FALSE(there("part"));
  EXPECT_EQ(output->trouble(), "");
}

/// Whether it had arrived or not.
TEST_F(SftpArchiveTest, WhatWasNotAcknowledgedIsSentAgain) {
  const auto output = create();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(output->write(std::string_view(content_).substr(3 * i * mib, 3 * mib)));
    lose_connections();
  }
  ASSERT_TRUE(output->finish());
  EXPECT_TRUE(read("whole") == content_.substr(0, 9 * mib));
}

TEST_F(SftpArchiveTest, WhatIsGivenUpIsRemovedThoughSomeOfItIsUnderWay) {
  auto output = create();
  write_start(*output);
  ASSERT_TRUE(output->write(std::string_view(content_).substr(2 * mib, 3 * mib)));
  ASSERT_TRUE(there("part"));
  output.reset();
  EXPECT_FALSE(there("part"));
}

TEST_F(SftpArchiveTest, WhatIsGivenUpIsRemovedThoughTheConnectionIsLost) {
  auto output = create();
  write_start(*output);
  lose_connections();
  ASSERT_TRUE(there("part"));
  output.reset();
  EXPECT_FALSE(there("part"));
}

/// As a server without OpenSSH's posix-rename leaves it when its connection is lost between the two steps.
TEST_F(SftpArchiveTest, WhatWasMovedAsideGetsItsNameBack) {
  write("part.old", "somebody's");
  auto output = create(true);
  EXPECT_EQ(read("whole"), "somebody's") << "by the next attempt";
  EXPECT_FALSE(there("part.old"));
  write_start(*output);
  output->abort();
  EXPECT_FALSE(output->finish());
  std::filesystem::rename(files_ / "whole", files_ / "part.old");
  output.reset();
  EXPECT_EQ(read("whole"), "somebody's") << "by the one that was given up";
  EXPECT_FALSE(there("part.old") || there("part"));
}

TEST_F(SftpArchiveTest, WhatWasReplacedIsNotKeptAside) {
  write("whole", "new");
  write("part.old", "old");
  create(true).reset();
  EXPECT_EQ(read("whole"), "new");
  EXPECT_FALSE(there("part.old") || there("part"));
}

TEST_F(SftpArchiveTest, ADirectoryIsNeverReplaced) {
  std::filesystem::create_directory(files_ / "whole");
  for (const bool replace : {false, true}) {
    const auto refused = create_by_sftp(address(), login_, path("part"), replace, after(seconds(5)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::already_exists);
    EXPECT_THAT(refused.error().message, HasSubstr("is a directory"));
  }
}

TEST_F(SftpArchiveTest, WhatIsToBecomeDurableDoesSoOnAnotherConnection) {
  const auto output = create();
  write_start(*output);  // so that nothing is left to write
  lose_connections();
  const auto finished = output->finish();
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_TRUE(read("whole") == content_.substr(0, 2 * mib));
}

/// As after a crash of that host.
TEST_F(SftpArchiveTest, WhatWasLostMeanwhileIsNotWrittenOnBehind) {
  const std::vector<std::function<void()>> losses = {
      [&] { std::filesystem::resize_file(files_ / "part", 2 * mib - 1); },
      [&] { alter("part", -4096, std::string(4096, 0)); },
      [&] { std::filesystem::remove(files_ / "part"); },
      [&] { transport::write_private(directory_.path() / "boot_id", "another-boot-than-the-one-before-0123"); },
  };
  for (const auto& lose : losses) {
    const auto output = create();
    write_start(*output);
    lose();
    lose_connections();
    auto written = output->write(std::string_view(content_).substr(2 * mib, mib));
    if (written) written = output->flush();
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, Code::unavailable) << "so that the ticket begins anew";
    EXPECT_THAT(written.error().message, HasSubstr(path("whole")));
  }
}

TEST_F(SftpArchiveTest, ReadingGoesOnWhereItWas) {
  write("whole", content_);
  const auto input = open();
  std::string all;
  for (int i = 0; i < 3; ++i) {
    const auto some = read_all(*input, 2 * mib);
    ASSERT_TRUE(some) << some.error().message;
    all += *some;
    lose_connections();
  }
  const auto rest = read_all(*input);
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_TRUE(all + *rest == content_);
  EXPECT_EQ(input->trouble(), "");
}

TEST_F(SftpArchiveTest, AnotherFileIsNotReadOn) {
  const std::vector<std::function<void()>> changes = {
      [&] { write("whole", content_ + "more"); },
      [&] {
        std::filesystem::last_write_time(files_ / "whole", std::filesystem::file_time_type::clock::now() - seconds(9));
      },
      [&] { std::filesystem::remove(files_ / "whole"); },
  };
  for (const auto& change : changes) {
    write("whole", content_);
    const auto input = open();
    ASSERT_TRUE(read_all(*input, mib));
    change();
    lose_connections();
    const auto rest = read_all(*input);
    ASSERT_FALSE(rest);
    EXPECT_EQ(rest.error().code, Code::unavailable) << "so that the import begins anew";
    EXPECT_THAT(rest.error().message, HasSubstr(path("whole")));
  }
}

TEST_F(SftpArchiveTest, WhileThereIsNoConnectionItSaysSoAndCanBeGivenUp) {
  const auto output = create();
  write_start(*output);
  sshd_->stop();
  Result<> written;
  std::thread writes([&] {
    while (written) written = output->write(content_);
  });
  wait_for_trouble([&] { return output->trouble(); });
  output->abort();
  writes.join();
  EXPECT_EQ(written.error().code, Code::cancelled) << written.error().message;
}

TEST_F(SftpArchiveTest, WhoMayNotLogInAnyMoreIsNotAskedForEver) {
  const auto output = create();
  write_start(*output);
  transport::write_private(directory_.path() / "authorized", "");
  lose_connections();
  Result<> written;
  for (int i = 0; written && i < 10; ++i) written = output->write(content_);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::unavailable);
  EXPECT_THAT(written.error().message, HasSubstr("root"));
}

TEST_F(SftpArchiveTest, WhoIsInAHurryDoesNotWaitForAConnection) {
  write("whole", content_);
  const auto input = open();
  input->hurry(after(seconds(20)));
  sshd_->stop();
  const auto start = SteadyClock::now();
  const auto all = read_all(*input);
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code, Code::unavailable) << all.error().message;
  EXPECT_LT(SteadyClock::now() - start, seconds(10));
}

}  // namespace
}  // namespace ferry::migration
