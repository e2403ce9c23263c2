#include <sys/statvfs.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/time.h"
#include "support/full_tree.h"
#include "support/intercepted_calls.h"
#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

/// How calls on the destination fail.
struct Failure {
  int error;
  bool once;       ///< else all that follow fail too
  unsigned first;  ///< each kind of failure takes turns at every fourth call, from this one on
};

std::string name_of(const Failure& failure) {
  const char* error = failure.error == ENOSPC ? "ENOSPC" : failure.error == EIO ? "EIO" : "EDQUOT";
  return std::string(error) + (failure.once ? "Once" : "FromThenOn");
}

void PrintTo(const Failure& failure, std::ostream* out) { *out << name_of(failure); }

class FailingFileSystem : public TwoFileSystems, public testing::WithParamInterface<Failure> {
 protected:
  void SetUp() override { use(ext4(), tmpfs()); }

  struct Attempt {
    bool reached = false;  ///< the call that was to fail
    std::string call;      ///< the name of the first that failed
    std::string place;     ///< its path
    Result<Receipt> receipt;
  };

  /// An attempt in which the call number `number`, from 0, fails.
  Attempt receive_with_failure(unsigned number) {
    std::mutex mutex;
    unsigned count = 0;
    Attempt attempt;
    const std::string destination = directory_.path().string() + "/";
    const std::string source = source_.string();
    const auto hook = [&](const test::Call& call) {
      if (!call.place.starts_with(destination) || call.place.starts_with(source)) return 0;
      const std::lock_guard guard(mutex);
      const unsigned now = count++;
      if (now < number || (GetParam().once && now > number)) return 0;
      if (!attempt.reached) {
        attempt.call = call.name;
        attempt.place = call.place;
      }
      attempt.reached = true;
      return GetParam().error;
    };
    auto from = open_source();
    const test::InterceptedCalls calls(hook);
    attempt.receipt = receive(from);
    return attempt;
  }

  /// One sentence that says what went wrong, and with what.
  void expect_clear(const Attempt& attempt) const {
    const Error& error = attempt.receipt.error();
    const std::string cause = std::generic_category().message(GetParam().error);
    EXPECT_THAT(error.message, AnyOf(HasSubstr(cause), HasSubstr("too little space")));
    EXPECT_THAT(error.message, testing::Not(HasSubstr("\n")));
    // ext4 has ENOSPC for xattrs that are too large for it, so for a probe that is what it is taken for.
    const bool ambiguous = GetParam().error == ENOSPC && attempt.call == "fsetxattr" && is_probe(attempt);
    const Code code = ambiguous ? Code::unsupported : GetParam().error == EIO ? Code::io : Code::no_space;
    EXPECT_EQ(error.code, code) << to_string(error.code) << ", " << error.message;
    EXPECT_TRUE(names_a_place(error.message, attempt.place)) << error.message;
  }

  /// Lets every fourth call of an attempt fail in turn; `prepare` comes before each attempt.
  void let_each_call_fail(const std::function<void()>& prepare) {
    for (unsigned number = GetParam().first;; number += 4) {
      prepare();
      const test::TreeSnapshot before(source_);
      const Attempt attempt = receive_with_failure(number);
      SCOPED_TRACE("call " + std::to_string(number) + ", " + attempt.call + " of " + attempt.place);
      EXPECT_EQ(before.difference(test::TreeSnapshot(source_)), "");
      if (attempt.receipt) {
        EXPECT_EQ(before.difference(test::TreeSnapshot(staging_)), "");
        EXPECT_TRUE(!attempt.reached || is_best_effort(attempt)) << "its failure was not told";
      } else {
        expect_clear(attempt);
      }
      if (!attempt.reached) return;
      auto again = open_source();
      const auto receipt = receive(again);
      ASSERT_TRUE(receipt) << receipt.error().message;
      EXPECT_EQ(before.difference(test::TreeSnapshot(staging_)), "");
    }
  }

 private:
  bool names_a_place(const std::string& message, const fs::path& place) const {
    for (const auto& name : {directory_.path().string(), std::string("journal"), std::string("the volume's root")})
      if (message.find(name) != std::string::npos) return true;
    const std::string name = place.filename().string();
    const auto odd = std::find_if(name.begin(), name.end(), [](char c) { return c < ' '; });  // may be said otherwise
    return place != staging_ && message.find(std::string(name.begin(), odd)) != std::string::npos;
  }

  /// What may fail without anything being lost: a probe that stays is removed before the next one is made.
  static bool is_best_effort(const Attempt& attempt) {
    return (attempt.call == "unlink" || attempt.call == "rmdir") && is_probe(attempt);
  }

  static bool is_probe(const Attempt& attempt) { return attempt.place.find("/probe") != std::string::npos; }
};

std::string name_of_case(const testing::TestParamInfo<Failure>& info) { return name_of(info.param); }

