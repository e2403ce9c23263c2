#include "archive/lzma_source.h"

#include <optional>
#include <thread>

#include "archive/archive_fixture.h"

namespace ferry::archive {
namespace {

/// So many bytes at a time; behind them `then` for ever, if there is any.
class Pieces : public Source {
 public:
  Pieces(std::string bytes, std::size_t piece, std::optional<char> then = {})
      : bytes_(std::move(bytes)), piece_(piece), then_(then) {}
  Result<std::size_t> read(std::span<char> buffer) override {
    const std::size_t n = std::min({buffer.size(), piece_, bytes_.size() - at_});
    std::copy_n(bytes_.data() + at_, n, buffer.data());
    at_ += n;
    if (n != 0 || !then_) return n;
    std::fill(buffer.begin(), buffer.end(), *then_);
    return buffer.size();
  }

 private:
  const std::string bytes_;
  const std::size_t piece_;
  const std::optional<char> then_;
  std::size_t at_ = 0;
};

class LzmaSourceTest : public ArchiveTest {
 protected:
  LzmaSourceTest() {
    for (int i = 0; i < 50'000; ++i) content_ += std::to_string(i);
  }
  std::string packed(const std::string& program, const std::string& content) {
    test::write_text(directory_ / "plain", content);
    run(program + " <" + quoted(directory_ / "plain") + " >" + quoted(directory_ / "packed"));
    return load(directory_ / "packed");
  }
  Result<std::string> read_all(Source& below, std::size_t buffer_size = 100'000) {
    LzmaSource source(below, progress_);
    std::string all, buffer(buffer_size, 0);
    while (true) {
      FERRY_ASSIGN(const std::size_t n, source.read(buffer));
      if (n == 0) return all;
      all.append(buffer, 0, n);
    }
  }
  Result<std::string> read_all(const std::string& bytes, std::size_t piece = SIZE_MAX, std::size_t buffer = 100'000) {
    Pieces below(bytes, piece);
    return read_all(below, buffer);
  }

  std::string content_;
  static constexpr const char* programs[] = {"xz -T1", "lzma", "lzip"};
};

TEST_F(LzmaSourceTest, WhateverComesInWhateverPiecesComesOut) {
  for (const char* program : programs)
    for (const auto& content : {content_, std::string(), std::string(1, 'x')}) {
      const std::string bytes = packed(program, content);
      for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
        const auto all = read_all(bytes, piece, piece == 7 ? 3 : 100'000);
        ASSERT_TRUE(all) << program << ": " << all.error().message;
        EXPECT_TRUE(*all == content) << program;
      }
    }
}

TEST_F(LzmaSourceTest, AnythingElseIsPassedOn) {
  std::string tar(512, 0);
  tar.replace(0, 2, "]0");  // the name of its first entry
  for (const auto& content : {content_, std::string(), std::string("x"), std::string("\xfd"), tar, std::string(99, 0)})
    for (const std::size_t piece : {std::size_t{1}, SIZE_MAX}) EXPECT_TRUE(*read_all(content, piece) == content);
}

TEST_F(LzmaSourceTest, WhatIsCutIsDamaged) {
  for (const char* program : programs) {
    const std::string bytes = packed(program, content_);
    for (const std::size_t size : {std::size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
      const auto all = read_all(bytes.substr(0, size));
      ASSERT_FALSE(all) << program << " of " << size;
      EXPECT_EQ(all.error().code, Code::corrupt) << all.error().message;
    }
  }
}

TEST_F(LzmaSourceTest, BehindItsEndIsAnotherOrNothing) {
  for (const char* program : programs) {
    const std::string bytes = packed(program, content_);
    const auto twice = read_all(bytes + bytes);
    if (program == std::string("lzma")) {
      EXPECT_FALSE(twice) << "which is not dropped without a word";
    } else {
      ASSERT_TRUE(twice) << program << ": " << twice.error().message;
      EXPECT_TRUE(*twice == content_ + content_) << program;
    }
    EXPECT_FALSE(read_all(bytes + "garbage")) << program;
    EXPECT_TRUE(read_all(bytes + std::string(400, 0))) << program;
  }
}

/// It gives no output, so whoever reads can do nothing about it.
TEST_F(LzmaSourceTest, EndlessPaddingCanBeCancelled) {
  for (const char* program : programs) {
    progress_.cancelled = false;
    Pieces below(packed(program, "x"), SIZE_MAX, char{0});
    std::thread cancels([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      progress_.cancelled = true;
    });
    const auto all = read_all(below);
    cancels.join();
    ASSERT_FALSE(all) << program;
    EXPECT_EQ(all.error().code, Code::cancelled) << all.error().message;
  }
}

}  // namespace
}  // namespace ferry::archive
