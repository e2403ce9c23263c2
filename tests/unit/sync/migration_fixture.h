#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fstream>
#include <thread>

#include "base/files.h"
#include "support/local_source.h"
#include "support/temporary_directory.h"
#include "support/tree.h"
#include "sync/receiver.h"

namespace ferry::sync {

namespace fs = std::filesystem;

/// A source tree and a staging directory beside it.
class MigrationTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(source_);
    fs::create_directories(staging_);
  }

  static void write(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }

  /// Until what is written now has a ctime that proves that it was not written again (ManifestInfo::stable_before_ns).
  static void let_ctimes_settle() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

  test::LocalSource open_source() const {
    return test::LocalSource(*open_at(AT_FDCWD, source_.string(), O_RDONLY | O_DIRECTORY));
  }

  Result<Receipt> receive(Source& source) {
    progress_.bytes_sent = 0;
    return Receiver(source, staging_, journal_, options_, progress_, cancelled_).run();
  }

  /// Another attempt, to its end.
  void receive_all() {
    auto source = open_source();
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
  }

  /// An attempt that breaks off after `bytes` of content.
  void receive_until(std::uint64_t bytes) {
    auto source = open_source();
    std::atomic<std::uint64_t> sent{0};
    source.on_content = [&](std::string& piece) -> Result<> {
      sent += piece.size();
      return sent > bytes ? Result<>(fail(Code::unavailable, "cut")) : Result<>();
    };
    EXPECT_FALSE(receive(source));
  }

  /// Bytes of content of the last attempt, and a little for the manifest.
  std::uint64_t sent() const { return progress_.bytes_sent; }

  test::TemporaryDirectory directory_;
  fs::path source_ = directory_ / "source";
  fs::path staging_ = directory_ / "staging";
  fs::path journal_ = directory_ / "journal";
  ReceiverOptions options_;
  Progress progress_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace ferry::sync
