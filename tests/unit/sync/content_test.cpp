#include "sync/content.h"

#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/sample_manifest.h"
#include "support/seed.h"
#include "sync/manifest.h"

namespace ferry::sync {
namespace {

using test::Frames;

/// Checks once more, and in another way, that no more comes through than was asked for.
class Recorder : public FrameHandler {
 public:
  Recorder(const std::vector<Entry>& entries, std::vector<Want> wants) : entries_(entries), wants_(std::move(wants)) {}

  Result<> data(std::uint32_t entry, std::uint64_t offset, std::string_view payload) override {
    EXPECT_FALSE(payload.empty());
    EXPECT_EQ(offset / block_size, (offset + payload.size() - 1) / block_size);
    return check(entry, {offset, offset + payload.size()});
  }
  Result<> hole(std::uint32_t entry, Extent hole) override {
    EXPECT_FALSE(wants_[done_].held.empty());
    return check(entry, hole);
  }
  Result<> check(std::uint32_t entry, const Extent& range) {
    EXPECT_LT(done_, wants_.size());
    EXPECT_EQ(entry, wants_[done_].entry);
    const Extent extent = extent_of(entries_[entry].size, wants_[done_].extent);
    EXPECT_GE(range.begin, std::max(extent.begin, end_));
    EXPECT_LT(range.begin, range.end);
    EXPECT_LE(range.end, extent.end);
    end_ = range.end;
    return {};
  }
  Result<> end(const Want& want, Outcome, const Digest&) override {
    EXPECT_EQ(want.entry, wants_[done_].entry);
    EXPECT_EQ(want.extent, wants_[done_].extent);
    ++done_;
    end_ = 0;
    return {};
  }

 private:
  const std::vector<Entry>& entries_;
  const std::vector<Want> wants_;
  std::size_t done_ = 0;
  std::uint64_t end_ = 0;
};

/// Of payload, most likely, of which each value is as good as any other.
bool is_within_a_run(const std::string& bytes, std::size_t at) {
  return at > 0 && at + 1 < bytes.size() && bytes[at - 1] == bytes[at] && bytes[at] == bytes[at + 1];
}

class ContentTest : public testing::Test {
 protected:
  Result<> decode(std::string_view bytes, std::size_t piece = 1 << 20) const {
    Recorder recorder(entries_, wants_);
    FrameDecoder decoder(entries_, wants_, recorder);
    for (std::size_t at = 0; at < bytes.size(); at += piece) FERRY_TRY(decoder.feed(bytes.substr(at, piece)));
    return decoder.finish();
  }
  bool refused(const Frames& frames) const {
    const auto decoded = decode(frames.bytes());
    return !decoded && decoded.error().code == Code::corrupt;
  }
  static Frames good() {
    Frames frames;
    frames.data(0, std::string(100, 'a')).data(1 << 20, "b").end();
    frames.data(0, "12345").end(Outcome::changed);
    frames.data(second, std::string(4096, 'x')).hole(second + 4096, 8192);
    frames.data((20 << 20) - 4096, std::string(4096, 'y')).end();
    return frames;
  }

  static constexpr std::uint64_t second = 16U << 20;  // where the second extent begins

  const std::vector<Entry> entries_ = test::sample_entries();
  const std::vector<Want> wants_ = {{3, 0, {}}, {8, 0, {}}, {9, 1, {1, 2, UINT64_MAX}}};
};

TEST_F(ContentTest, GoldenStreams) {
  test::expect_golden("sync", "frames", good().bytes());
  std::string wants;
  append_wants(wants, 0x0123456789abcdef, wants_, Compression::automatic);
  test::expect_golden("sync", "wants", wants);
  // Another version of zstd may compress in another way, so that is only read.
  for (const char* stream : {"frames", "frames-compressed"})
    for (const std::size_t piece : {1U, 3U, 100U})
      EXPECT_TRUE(decode(test::read_golden("sync", stream), piece)) << stream;
  const auto read = read_wants(test::read_golden("sync", "wants"), entries_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->seed, 0x0123456789abcdefU);
  EXPECT_EQ(read->compression, Compression::automatic);
  ASSERT_EQ(read->wants.size(), 3U);
  EXPECT_EQ(read->wants[2].extent, 1U);
  EXPECT_EQ(read->wants[2].held, (std::vector<std::uint64_t>{1, 2, UINT64_MAX}));
}

TEST_F(ContentTest, NoTruncationAndNoAdditionIsAccepted) {
  const std::string bytes = good().bytes();
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(decode(std::string_view(bytes).substr(0, cut))) << cut;
  EXPECT_FALSE(decode(bytes + Frames().end().bytes()));
  EXPECT_FALSE(decode(bytes + Frames().data(0, "x").bytes()));
  EXPECT_FALSE(decode(bytes + "\x01"));
}

TEST_F(ContentTest, FramesOutOfOrderOrPlaceAreRefused) {
  EXPECT_TRUE(refused(Frames().data(100, "b").data(50, "a").end().end().end()));
  EXPECT_TRUE(refused(Frames().data(0, "ab").data(1, "c").end().end().end()));  // overlapping
  EXPECT_TRUE(refused(Frames().data(2'000'000, "x").end().end().end()));        // behind the end
  EXPECT_TRUE(refused(Frames().data(1'999'999, "xy").end().end().end()));       // across it
  EXPECT_TRUE(refused(Frames().data(UINT64_MAX, "x").end().end().end()));
  EXPECT_TRUE(refused(Frames().data(UINT64_MAX - 3, "xxxxxxxx").end().end().end()));  // around
  EXPECT_TRUE(refused(Frames().end().end().data(0, "x").end()));                      // before what was asked for
  EXPECT_TRUE(refused(Frames().end().data(0, "123456").end().end()));                 // longer than announced
  EXPECT_TRUE(refused(Frames().data(0, "").end().end().end()));
  EXPECT_TRUE(refused(Frames().data(0, std::string(block_size + 1, 'x')).end().end().end()));
  EXPECT_TRUE(refused(Frames().raw_end(0).end().end()));
  EXPECT_TRUE(refused(Frames().raw_end(4).end().end()));
  EXPECT_TRUE(refused(Frames().data(1, std::string(block_size, 'x')).end().end().end()));  // across two blocks
  EXPECT_TRUE(refused(Frames().end().end().data(second - 1, "x").end()));                  // in another extent
  EXPECT_FALSE(refused(Frames().data(0, std::string(block_size, 'x')).end().end().end(Outcome::vanished)));
}

TEST_F(ContentTest, HolesAreOfWholePagesThatWereHeld) {
  EXPECT_TRUE(refused(Frames().hole(0, 4096).end().end().end()));  // nothing is held of this file
  EXPECT_TRUE(refused(Frames().end().end().hole(second, 0).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second, 100).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second + 1, 4096).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second - 4096, 8192).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second, (4U << 20) + 4096).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second, UINT64_MAX - 4095).end()));
  EXPECT_TRUE(refused(Frames().end().end().hole(second, 8192).hole(second + 4096, 4096).end()));
  EXPECT_TRUE(refused(Frames().end().end().data(second, "x").end()));
  EXPECT_TRUE(refused(Frames().end().end().data(second + 1, std::string(4096, 'x')).end()));
  EXPECT_FALSE(refused(Frames().end().end().hole(second, 4U << 20).end()));
}

