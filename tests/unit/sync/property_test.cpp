#include "support/cases.h"
#include "support/mounts.h"
#include "support/seed.h"
#include "sync/migration_fixture.h"
#include "sync/random_tree.h"

namespace ferry::sync {
namespace {

/// Migrations of trees that change, over connections that break, at places that a seed decides.
class PropertyTest : public MigrationTest {
 protected:
  enum class Change { allowed, none };

  /// Starts with an empty source and staging, as a new import does.
  void start_again() {
    for (const auto& path : {source_, staging_, journal_}) ASSERT_TRUE(remove_tree(path));
    SetUp();
  }

  /// An attempt that may break anywhere and during which the source may change.
  void attempt(test::Random& random, test::RandomTree& tree, Change change = Change::allowed) {
    auto source = open_source();
    source.piece = 1 + random.below(300'000);
    options_.connections = static_cast<unsigned>(1 + random.below(4));
    options_.rounds = static_cast<unsigned>(1 + random.below(3));
    options_.writers = random.one_in(2) ? Writers::allowed : Writers::none;
    std::atomic<std::int64_t> left =
        random.one_in(3) ? INT64_MAX : static_cast<std::int64_t>(random.below(random.one_in(2) ? 40'000 : 8 << 20));
    const auto cut = [&left](std::string& bytes) -> Result<> {
      left -= static_cast<std::int64_t>(bytes.size());
      if (left < 0) return fail(Code::unavailable, "cut");
      return {};
    };
    source.on_manifest = cut;
    source.on_content = cut;
    if (change == Change::allowed && random.one_in(3))
      source.after_manifest = [&] { tree.change(1 + random.below(4)); };
    if (random.one_in(4)) source.on_seal = [] { return Result<>(fail(Code::unavailable, "cut before the seal")); };
    const auto receipt = receive(source);
    const bool expected = receipt || receipt.error().code == Code::unavailable || receipt.error().code == Code::busy;
    EXPECT_TRUE(expected) << receipt.error().message;
  }

  /// Two directories change places and, after an attempt, change back: every file is again what it was in the
  /// beginning.
  void there_and_back(test::Random& random, test::RandomTree& tree) {
    let_ctimes_settle();
    finish(random);
    tree.exchange_directories();
    attempt(random, tree, Change::none);
    tree.exchange_directories();
  }

  /// What the source is now becomes known as another volume of the destination, which may then be written to.
  void make_neighbour(test::Random& random) {
    const fs::path neighbour = staging_.parent_path() / "neighbour";
    ASSERT_TRUE(remove_tree(neighbour));
    fs::create_directories(neighbour / "data");
    ReceiverOptions options;
    options.baseline = neighbour / "baseline";
    auto source = open_source();
    const auto receipt =
        Receiver(source, neighbour / "data", neighbour / "journal", options, progress_, cancelled_).run();
    ASSERT_TRUE(receipt) << receipt.error().message;
    test::RandomTree(neighbour / "data", random).change(random.below(20));
    options_.neighbours = {{neighbour / "data", index_of(options.baseline)}};
  }

  void finish(test::Random& random) {
    auto source = open_source();
    source.piece = 1 + random.below(300'000);
    const auto neighbours = options_.neighbours;
    options_ = {};
    options_.neighbours = neighbours;
    options_.compression = static_cast<Compression>(random.below(3));
    options_.connections = static_cast<unsigned>(1 + random.below(4));
    const auto receipt = receive(source);
    ASSERT_TRUE(receipt) << receipt.error().message;
    EXPECT_EQ(receipt->changed, 0U);
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
  }
};

TEST_F(PropertyTest, WhateverHappensTheLastAttemptIsEqual) {
  const test::MemoryDisk disk("3G");
  test::run_cases(2000, disk.path(), [&](test::Random& random, const fs::path& directory) {
    source_ = directory / "source";
    staging_ = directory / "staging";
    journal_ = directory / "journal";
    start_again();
    test::RandomTree tree(source_, random);
    tree.change(5 + random.below(60));
    options_ = {};
    if (random.one_in(2)) make_neighbour(random);
    for (std::size_t attempts = random.below(5); attempts > 0; --attempts) {
      if (random.one_in(2)) let_ctimes_settle();
      attempt(random, tree);
      tree.change(random.below(12));
    }
    if (random.one_in(2)) there_and_back(random, tree);
    finish(random);
  });
}

TEST_F(PropertyTest, AfterAnInterruptionLittleIsSentAgain) {
  const std::uint64_t seed = test::seed();
  SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(seed));
  test::Random random(seed);
  constexpr std::uint64_t noted = 17U << 20;  // of a large file at most this much is written without a note
  for (int number = 0; number < 4; ++number) {
    start_again();
    std::uint64_t total = 0;
    for (int i = 0; i < 20; ++i) {
      const std::size_t size = random.one_in(6) ? 40 << 20 : random.below(2 << 20);
      write(source_ / std::to_string(i), std::string(size, static_cast<char>('a' + i)));
      total += size;
    }
    let_ctimes_settle();
    options_.connections = static_cast<unsigned>(1 + random.below(3));
    const std::uint64_t first = random.below(total);
    receive_until(first);
    receive_all();
    const std::uint64_t bound = total - first + options_.connections * noted + total / 100;
    EXPECT_LE(sent(), bound) << "of " << total << " bytes, cut after " << first;
  }
}

}  // namespace
}  // namespace ferry::sync
