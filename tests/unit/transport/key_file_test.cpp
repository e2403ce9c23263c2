#include "transport/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>
#include <thread>

#include "transport/temporary.h"

namespace ferry::transport {
namespace {

class KeyFileTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  KeyFile file_{directory_.path() / "ferry" / "key"};

  void SetUp() override { std::filesystem::create_directories(file_.path().parent_path()); }
  void write(const std::string& content) { write_private(file_.path(), content); }
};

const std::string hex = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";

TEST_F(KeyFileTest, IsCreatedOncePrivateAndWellFormed) {
  ASSERT_TRUE(file_.ensure());
  const std::string content = read_text(file_.path());
  EXPECT_EQ(content.size(), 65U);
  EXPECT_EQ(content.find_first_not_of("0123456789abcdef"), 64U);
  struct stat status {};
  ASSERT_EQ(::stat(file_.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  ASSERT_TRUE(file_.ensure());
  EXPECT_EQ(read_text(file_.path()), content);
  const auto entries = std::filesystem::directory_iterator(file_.path().parent_path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST_F(KeyFileTest, RacingCreatorsAgree) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([this] { EXPECT_TRUE(file_.ensure()); });
  for (auto& thread : threads) thread.join();
  const auto entries = std::filesystem::directory_iterator(file_.path().parent_path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST_F(KeyFileTest, DecodesHexInAnyCaseWithOrWithoutNewline) {
  for (const auto* end : {"", "\n", "\r\n"}) {
    write(hex + end);
    const auto key = file_.load();
    ASSERT_TRUE(key);
    EXPECT_EQ(key->bytes()[1], 0x11);
    EXPECT_EQ(key->bytes()[15], 0xff);
    EXPECT_EQ(key->bytes()[16], 0xff);
    EXPECT_EQ(key->bytes()[31], 0x00);
  }
}

TEST_F(KeyFileTest, RefusesWhatIsNoKey) {
  for (const auto& content : {std::string(), std::string("\n"), hex.substr(1), hex + "0", hex + " 0",
                              "x" + hex.substr(1), hex + "\n" + hex, std::string(100000, '0')}) {
    write(content);
    for (const auto& result : {file_.ensure(), file_.load().map([](const Key&) {})}) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, Code::corrupt);
      EXPECT_NE(result.error().message.find(file_.path().string() + " must hold 64 hex digits"), std::string::npos);
    }
    EXPECT_EQ(read_text(file_.path()), content);
  }
}

TEST_F(KeyFileTest, RefusesWhatOthersCanAccess) {
  for (const auto mode : {0640U, 0604U, 0620U, 0666U}) {
    write(hex);
    ASSERT_EQ(::chmod(file_.path().c_str(), mode), 0);
    const auto key = file_.load();
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, Code::denied);
    EXPECT_NE(key.error().message.find("chmod 600 " + file_.path().string()), std::string::npos);
    EXPECT_FALSE(file_.ensure());
  }
}

TEST_F(KeyFileTest, MissingAndOddFilesAreErrors) {
  EXPECT_EQ(file_.load().error().code, Code::not_found);
  std::filesystem::create_directory(file_.path());
  EXPECT_EQ(file_.load().error().code, Code::corrupt);
  std::filesystem::remove(file_.path());
  ASSERT_EQ(::mkfifo(file_.path().c_str(), 0600), 0);
  EXPECT_EQ(file_.load().error().code, Code::corrupt);
}

TEST_F(KeyFileTest, AReplacedFileCountsAtOnce) {
  std::set<std::string> fingerprints;
  for (const char digit : std::string("0123456789abcdef")) {
    write(std::string(64, digit));
    fingerprints.insert(file_.load()->fingerprint());
  }
  EXPECT_EQ(fingerprints.size(), 16U);
}

TEST_F(KeyFileTest, FingerprintIsStable) {
  write(std::string(64, '0'));  // printf 'ferry key fingerprint 1\0' + 32 zero bytes | sha256sum
  EXPECT_EQ(file_.load()->fingerprint(), "a403c95b");
}

}  // namespace
}  // namespace ferry::transport
