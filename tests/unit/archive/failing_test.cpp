#include <mutex>

#include "archive/archive_fixture.h"
#include "support/intercepted_calls.h"
#include "support/mounts.h"
#include "support/seed.h"

namespace ferry::archive {
namespace {

using test::Call;
using test::InterceptedCalls;

/// Takes so many pieces, and then fails.
class FailingSink : public StringSink {
 public:
  explicit FailingSink(unsigned pieces) : left_(pieces) {}
  Result<> write(std::span<const char> bytes) override {
    EXPECT_FALSE(failed) << "it is called after it has failed";
    if (left_-- > 0) return StringSink::write(bytes);
    failed = true;
    return fail(Code::unavailable, "the other side is gone");
  }
  bool failed = false;

 private:
  unsigned left_;
};

class FailingSource : public StringSource {
 public:
  FailingSource(std::string_view text, unsigned pieces) : StringSource(text, 20'000), left_(pieces) {}
  Result<std::size_t> read(std::span<char> buffer) override {
    EXPECT_FALSE(failed) << "it is called after it has failed";
    if (left_-- > 0) return StringSource::read(buffer);
    failed = true;
    return fail(Code::unavailable, "the other side is gone");
  }
  bool failed = false;

 private:
  unsigned left_;
};

class Failing : public ArchiveTest {
 protected:
  Failing() {
    volume_ = disk_.path() / "volume";
    staging_ = disk_.path() / "staging";
    for (const auto& path : {volume_, staging_}) fs::create_directory(path);
    tree_.emplace(volume_);
    test::Random random(1);
    test::write_text(volume_ / "random", random.bytes(1'500'000));
  }

  template <class Value>
  static void expect_gone(const Result<Value>& result) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::unavailable);
    EXPECT_EQ(result.error().message, "the other side is gone");
  }

  test::MemoryDisk disk_{"600M"};
  std::optional<test::FullTree> tree_;
};

TEST_F(Failing, ASinkThatFailsEndsTheArchive) {
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    for (unsigned pieces = 0;; ++pieces) {
      FailingSink sink(pieces);
      const auto written = write(sink, compression);
      if (!sink.failed) {
        EXPECT_TRUE(written);
        EXPECT_GT(pieces, 4U);
        break;
      }
      expect_gone(written);
      EXPECT_FALSE(extract_anew(sink.text)) << "a part is taken for the whole";
    }
  }
}

/// What it holds back when it is cancelled would make it look as if it had come to its end.
TEST_F(Failing, AnArchiveThatIsCancelledLooksIncomplete) {
  class Cancelling : public StringSink {
   public:
    explicit Cancelling(Progress& progress) : progress_(progress) {}
    Result<> write(std::span<const char> bytes) override {
      progress_.cancelled = true;
      return StringSink::write(bytes);
    }

   private:
    Progress& progress_;
  };
  Cancelling sink(progress_);
  EXPECT_EQ(write(sink, Compression::gzip).error().code, Code::cancelled);
  progress_.cancelled = false;
  const auto extracted = extract_anew(sink.text);
  ASSERT_FALSE(extracted);
  EXPECT_THAT(extracted.error().message, testing::HasSubstr("truncated gzip"));
}

TEST_F(Failing, ASourceThatFailsEndsTheExtraction) {
  for (const auto compression : {Compression::none, Compression::zstd, Compression::gzip}) {
    const std::string bytes = pack(compression);
    for (unsigned pieces = 0;; ++pieces) {
      ASSERT_TRUE(remove_tree(staging_));
      fs::create_directory(staging_);
      FailingSource source(bytes, pieces);
      const auto extracted = extract(source);
      if (!source.failed) {
        EXPECT_TRUE(extracted) << extracted.error().message;
        EXPECT_GT(pieces, 10U);
        break;
      }
      expect_gone(extracted);
    }
  }
}

TEST_F(Failing, WhatCannotBeReadIsAnError) {
  const test::TreeSnapshot before(volume_);
  for (unsigned number = 0;; number += 3) {
    std::mutex mutex;
    unsigned count = 0;
    std::string where;
    StringSink sink;
    Result<Written> written;
    {
      const Fd volume = open_directory(volume_);
      const InterceptedCalls calls(
          [&](const Call& call) {
            const std::lock_guard guard(mutex);
            if (!call.place.starts_with(volume_.string()) || count++ != number) return 0;
            where = std::string(call.name) + " of " + call.place;
            return EIO;
          },
          InterceptedCalls::Kind::reads);
      written = write_archive(volume.get(), facts_, Compression::none, sink, progress_);
    }
    if (!written) {
      EXPECT_THAT(written.error().message, testing::HasSubstr("Input/output error")) << where;
    } else {
      const auto extracted = extract_anew(sink.text);
      ASSERT_TRUE(extracted) << where << ": " << extracted.error().message;
      EXPECT_EQ(before.difference(test::TreeSnapshot(staging_)), "") << where;
    }
    if (where.empty()) break;
  }
}

TEST_F(Failing, WhatCannotBeMadeIsAnErrorThatNamesIt) {
  const test::TreeSnapshot before(volume_);
  const std::string bytes = pack();
  for (unsigned number = 0;; ++number) {
    unsigned count = 0;
    std::string where;
    ASSERT_TRUE(remove_tree(staging_));
    fs::create_directory(staging_);
    Result<Extracted> extracted;
    {
      const InterceptedCalls calls([&](const Call& call) {
        if (!call.place.starts_with(staging_.string()) || count++ != number) return 0;
        where = std::string(call.name) + " of " + call.place;
        return ENOSPC;
      });
      extracted = extract(bytes);
    }
    if (where.empty()) break;
    if (extracted) {
      EXPECT_EQ(before.difference(test::TreeSnapshot(staging_)), "") << where;
      continue;
    }
    EXPECT_EQ(extracted.error().code, Code::no_space) << where << ": " << extracted.error().message;
    EXPECT_THAT(extracted.error().message, testing::StartsWith("entry \"./")) << where;
  }
}

}  // namespace
}  // namespace ferry::archive