TEST_F(ContentTest, AFailureEndsTheStream) {
  std::string bytes = Frames().data(0, "x").bytes();
  append_failure(bytes, {Code::io, "no"});
  EXPECT_EQ(decode(bytes).error().message, "the peer reports: no");
}

TEST_F(ContentTest, EveryFlippedByteOfAStreamIsRefusedOrHarmless) {
  const std::string bytes = good().bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (int flip = is_within_a_run(bytes, at) ? 255 : 1; flip < 256; ++flip) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      (void)decode(damaged);
    }
}

TEST_F(ContentTest, MutatedStreamsAreRefusedOrHarmless) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good().bytes();
    for (std::size_t n = random.below(4) + 1; n > 0; --n) {
      const std::size_t at = random.below(bytes.size());
      if (random.one_in(2))
        bytes[at] = static_cast<char>(random.below(256));
      else
        bytes.insert(random.below(bytes.size()), bytes.substr(at, random.below(60)));
    }
    (void)decode(bytes, random.below(100) + 1);
  }
}

TEST_F(ContentTest, WantsNameExtentsOfFilesInOrder) {
  const auto refused_wants = [&](const std::vector<Want>& wants) {
    std::string bytes;
    append_wants(bytes, 0, wants);
    const auto read = read_wants(bytes, entries_);
    return !read && read.error().code == Code::corrupt;
  };
  EXPECT_FALSE(refused_wants({}));
  EXPECT_FALSE(refused_wants({{3, 0, {}}, {8, 0, {}}, {9, 0, {}}, {9, 1, {}}}));
  EXPECT_TRUE(refused_wants({{8, 0, {}}, {3, 0, {}}}));
  EXPECT_TRUE(refused_wants({{3, 0, {}}, {3, 0, {}}}));
  EXPECT_TRUE(refused_wants({{9, 1, {}}, {9, 0, {}}}));
  EXPECT_TRUE(refused_wants({{3, 1, {}}}));
  EXPECT_TRUE(refused_wants({{9, 2, {}}}));
  EXPECT_TRUE(refused_wants({{9, UINT32_MAX, {}}}));
  EXPECT_FALSE(refused_wants({{8, 0, {7}}}));
  EXPECT_TRUE(refused_wants({{8, 0, {7, 8}}}));  // it has one page
  for (const std::uint32_t other : {0U, 1U, 2U, 4U, 5U, 6U, 7U, 10U, 11U, UINT32_MAX})
    EXPECT_TRUE(refused_wants({{other, 0, {}}})) << other;
}

TEST_F(ContentTest, DamagedWantsAreRefusedOrHarmless) {
  std::string bytes;
  append_wants(bytes, 0, wants_);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(read_wants(std::string_view(bytes).substr(0, cut), entries_));
  EXPECT_FALSE(read_wants(bytes + "x", entries_));
  std::string lying;
  Writer(lying).fixed64(0);
  Writer(lying).number(UINT64_MAX);
  EXPECT_FALSE(read_wants(lying, entries_));
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = bytes;
    random.pick(damaged) = static_cast<char>(random.below(256));
    random.pick(damaged) = static_cast<char>(random.below(256));
    const auto read = read_wants(damaged, entries_);
    for (const auto& want : read ? read->wants : std::vector<Want>()) {
      ASSERT_LT(want.entry, entries_.size());
      ASSERT_EQ(entries_[want.entry].type, Type::regular);
      ASSERT_LT(want.extent, extent_count(entries_[want.entry].size));
    }
  }
}

}  // namespace
}  // namespace ferry::sync
