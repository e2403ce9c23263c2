#include "sync/compression.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "support/sample_manifest.h"
#include "support/seed.h"
#include "sync/content.h"

namespace ferry::sync {
namespace {

std::string compressed(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1));
  return out;
}

TEST(Compressor, WhatItMakesComesBack) {
  Compressor compressor;
  Decompressor decompressor;
  for (const std::size_t size : {std::size_t{100}, std::size_t{5000}, longest_compressed}) {
    const std::string bytes(size, 'x');
    const auto smaller = compressor.compress(bytes);
    ASSERT_TRUE(smaller) << size;
    EXPECT_LT(smaller->size(), size / 2);
    const auto again = decompressor.decompress(*smaller);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, bytes);
  }
}

TEST(Compressor, DoesNothingForWhatDoesNotBecomeSmaller) {
  test::SeededRandom random;
  Compressor compressor;
  EXPECT_FALSE(compressor.compress(random.bytes(300'000)));
  EXPECT_FALSE(compressor.compress(""));
  EXPECT_FALSE(compressor.compress("x"));
  EXPECT_TRUE(compressor.compress(std::string(300'000, 'x')));  // still
}

TEST(Decompressor, RefusesWhatIsNotOneFrameOfBoundedSize) {
  const std::string good = compressed(std::string(longest_compressed, 'x'));
  const std::string skipped("\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);  // RFC 8878, 3.1.2
  Decompressor decompressor;
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string(100, 'x'), good.substr(0, good.size() - 1), good + "x",
        good + good, good + compressed(""), skipped + good, good + skipped, skipped,
        compressed(std::string(longest_compressed + 1, 'x')), compressed(std::string(1U << 30, 'x'))}) {
    const auto refused = decompressor.decompress(bad);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::corrupt);
  }
  // A size that it does not tell, as a stream's.
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  std::string stream(1000, '\0');
  ZSTD_inBuffer in{"abc", 3, 0};
  ZSTD_outBuffer out{stream.data(), stream.size(), 0};
  ASSERT_EQ(ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_flush), 0U);
  ASSERT_EQ(ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_end), 0U);
  EXPECT_FALSE(decompressor.decompress(stream.substr(0, out.pos)));
  EXPECT_TRUE(decompressor.decompress(good));
}

/// Takes anything, and remembers what it was.
class Recorder : public FrameHandler {
 public:
  Result<> data(std::uint32_t, std::uint64_t, std::string_view payload) override {
    bytes += payload;
    return {};
  }
  Result<> hole(std::uint32_t, Extent) override { return {}; }
  Result<> end(const Want&, Outcome, const Digest&) override {
    ++ends;
    return {};
  }
  std::string bytes;
  int ends = 0;
};

class CompressedFrames : public testing::Test {
 protected:
  static std::string frame(const std::string& frames) {
    std::string out;
    append_record(out, static_cast<char>(FrameKind::compressed) + compressed(frames));
    return out;
  }
  Result<> decode(const std::string& bytes) {
    recorder_ = {};
    FrameDecoder decoder(entries_, wants_, recorder_);
    FERRY_TRY(decoder.feed(bytes));
    return decoder.finish();
  }
  const std::vector<Entry> entries_ = test::sample_entries();
  const std::vector<Want> wants_ = {{3, 0, {}}, {8, 0, {}}};
  Recorder recorder_;
};

TEST_F(CompressedFrames, AreTheFramesThatWereCompressed) {
  using test::Frames;
  const std::string first = Frames().data(0, std::string(1000, 'a')).end().bytes();
  const std::string second = Frames().data(0, "12345").bytes();
  const std::string third = Frames().end().bytes();
  for (const auto& bytes : {frame(first + second + third), frame(first) + second + third, first + frame(second + third),
                            frame(first) + frame(second) + frame(third)}) {
    const auto decoded = decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(recorder_.bytes, std::string(1000, 'a') + "12345");
    EXPECT_EQ(recorder_.ends, 2);
  }
}

TEST_F(CompressedFrames, AreCheckedAsOthersAre) {
  using test::Frames;
  const std::string good = Frames().data(0, std::string(1000, 'a')).end().end().bytes();
  ASSERT_TRUE(decode(frame(good)));
  for (const auto& bad :
       {frame(frame(good)), frame(good + good), frame(good.substr(0, 500)) + frame(good.substr(500)),
        frame(good.substr(0, good.size() - 1)), frame(Frames().data(2'000'000, "x").end().end().bytes()),
        frame(Frames().data(0, std::string(block_size + 100, 'x')).end().end().bytes())}) {
    const auto refused = decode(bad);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::corrupt);
  }
}

/// A stream of pieces for which each way takes so many seconds per byte.
class Stream {
 public:
  double plain = 1e-9;
  double compressed = 2e-9;
  int smaller_of_ten = 10;  ///< of ten pieces so many become smaller; the others take what they take plain

  /// Sends so many MiB.
  void run(int mib) {
    for (int i = 0; i < 4 * mib; ++i) {
      const bool compress = choice.compress();
      const bool smaller = compress && pieces % 10 < smaller_of_ten;
      now += time_for(smaller ? compressed : plain);
      seconds[compress] += std::chrono::duration<double>(time_for(smaller ? compressed : plain)).count();
      ++pieces;
      choice.sent(piece, compress, smaller, now);
    }
  }
  static SteadyClock::duration time_for(double per_byte) {
    return std::chrono::duration_cast<SteadyClock::duration>(
        std::chrono::duration<double>(static_cast<double>(piece) * per_byte));
  }
  /// Of the pieces of run(), since it was asked last, so many were to be compressed.
  double share_compressed() {
    const double whole = seconds[0] / plain + seconds[1] / compressed;
    const double share = seconds[1] / compressed / whole;
    seconds[0] = seconds[1] = 0;
    return share;
  }

  static constexpr std::uint64_t piece = 256U << 10;
  CompressionChoice choice;
  SteadyClock::time_point now{std::chrono::hours(1)};
  int pieces = 0;
  double seconds[2] = {0, 0};
};

TEST(CompressionChoice, CompressesOnASlowNetwork) {
  Stream stream;
  stream.plain = 8e-9;
  stream.compressed = 4e-9;
  stream.run(11);
  EXPECT_EQ(stream.share_compressed(), 0);
  stream.run(30);
  stream.share_compressed();
  stream.run(4000);
  EXPECT_GT(stream.share_compressed(), 0.95);
}

TEST(CompressionChoice, CostsNextToNothingWhereItDoesNotPay) {
  Stream stream;
  stream.plain = 0.7e-9;
  stream.compressed = 2.8e-9;
  const auto begin = stream.now;
  stream.run(4096);
  const double best = 4096.0 * (1 << 20) * stream.plain;
  EXPECT_LT(std::chrono::duration<double>(stream.now - begin).count(), 1.01 * best);
}

TEST(CompressionChoice, AsksTwoPiecesOfWhatDoesNotBecomeSmaller) {
  Stream stream;
  stream.smaller_of_ten = 0;
  stream.plain = stream.compressed = 10e-9;
  stream.run(1000);
  EXPECT_LT(stream.share_compressed() * 4000, 20);
}

TEST(CompressionChoice, CompressesThoughNotAllOfItBecomesSmaller) {
  Stream stream;
  stream.smaller_of_ten = 7;
  stream.plain = 8e-9;
  stream.compressed = 2e-9;
  stream.run(100);
  stream.share_compressed();
  stream.run(4000);
  EXPECT_GT(stream.share_compressed(), 0.9);
}

TEST(CompressionChoice, WhatItTriesTakesLittleTimeWhereCompressingPaysMost) {
  Stream stream;
  stream.plain = 100e-9;
  stream.compressed = 2e-9;
  stream.run(100);
  const auto begin = stream.now;
  stream.run(8192);
  const double best = 8192.0 * (1 << 20) * stream.compressed;
  EXPECT_LT(std::chrono::duration<double>(stream.now - begin).count(), 1.15 * best);
}

TEST(CompressionChoice, IgnoresWhatAnotherStreamHadMadeForThePhaseBefore) {
  Stream stream;
  stream.plain = 8e-9;
  stream.compressed = 4e-9;
  bool before = stream.choice.compress();
  for (int i = 0; i < 4 * 100; ++i) {
    stream.choice.sent(Stream::piece, before, before, stream.now);  // the other one's, begun a piece ago
    before = stream.choice.compress();
    stream.run(1);
  }
  stream.share_compressed();
  stream.run(100);
  EXPECT_GT(stream.share_compressed(), 0.9);
}

TEST(CompressionChoice, StaysWithWhatItHasWhenBothAreAlike) {
  Stream stream;
  stream.compressed = stream.plain = 3e-9;
  stream.run(2000);
  EXPECT_LT(stream.share_compressed(), 0.03);
}

TEST(CompressionChoice, IsNotFooledByADiskThatMakesItWait) {
  for (int waits_after = 8; waits_after < 30; ++waits_after) {
    Stream stream;
    stream.run(waits_after);
    stream.now += std::chrono::seconds(2);
    stream.share_compressed();
    stream.run(200);
    EXPECT_LT(stream.share_compressed(), 0.1) << waits_after;
  }
}

TEST(CompressionChoice, FindsOutWhenItIsOtherwiseByNow) {
  Stream stream;
  stream.run(500);  // does not pay
  stream.plain = 8e-9;
  stream.run(600);
  stream.share_compressed();
  stream.run(200);
  EXPECT_GT(stream.share_compressed(), 0.9);
  stream.plain = 1e-9;
  stream.run(3000);
  stream.share_compressed();
  stream.run(200);
  EXPECT_LT(stream.share_compressed(), 0.1);
}

}  // namespace
}  // namespace ferry::sync
