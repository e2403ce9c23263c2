#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "support/cases.h"
#include "support/intercepted_calls.h"
#include "sync/random_tree.h"
#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

/// What stat(2) tells of the regular files of a tree, by path.
struct Seen {
  ino_t inode;
  off_t size;
  std::int64_t ctime_ns;
  bool operator==(const Seen&) const = default;
};
using Files = std::map<std::string, Seen>;

Files files_of(const fs::path& root) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    files[entry.path().lexically_relative(root)] = {info.st_ino, info.st_size,
                                                    info.st_ctim.tv_sec * 1'000'000'000LL + info.st_ctim.tv_nsec};
  }
  return files;
}

/// How much an update may send that knows nothing but stat(2): files that look otherwise, and the manifest.
std::uint64_t most_to_send(const fs::path& root, const Files& before) {
  std::uint64_t bytes = 10'000;
  for (const auto& entry : fs::recursive_directory_iterator(root)) bytes += 600 + entry.path().native().size();
  for (const auto& [path, file] : files_of(root)) {
    const auto found = before.find(path);
    if (found == before.end() || found->second != file) bytes += static_cast<std::uint64_t>(file.size) + 100;
  }
  return bytes;
}

/// Versions that follow each other at random, brought to and fro, with interruptions at every stage.
class RandomUpdates : public UpdateTest {
 protected:
  /// It may break, and the source change meanwhile.
  void attempt(test::Random& random, const Host& from, const Host& to, test::RandomTree& tree) {
    auto source = open(from);
    source.piece = 1 + random.below(300'000);
    options_.connections = static_cast<unsigned>(1 + random.below(4));
    std::atomic<std::int64_t> left = static_cast<std::int64_t>(random.below(random.one_in(2) ? 40'000 : 8 << 20));
    source.on_content = source.on_manifest = [&left](std::string& bytes) -> Result<> {
      left -= static_cast<std::int64_t>(bytes.size());
      return left < 0 ? fail(Code::unavailable, "cut") : Result<>();
    };
    options_.rounds = static_cast<unsigned>(1 + random.below(3));
    options_.writers = random.one_in(2) ? Writers::allowed : Writers::none;
    if (random.one_in(3)) source.after_manifest = [&] { tree.change(1 + random.below(4)); };
    const auto receipt = receive_update(source, to);
    const bool expected = receipt || receipt.error().code == Code::unavailable || receipt.error().code == Code::busy;
    EXPECT_TRUE(expected) << receipt.error().message;
  }

  /// In a process that dies before one of the calls by which it applies the update.
  static void apply_in_part(test::Random& random, const Host& to) {
    const std::uint64_t last = random.below(random.one_in(2) ? 10 : 300);
    const pid_t child = ::fork();
    if (child == 0) {
      std::atomic<std::uint64_t> calls{0};
      const test::InterceptedCalls counted([&](const test::Call&) {
        if (calls++ == last) ::_exit(0);
        return 0;
      });
      (void)apply_plan(to.update(), to.data(), to.baseline());
      ::_exit(0);
    }
    ASSERT_GT(child, 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  }
};

TEST_F(RandomUpdates, AlwaysEndInTheNewVersion) {
  test::run_cases(1000, disk_.path(), [&](test::Random& random, const fs::path& directory) {
    a_.volume = directory / "a";
    b_.volume = directory / "b";
    start_again();
    const Host *from = &a_, *to = &b_;
    test::RandomTree trees[] = {test::RandomTree(a_.data(), random), test::RandomTree(b_.data(), random)};
    trees[0].change(5 + random.below(60));
    bool copied_when_settled = random.one_in(2);
    if (copied_when_settled) let_ctimes_settle();
    copy(*from, *to);
    for (std::size_t versions = 1 + random.below(4); versions > 0 && !HasFailure(); --versions) {
      if (random.one_in(3)) std::swap(from, to);
      let_ctimes_settle();  // otherwise a change of the same instant as the copy may look like it
      const auto before = files_of(from->data());
      test::RandomTree& tree = trees[from == &a_ ? 0 : 1];
      tree.change(random.below(30));
      const bool settled = random.one_in(2);
      if (settled) let_ctimes_settle();
      for (std::size_t attempts = random.below(3); attempts > 0; --attempts) attempt(random, *from, *to, tree);
      if (settled) let_ctimes_settle();
      auto source = open(*from);
      options_ = {};
      options_.compression = static_cast<Compression>(random.below(3));
      const auto receipt = receive_update(source, *to);
      ASSERT_TRUE(receipt) << receipt.error().message;
      if (settled && copied_when_settled) {
        EXPECT_LE(sent(), most_to_send(from->data(), before));
      }
      copied_when_settled = settled;
      for (std::size_t crashes = random.below(3); crashes > 0; --crashes) apply_in_part(random, *to);
      const auto applied = apply(*to);
      ASSERT_TRUE(applied) << applied.error().message;
      expect_equal(*from, *to);
      if (random.one_in(3)) {
        EXPECT_EQ(receipt->digest, digest_of_fresh_copy(*from));
      }
    }
  });
}

}  // namespace
}  // namespace ferry::sync
