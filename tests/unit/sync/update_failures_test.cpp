#include <atomic>
#include <mutex>
#include <system_error>

#include "support/intercepted_calls.h"
#include "support/seed.h"
#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

/// A file of which everything has changed, or but for one page nothing, with an interruption in between.
class InterruptedPatch : public UpdateTest {
 protected:
  void copy_a_file(std::size_t size) {
    write(a_.data() / "file", random_.bytes(size));
    let_ctimes_settle();
    copy(a_, b_);
  }

  /// An attempt that breaks off after `bytes` of content, if there are as many.
  void receive_until(std::uint64_t bytes) {
    auto source = open(a_);
    std::atomic<std::uint64_t> left = bytes;
    source.on_content = [&](std::string& piece) -> Result<> {
      if (piece.size() > left) return fail(Code::unavailable, "cut");
      left -= piece.size();
      return {};
    };
    options_.connections = 1;
    (void)receive_update(source, b_);
  }

  test::SeededRandom random_;
};

TEST_F(InterruptedPatch, IsNotSentAgain) {
  for (const std::size_t size : {12U << 20, 70U << 20}) {
    start_again();
    copy_a_file(size);
    write_at(a_.data() / "file", 0, random_.bytes(size));
    let_ctimes_settle();
    receive_until(size * 6 / 10);
    update(a_, b_);
    EXPECT_LT(sent(), size * 45 / 100) << size;
  }
}

// As does a database that goes on.
TEST_F(InterruptedPatch, IsComparedIfTheFileHasChangedAgain) {
  const std::size_t size = 70U << 20;
  copy_a_file(size);
  write_at(a_.data() / "file", 0, random_.bytes(size));
  let_ctimes_settle();
  receive_until(size * 6 / 10);
  write_at(a_.data() / "file", 5000, "changed");
  let_ctimes_settle();
  update(a_, b_);
  EXPECT_LT(sent(), size * 45 / 100);
}

// What came is the old version again, a hole, behind the end or nothing of either.
TEST_F(InterruptedPatch, GivesWayToWhateverTheFileIsNow) {
  const std::size_t size = 6U << 20;
  constexpr off_t page = 4096;
  for (int round = 0; round < 8; ++round) {
    start_again();
    copy_a_file(size);
    const std::string old = *read_file(a_.data() / "file");
    const auto change = [&](std::uint64_t count) {
      for (; count > 0; --count) {
        const auto at = static_cast<off_t>(random_.below(size)) & ~(page - 1);
        const auto length = static_cast<std::size_t>(1 + random_.below(300'000));
        const Fd file = *open_at(AT_FDCWD, (a_.data() / "file").string(), O_RDWR);
        switch (random_.below(4)) {
          case 0: ASSERT_TRUE(punch_hole(file.get(), {static_cast<std::uint64_t>(at), at + length})); break;
          case 1: write_at(a_.data() / "file", at, old.substr(static_cast<std::size_t>(at), length)); break;
          case 2: ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(size / 2 + random_.below(size))), 0); break;
          default: write_at(a_.data() / "file", at, random_.bytes(length));
        }
      }
    };
    for (int attempt = 0; attempt < 3; ++attempt) {
      change(20);
      let_ctimes_settle();
      receive_until(random_.below(2 << 20));
    }
    change(random_.below(5));
    let_ctimes_settle();
    update(a_, b_);
    if (HasFailure()) return;
  }
}

/// How calls on the destination fail: at every fourth one in turn, from `first` on.
struct UpdateFailure {
  int error;
  bool once;  ///< else all that follow fail too
  unsigned first;
};

void PrintTo(const UpdateFailure& failure, std::ostream* out) {
  *out << std::generic_category().message(failure.error) << (failure.once ? ", once" : ", from then on");
}