INSTANTIATE_TEST_SUITE_P(, FailingFileSystem,
                         testing::Values(Failure{ENOSPC, false, 0}, Failure{EIO, true, 1}, Failure{EIO, false, 2},
                                         Failure{EDQUOT, true, 3}),
                         name_of_case);

TEST_P(FailingFileSystem, FailsANewImportAndTheNextAttemptCompletesIt) {
  const test::FullTree tree(source_);
  let_ctimes_settle();
  let_each_call_fail([&] {
    fs::remove_all(staging_);
    fs::remove(directory_ / "journal");
    fs::create_directory(staging_);
  });
}

// What is in staging is another version: there is something to remove, to truncate, to take away and to link anew.
TEST_P(FailingFileSystem, FailsAFurtherAttemptAndTheNextOneCompletesIt) {
  bool odd = false;
  const auto change = [&] {
    for (const auto& entry : fs::directory_iterator(source_)) fs::remove_all(entry.path());
    odd = !odd;
    const std::string name = odd ? "odd" : "even";
    fs::create_directories(source_ / "stays" / name);
    write(source_ / "file", std::string(odd ? 200'000 : 100'000, 'x'));
    write(source_ / ("file-" + name), name);
    test::set_xattr(source_ / "file", ("user." + name).c_str(), name);
    test::set_xattr(source_ / "stays", ("trusted." + name).c_str(), name);
    fs::create_symlink(name, source_ / "symlink");
    fs::create_hard_link(source_ / ("file-" + name), source_ / "stays" / "another-name");
    ASSERT_EQ(::mkfifo((source_ / "stays" / "fifo").c_str(), 0600), 0);
    if (odd) {
      fs::create_directories(source_ / "kind" / "below");
      write(source_ / "kind" / "below" / "file", "x");
    } else {
      write(source_ / "kind", "now a file");
    }
    let_ctimes_settle();
  };
  change();
  receive_all();
  let_each_call_fail(change);
}

/// Failures that a test makes without anyone's help.
class RealFailures : public TwoFileSystems {
 protected:
  /// Takes all but `left` bytes of the destination.
  void fill(std::uint64_t left) const {
    struct statvfs room {};
    ASSERT_EQ(::statvfs(directory_.path().c_str(), &room), 0);
    const std::uint64_t free = room.f_bavail * room.f_frsize;
    ASSERT_GT(free, left);
    const Fd file = *open_at(AT_FDCWD, filler().string(), O_WRONLY | O_CREAT, 0600);
    ASSERT_EQ(::fallocate(file.get(), 0, 0, static_cast<off_t>(free - left)), 0);
  }
  fs::path filler() const { return directory_ / "filler"; }
};

TEST_F(RealFailures, AFullDiskIsToldBeforeAnyContent) {
  use(ext4(), ext4());
  write(source_ / "file", std::string(3 << 20, 'x'));
  fill(1 << 20);
  expect_refusal(Code::no_space, HasSubstr("too little space in " + staging_.string()));
  fs::remove(filler());
  receive_all();
}

TEST_F(RealFailures, ADiskThatFillsUpMeanwhileFailsTheAttemptAndNotTheNext) {
  use(ext4(), ext4());
  for (int i = 0; i < 8; ++i) write(source_ / ("file" + std::to_string(i)), std::string(3 << 20, 'x'));
  let_ctimes_settle();
  auto source = open_source();
  std::once_flag once;
  source.on_content = [&](std::string&) -> Result<> {
    std::call_once(once, [&] { fill(4 << 20); });
    return {};
  };
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::no_space);
  EXPECT_THAT(receipt.error().message, testing::AllOf(HasSubstr("file"), HasSubstr("No space left on device")));
  fs::remove(filler());
  receive_all();
}

TEST_F(RealFailures, TooFewInodesAreToldBeforeAnyContent) {
  use(ext4(), {"mkfs.ext4 -q -N 64", "16M"});
  for (int i = 0; i < 100; ++i) write(source_ / std::to_string(i), "x");
  expect_refusal(Code::no_space, HasSubstr("too few inodes in " + staging_.string()));
}

TEST_F(RealFailures, TooFewInodesForWhatHasNoContentAreCalledThat) {
  use(ext4(), {"mkfs.ext4 -q -N 64", "16M"});
  for (int i = 0; i < 100; ++i) fs::create_directory(source_ / std::to_string(i));
  expect_refusal(Code::no_space, HasSubstr("too few inodes in " + staging_.string()));
  EXPECT_TRUE(fs::is_empty(staging_));
}

/// After it told an error the kernel takes pages that it could not write for written ones and may drop them, and the
/// next syncfs(2) says nothing: what was not durable before must be fetched again.
class LostPages : public TwoFileSystems {
 protected:
  /// Fails one sync of the destination, and loses what is in staging.
  auto fail_one_sync() {
    return [this](const test::Call& call) {
      if (call.name != "syncfs" || call.place.starts_with(source_.string()) || failed_) return 0;
      for (const auto& entry : fs::directory_iterator(staging_)) lose(entry.path());
      failed_ = true;
      return EIO;
    };
  }
  std::atomic<bool> failed_{false};

