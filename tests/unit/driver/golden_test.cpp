#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "base/random.h"
#include "driver/engine_client.h"
#include "driver/fake_driver.h"
#include "driver/rpc_server.h"

namespace ferry::driver {
namespace {

namespace fs = std::filesystem;

const fs::path golden = fs::path(FERRY_UNIT_TESTS) / "driver/golden";

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Compares with the file, or writes it if the environment says so.
void expect_golden(const fs::path& path, const std::string& text) {
  if (std::getenv("FERRY_REGENERATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(read_text(path), text) << path;
}

std::string join(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

/// Names and IDs that the Engine draws at random are not the same in each recording.
std::string without_random_hex(std::string text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  for (std::size_t begin = 0; begin + 64 <= text.size(); ++begin) {
    std::size_t end = begin;
    while (end < text.size() && is_hex(text[end])) ++end;
    if (end - begin == 64) text.replace(begin, 64, "HEX");
  }
  return text;
}

void check(const fs::path& request) {
  SCOPED_TRACE(request.string());
  const fs::path socket = fs::temp_directory_path() / ("ferry-" + random_hex(6) + ".sock");
  FakeDriver driver;
  RpcServer server(driver, socket);
  ASSERT_TRUE(server.start());
  const std::string response = EngineClient(socket).call(read_text(request));
  EXPECT_EQ(status_of(response), "HTTP/1.1 200 OK");
  // the recorded and the hand-made requests of one RPC differ in what they ask, so they have their own results
  const bool by_hand = request.parent_path().filename() == "by-hand";
  const fs::path base = (by_hand ? request.parent_path() : golden) / request.stem();
  expect_golden(base.string() + ".response", without_random_hex(body_of(response)));
  expect_golden(base.string() + ".call", without_random_hex(join(driver.calls())));
}

TEST(Golden, EveryRecordedRequestIsUnderstoodAndAnsweredAlike) {
  std::set<std::string> seen;
  for (const auto& entry : fs::recursive_directory_iterator(golden)) {
    if (entry.path().extension() != ".request") continue;
    seen.insert(entry.path().stem().string());
    check(entry.path());
  }
  EXPECT_EQ(seen, (std::set<std::string>{"Plugin.Activate", "VolumeDriver.Capabilities", "VolumeDriver.Create",
                                         "VolumeDriver.Create-anonymous", "VolumeDriver.Get", "VolumeDriver.List",
                                         "VolumeDriver.Mount", "VolumeDriver.Path", "VolumeDriver.Remove",
                                         "VolumeDriver.Unmount"}));
}

}  // namespace
}  // namespace ferry::driver