class FailingUpdate : public UpdateTest, public testing::WithParamInterface<UpdateFailure> {
 protected:
  /// Receives and applies it, with the call `number` failing. Where: empty if there are fewer calls.
  std::string update_with_failure(unsigned number, Result<Receipt>& receipt) {
    std::mutex mutex;
    unsigned count = 0;
    std::string where;
    auto source = open(a_);
    const test::InterceptedCalls calls([&](const test::Call& call) {
      if (!call.place.starts_with(b_.volume.string())) return 0;
      const std::lock_guard guard(mutex);
      const unsigned now = count++;
      if (now < number || (GetParam().once && now > number)) return 0;
      if (where.empty()) where = std::string(call.name) + " of " + call.place;
      return GetParam().error;
    });
    receipt = receive_update(source, b_);
    if (receipt && fs::exists(UpdatePaths(b_.update()).plan))
      (void)apply_plan(b_.update(), b_.data(), b_.baseline());  // is repeated until it succeeds
    return where;
  }
};

INSTANTIATE_TEST_SUITE_P(, FailingUpdate,
                         testing::Values(UpdateFailure{ENOSPC, true, 0}, UpdateFailure{EIO, true, 1},
                                         UpdateFailure{EDQUOT, false, 2}, UpdateFailure{ENOSPC, false, 3},
                                         UpdateFailure{EIO, false, 0}));

TEST_P(FailingUpdate, KeepsTheOldVersionOrBecomesTheNewOne) {
  for (unsigned number = GetParam().first;; number += 4) {
    make_versions();
    const test::TreeSnapshot source(a_.data());
    const test::TreeSnapshot old(b_.data());
    Result<Receipt> receipt;
    const std::string where = update_with_failure(number, receipt);
    if (where.empty()) return;
    SCOPED_TRACE("call " + std::to_string(number) + ", " + where);
    expect_old_or_new(source, old, receipt);
    if (HasFatalFailure()) return;
  }
}

/// A sync fails, and pages are lost.
class LosingUpdate : public UpdateTest {
 protected:
  void SetUp() override {
    UpdateTest::SetUp();
    test::SeededRandom random;
    write(patched(a_), random.bytes(1 << 20));
    copy(a_, b_);
    write_at(patched(a_), 100'000, "changed");
    write(a_.data() / "large", random.bytes(20 << 20));
    write(a_.data() / "new", random.bytes(10'000));
    let_ctimes_settle();
  }

  static fs::path patched(const Host& host) { return host.data() / "patched"; }
};

TEST_F(LosingUpdate, FetchesAgainWhatASyncLost) {
  {
    auto source = open(a_);
    bool failed = false;
    const test::InterceptedCalls calls([&](const test::Call& call) {
      const fs::path content = UpdatePaths(b_.update()).content;
      if (failed || call.name != "syncfs" || call.place != content) return 0;
      for (const auto& file : fs::directory_iterator(content))
        write_at(file.path(), 0, std::string(static_cast<std::size_t>(file.file_size()), '\0'));
      failed = true;
      return EIO;
    });
    const auto receipt = receive_update(source, b_);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
  }
  update(a_, b_);
}

// What was put in its place was durable before there was a plan; only what is patched can be lost.
TEST_F(LosingUpdate, PatchesAgainWhatASyncLost) {
  auto source = open(a_);
  ASSERT_TRUE(receive_update(source, b_));
  {
    bool lost = false;
    int syncs = 0;
    const test::InterceptedCalls calls([&](const test::Call& call) {
      if (call.name != "syncfs" || ++syncs != 2) return 0;
      write_at(patched(b_), 100'000, std::string(7, '\0'));
      lost = true;
      return EIO;
    });
    const auto applied = apply(b_);
    ASSERT_FALSE(applied);
    EXPECT_TRUE(lost);
    EXPECT_EQ(applied.error().code, Code::io);
    EXPECT_THAT(applied.error().message, testing::HasSubstr("sync " + b_.data().string()));
  }
  ASSERT_TRUE(apply(b_));
  expect_equal(a_, b_);
}

}  // namespace
}  // namespace ferry::sync
