#include "archive/archive_fixture.h"
#include "support/mounts.h"
#include "support/peak.h"
#include "support/sanitizer.h"
#include "support/seed.h"

namespace ferry::archive {
namespace {

class NoSink : public Sink {
 public:
  Result<> write(std::span<const char>) override { return {}; }
};

/// At either end. What earlier tests have freed is used again and does not show: ctest runs each in a process.
class Memory : public ArchiveTest {
 protected:
  Memory() {
    volume_ = disk_.path() / "volume";
    staging_ = disk_.path() / "staging";
    for (const auto& path : {volume_, staging_}) fs::create_directory(path);
  }
  void SetUp() override {
#ifdef FERRY_TEST_SANITIZED
    GTEST_SKIP() << "a sanitizer takes memory of its own";
#endif
  }

  std::uint64_t peak_of_writing(Compression compression) {
    const test::Peak peak;
    NoSink sink;
    const auto written = write(sink, compression);
    EXPECT_TRUE(written) << written.error().message;
    return peak.kib();
  }

  std::uint64_t peak_of_reading(const std::string& bytes) {
    const test::Peak peak;
    const auto extracted = extract_anew(bytes);
    EXPECT_TRUE(extracted) << extracted.error().message;
    return peak.kib();
  }

  test::MemoryDisk disk_{"2G"};
};

TEST_F(Memory, DoesNotGrowWithContent) {
  test::Random random(1);
  const std::string megabyte = random.bytes(1 << 20);
  {
    std::ofstream file(volume_ / "file", std::ios::binary);
    for (int i = 0; i < 200; ++i) file << megabyte;
  }
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip})
    EXPECT_LT(peak_of_writing(compression), 64U << 10);
  EXPECT_LT(peak_of_reading(pack(Compression::zstd)), 20U << 10);
}

TEST_F(Memory, GrowsLittleWithTheNumberOfEntries) {
  constexpr std::uint64_t entries = 40'000;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const auto directory = volume_ / std::to_string(i / 1000);
    fs::create_directory(directory);
    store(directory / ("some-file-" + std::to_string(i) + ".js"), "content");
  }
  constexpr std::uint64_t fixed = 10U << 20;
  constexpr std::uint64_t most_each = 400;  // bytes
  EXPECT_LT(1024 * peak_of_writing(Compression::none), fixed + most_each * entries);
  EXPECT_LT(1024 * peak_of_reading(pack()), fixed + most_each * entries);
}

}  // namespace
}  // namespace ferry::archive
