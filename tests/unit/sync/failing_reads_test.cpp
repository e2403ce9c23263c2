#include <mutex>

#include "support/full_tree.h"
#include "support/intercepted_calls.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

enum class Times { once, from_then_on };

void PrintTo(Times times, std::ostream* out) { *out << (times == Times::once ? "Once" : "FromThenOn"); }

/// Lets one call that reads something fail with EIO, or that one and all behind it.
class FailingRead {
 public:
  /// Of those that are about something below one of `places`, the one with that number, from 0.
  FailingRead(std::vector<std::string> places, unsigned number, Times times)
      : places_(std::move(places)),
        number_(number),
        times_(times),
        calls_([this](const test::Call& call) { return decide(call); }, test::InterceptedCalls::Kind::reads) {}

  /// The call; empty if there were fewer.
  std::string where() const { return where_; }

 private:
  int decide(const test::Call& call) {
    if (std::none_of(places_.begin(), places_.end(), [&](const auto& each) { return call.place.starts_with(each); }))
      return 0;
    const std::lock_guard guard(mutex_);
    const unsigned now = count_++;
    if (now < number_ || (times_ == Times::once && now > number_)) return 0;
    if (where_.empty()) where_ = std::string(call.name) + " of " + call.place;
    return EIO;
  }

  const std::vector<std::string> places_;
  const unsigned number_;
  const Times times_;
  std::mutex mutex_;
  unsigned count_ = 0;  // protected by mutex_
  std::string where_;   // protected by mutex_
  const test::InterceptedCalls calls_;
};

/// What cannot be read must not be taken for empty, or gone: the attempt fails and says so, or has found all the same.
void expect_clear(const Result<Receipt>& receipt) {
  if (receipt) return;
  EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
  EXPECT_THAT(receipt.error().message, testing::HasSubstr("Input/output error"));
}

/// Every so many calls, in turns.
constexpr unsigned stride = 2;
constexpr unsigned stride_of_updates = 4;
unsigned first_of(Times times, unsigned every) { return times == Times::once ? 0 : every / 2; }

class FailingReads : public TwoFileSystems, public testing::WithParamInterface<Times> {
 protected:
  void SetUp() override { use(ext4(), tmpfs()); }
};

INSTANTIATE_TEST_SUITE_P(, FailingReads, testing::Values(Times::once, Times::from_then_on),
                         testing::PrintToStringParamName());

TEST_P(FailingReads, OfTheSourceFailTheImportAndTheNextAttemptCompletesIt) {
  const test::FullTree tree(source_);
  let_ctimes_settle();
  const test::TreeSnapshot before(source_);
  for (unsigned number = first_of(GetParam(), stride);; number += stride) {
    ASSERT_TRUE(remove_tree(staging_));
    ASSERT_TRUE(remove_tree(journal_));
    fs::create_directory(staging_);
    Result<Receipt> receipt;
    std::string where;
    {
      auto source = open_source();
      const FailingRead failing({source_.string()}, number, GetParam());
      receipt = receive(source);
      where = failing.where();
    }
    SCOPED_TRACE("call " + std::to_string(number) + ", " + where);
    expect_clear(receipt);
    if (receipt) {
      EXPECT_EQ(before.difference(test::TreeSnapshot(staging_)), "");
    }
    if (where.empty()) return;
    auto again = open_source();
    const auto completed = receive(again);
    ASSERT_TRUE(completed) << completed.error().message;
    ASSERT_EQ(before.difference(test::TreeSnapshot(staging_)), "");
  }
}

class FailingReadsOfUpdates : public UpdateTest, public testing::WithParamInterface<Times> {
 protected:
  FailingReadsOfUpdates() : UpdateTest("64M") {}

  /// Receives and applies it.
  std::string update_with_failure(unsigned number, Result<Receipt>& receipt) {
    auto source = open(a_);
    const FailingRead failing({a_.volume.string(), b_.volume.string()}, number, GetParam());
    receipt = receive_update(source, b_);
    if (receipt && fs::exists(UpdatePaths(b_.update()).plan))
      (void)apply_plan(b_.update(), b_.data(), b_.baseline());  // is repeated until it succeeds
    return failing.where();
  }
};

INSTANTIATE_TEST_SUITE_P(, FailingReadsOfUpdates, testing::Values(Times::once, Times::from_then_on),
                         testing::PrintToStringParamName());

TEST_P(FailingReadsOfUpdates, KeepTheOldVersionOrItBecomesTheNewOne) {
  for (unsigned number = first_of(GetParam(), stride_of_updates);; number += stride_of_updates) {
    make_versions();
    const test::TreeSnapshot source(a_.data());
    const test::TreeSnapshot old(b_.data());
    Result<Receipt> receipt;
    const std::string where = update_with_failure(number, receipt);
    if (where.empty()) return;
    SCOPED_TRACE("call " + std::to_string(number) + ", " + where);
    // Without its baseline nobody can tell whether the volume was changed here.
    const bool unknown = where.ends_with(b_.baseline().string());
    if (receipt || !unknown || receipt.error().code != Code::already_exists) expect_clear(receipt);
    expect_old_or_new(source, old, receipt);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ferry::sync