 private:
  /// Makes zeros of the content, and nothing else.
  static void lose(const fs::path& path) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    struct stat info {};
    ASSERT_EQ(::fstat(file.get(), &info), 0);
    const std::string zeros(static_cast<std::size_t>(info.st_size), '\0');
    ASSERT_EQ(::pwrite(file.get(), zeros.data(), zeros.size(), 0), info.st_size);
    test::set_mtime(path, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
};

TEST_F(LostPages, AreFetchedAgainAfterASyncFailed) {
  use(ext4(), tmpfs());
  for (const char* name : {"a", "b"}) write(source_ / name, std::string(100'000, 'x'));
  let_ctimes_settle();
  {
    auto source = open_source();
    const test::InterceptedCalls calls(fail_one_sync());
    EXPECT_FALSE(receive(source));
  }
  ASSERT_TRUE(failed_);
  receive_all();
}

TEST_F(LostPages, AreFetchedAgainWhenTheSourceWentAwayBeforeTheSyncFailed) {
  use({"mkfs.ext4 -q -b 4096", "256M"}, {"", "256m"});
  for (const char* name : {"a", "b", "c", "d"}) write(source_ / name, std::string(40U << 20, 'x'));
  let_ctimes_settle();
  {
    auto source = open_source();
    std::atomic<std::thread::id> first{};  // connection; the second one fails
    std::atomic<std::uint64_t> bytes{0};
    source.on_content = [&](std::string& piece) -> Result<> {
      std::thread::id nobody;
      if (!first.compare_exchange_strong(nobody, std::this_thread::get_id()) && nobody != std::this_thread::get_id())
        return fail(Code::unavailable, "cut");
      bytes += piece.size();
      const Deadline deadline = after(std::chrono::seconds(10));
      while (bytes > (70U << 20) && !failed_ && SteadyClock::now() < deadline) ::usleep(1000);
      return {};
    };
    const test::InterceptedCalls calls(fail_one_sync());
    EXPECT_FALSE(receive(source));
  }
  ASSERT_TRUE(failed_);
  receive_all();
}

TEST_F(LostPages, AreNotKeptByARoundThatIsRepeated) {
  use({"mkfs.ext4 -q -b 4096", "256M"}, {"", "256m"});
  for (const char* name : {"a", "b", "c"}) write(source_ / name, std::string(40U << 20, 'x'));
  let_ctimes_settle();
  options_.connections = 1;
  {
    auto source = open_source();
    std::uint64_t bytes = 0;
    source.on_content = [&](std::string& piece) -> Result<> {
      bytes += piece.size();
      const Deadline deadline = after(std::chrono::seconds(10));
      while (bytes > (70U << 20) && !failed_ && SteadyClock::now() < deadline) ::usleep(1000);
      if (!failed_) return {};
      return fail(Code::busy, "it grows");
    };
    const test::InterceptedCalls calls(fail_one_sync());
    const auto receipt = receive(source);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
    EXPECT_EQ(progress_.round, 1U);
  }
  receive_all();
}

// The descriptor of the next attempt may not be told, if somebody else's has been.
TEST_F(LostPages, AreLookedForBeforeTheAttemptEnds) {
  use(ext4(), tmpfs());
  for (const char* name : {"a", "b"}) write(source_ / name, std::string(100'000, 'x'));
  let_ctimes_settle();
  options_.connections = 1;
  {
    auto source = open_source();
    source.on_seal = [] { return fail(Code::unavailable, "cut"); };
    const test::InterceptedCalls calls(fail_one_sync());
    const auto receipt = receive(source);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
  }
  receive_all();
}

// The same with a disk that really cannot take what is written: an image that is larger than the memory it is in.
TEST_F(LostPages, AreFetchedAgainOnceTheDiskTakesThem) {
  const auto memory = test::PrivateMount::tmpfs(images_ / "thin", "size=6m");
  const auto mount = test::PrivateMount::made_by("mkfs.ext4 -q -b 4096 -O ^has_journal -E nodiscard", "64M",
                                                 images_ / "thin" / "image", staging_);
  fs::remove(staging_ / "lost+found");
  for (int i = 0; i < 12; ++i) write(source_ / std::to_string(i), std::string(1 << 20, static_cast<char>('a' + i)));
  let_ctimes_settle();
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_FALSE(receipt) << "the disk took all";
  EXPECT_THAT(receipt.error().message, HasSubstr("sync " + staging_.string()));
  ASSERT_EQ(::mount("test", memory.path().c_str(), "tmpfs", MS_REMOUNT, "size=200m"), 0);
  auto again = open_source();
  const auto completed = receive(again);
  ASSERT_TRUE(completed) << completed.error().message;
  ASSERT_EQ(std::system("echo 3 >/proc/sys/vm/drop_caches"), 0);
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
}

}  // namespace
}  // namespace ferry::sync
