#include "archive/queued_sink.h"

#include <gtest/gtest.h>

#include <future>
#include <semaphore>
#include <vector>

namespace ferry::archive {
namespace {

/// Keeps the pieces that come; each waits until it is let through.
class GatedSink : public Sink {
 public:
  Result<> write(std::span<const char> bytes) override {
    begun.release();
    gate.acquire();
    EXPECT_FALSE(fails) << "it is called after it has failed";
    if (pieces.size() == most) {
      fails = true;
      return fail(Code::no_space, "the disk is full there");
    }
    pieces.emplace_back(bytes.data(), bytes.size());
    return {};
  }
  std::counting_semaphore<> begun{0}, gate{0};
  std::vector<std::string> pieces;
  std::size_t most = 100;
  bool fails = false;
};

std::unique_ptr<QueuedSink> open(Sink& below) {
  auto sink = QueuedSink::open(below, 4);
  if (!sink) throw std::runtime_error(sink.error().message);
  return std::move(*sink);
}

TEST(QueuedSinkTest, PassesOnAllOfItInOrder) {
  GatedSink below;
  below.gate.release(50);
  const auto sink = open(below);
  for (const std::string_view text : {"a", "bcdefghijk", "", "lm"}) ASSERT_TRUE(sink->write(text));
  ASSERT_TRUE(sink->finish());
  EXPECT_EQ(below.pieces, (std::vector<std::string>{"abcd", "efgh", "ijkl", "m"}));
  ASSERT_TRUE(sink->finish());
  EXPECT_EQ(below.pieces.size(), 4U);
}

TEST(QueuedSinkTest, WhoeverWritesGoesOnWhileAPieceIsPassedOn) {
  GatedSink below;
  const auto sink = open(below);
  ASSERT_TRUE(sink->write(std::string_view("abcd")));
  below.begun.acquire();
  ASSERT_TRUE(sink->write(std::string_view("efg")));  // would never return
  below.gate.release(2);
  ASSERT_TRUE(sink->finish());
  EXPECT_EQ(below.pieces, (std::vector<std::string>{"abcd", "efg"}));
}

TEST(QueuedSinkTest, TwoPiecesAreInMemoryAndNotMore) {
  GatedSink below;
  const auto sink = open(below);
  auto written = std::async(std::launch::async, [&] { return sink->write(std::string_view("abcdefgh")); });
  below.begun.acquire();
  EXPECT_EQ(written.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  below.gate.release(2);
  EXPECT_TRUE(written.get());
  EXPECT_TRUE(sink->finish());
}

TEST(QueuedSinkTest, AnErrorIsToldLaterAndThenAlways) {
  GatedSink below;
  below.most = 1;
  below.gate.release(50);
  const auto sink = open(below);
  ASSERT_TRUE(sink->write(std::string_view("abcdefgh")));  // the second piece fails by itself
  const auto finished = sink->finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Code::no_space);
  EXPECT_FALSE(sink->write(std::string_view("ijkl")));
  EXPECT_FALSE(sink->finish());
  EXPECT_EQ(below.pieces, std::vector<std::string>{"abcd"});
}

TEST(QueuedSinkTest, ItsEndWaitsForWhatIsPassedOn) {
  GatedSink below;
  below.most = 0;  // it fails meanwhile, and nobody asks
  {
    const auto sink = open(below);
    ASSERT_TRUE(sink->write(std::string_view("abcdef")));
    below.begun.acquire();
    below.gate.release(50);
  }
  EXPECT_TRUE(below.fails);
  EXPECT_FALSE(below.begun.try_acquire()) << "and what came later is dropped";
}

TEST(QueuedSinkTest, WhatIsNotFinishedIsDropped) {
  GatedSink below;
  below.gate.release(50);
  {
    const auto sink = open(below);
    ASSERT_TRUE(sink->write(std::string_view("abc")));
  }
  EXPECT_TRUE(below.pieces.empty());
}

}  // namespace
}  // namespace ferry::archive
