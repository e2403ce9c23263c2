#include <cstdlib>

#include "support/full_tree.h"
#include "support/mounts.h"
#include "support/seed.h"
#include "sync/migration_fixture.h"
#include "sync/plan.h"

namespace ferry::sync {
namespace {

/// Runs tests/unit/peer, which knows docs/protocol.md and nothing of this code; `more` are redirections.
std::string peer(const std::string& arguments, const fs::path& scratch, const std::string& more = "") {
  const std::string out = (scratch / "output").string();
  const std::string command = "PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 '" FERRY_UNIT_TESTS "/peer' " + arguments +
                              " " + more + " >'" + out + "'";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return read_file(out, SIZE_MAX).value_or("");
}

/// The other implementation as a sender.
class PeerSource : public Source {
 public:
  PeerSource(fs::path tree, fs::path scratch) : tree_(std::move(tree)), scratch_(std::move(scratch)) {}

  Result<> manifest(const ByteSink& sink) override {
    const std::string bytes = peer("manifest '" + tree_.string() + "'", scratch_);
    std::ofstream(manifest_path(), std::ios::binary) << bytes;
    return sink(bytes);
  }
  Result<> content(const std::string& wants, const ByteSink& sink) override {
    std::ofstream(scratch_ / "wants", std::ios::binary) << wants;
    return sink(peer("content" + of_tree(), scratch_, "<'" + (scratch_ / "wants").string() + "'"));
  }
  Result<Seal> seal(bool unchanged) override {
    return Seal{unchanged ? 0 : std::stoull(peer("changed" + of_tree(), scratch_)), {}, "idle", ""};
  }
  std::string digest() const { return peer("digest" + of_tree(), scratch_); }
  fs::path manifest_path() const { return scratch_ / "manifest"; }

 private:
  std::string of_tree() const { return " '" + tree_.string() + "' '" + manifest_path().string() + "'"; }

  const fs::path tree_;
  const fs::path scratch_;
};

/// docs/protocol.md is enough to write a peer.
class IndependentPeer : public MigrationTest {
 protected:
  void SetUp() override {
    for (const auto& path : {source_, staging_, scratch_}) fs::create_directories(path);
    options_.connections = 1;
    test::FullTree tree(source_);
    write(source_ / "several extents", random_.bytes(17 << 20));
    write(source_ / "pages", random_.bytes(1'000'000));
    test::write_islands(source_ / "sparse", 40 << 20, {0, 5 << 20, 33 << 20});
    ASSERT_EQ(::mknod((source_ / "socket").c_str(), S_IFSOCK | 0600, 0), 0);
    let_ctimes_settle();
  }

  static void overwrite(const fs::path& path, off_t offset, const std::string& bytes) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  }

  /// In pages, a hole, and what is behind the end of the old version.
  void change_source() {
    overwrite(source_ / "pages", 500'000, "changed");
    overwrite(source_ / "several extents", (16 << 20) + 5, "changed");
    overwrite(source_ / "pages", 1'000'500, "longer");
    const Fd file = *open_at(AT_FDCWD, (source_ / "several extents").string(), O_RDWR);
    ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 << 20, 1 << 20), 0);
    ASSERT_EQ(::ftruncate(file.get(), (17 << 20) - 1000), 0);
    let_ctimes_settle();
  }

  /// What the sender says of the tree, in the manifest's file, and what it answers to the other implementation's wants,
  /// which makes `to` of that and `from`; the tree's digest.
  std::string send_to_peer(Sender& sender, const fs::path& from, const fs::path& to, Compression compression) {
    const std::string manifest = "'" + (scratch_ / "manifest").string() + "' ";
    std::ofstream(scratch_ / "manifest", std::ios::binary) << all_of(*sender.manifest());
    const std::string old = "'" + from.string() + "' ";
    const std::string wants =
        peer("wants " + manifest + old + "4711 " + std::to_string(static_cast<int>(compression)), scratch_);
    const auto content = sender.content(wants);
    EXPECT_TRUE(content) << content.error().message;
    const std::string frames = all_of(**content);
    sent_ = frames.size();
    std::ofstream(scratch_ / "frames", std::ios::binary) << frames;
    fs::create_directory(to);
    return peer("receive " + manifest + "4711 " + old + "'" + to.string() + "'", scratch_,
                "<'" + (scratch_ / "frames").string() + "'");
  }

  static std::string all_of(ByteSource& source) {
    std::string bytes;
    while (source.next(bytes)) {
    }
    return bytes;
  }

  test::SeededRandom random_;
  const test::MemoryDisk disk_{"1G"};
  const fs::path scratch_ = directory_ / "scratch";
  std::uint64_t sent_ = 0;

  IndependentPeer() {
    source_ = disk_.path() / "source";
    staging_ = disk_.path() / "staging";
  }
};

TEST_F(IndependentPeer, SendsATreeAndItsChanges) {
  PeerSource source(source_, scratch_);
  options_.baseline = directory_ / "baseline";
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
  EXPECT_EQ(receipt->digest + "\n", source.digest());
  EXPECT_THAT(receipt->warnings, testing::ElementsAre(testing::HasSubstr("1 sockets")));

  change_source();
  const fs::path update = disk_.path() / "update";
  const UpdatePaths paths(update);
  for (const auto& path : {paths.content, paths.gone}) fs::create_directories(path);
  options_.update = UpdateOf{staging_, "ferry", Replace::refuse};
  progress_.bytes_sent = 0;
  const auto updated = Receiver(source, update, directory_ / "journal2", options_, progress_, cancelled_).run();
  ASSERT_TRUE(updated) << updated.error().message;
  EXPECT_LT(sent(), 60'000U);
  ASSERT_TRUE(apply_plan(update, staging_, options_.baseline));
  EXPECT_EQ(test::tree_difference(source_, staging_), "");
  EXPECT_EQ(updated->digest + "\n", source.digest());
}

TEST_F(IndependentPeer, ReceivesATreeAndItsChanges) {
  Sender sender(*open_at(AT_FDCWD, source_.string(), O_RDONLY | O_DIRECTORY), {"host", "lineage"});
  const fs::path first = disk_.path() / "first";
  const std::string digest = send_to_peer(sender, disk_.path() / "none", first, Compression::zstd);
  EXPECT_EQ(test::tree_difference(source_, first), "");
  auto source = open_source();
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(digest, receipt->digest + "\n");

  change_source();
  const fs::path second = disk_.path() / "second";
  send_to_peer(sender, first, second, Compression::none);
  EXPECT_LT(sent_, 60'000U);
  EXPECT_EQ(test::tree_difference(source_, second), "");
}

TEST_F(IndependentPeer, KnowsWhatACopySaysOfItsOrigin) {
  PeerSource source(source_, scratch_);
  options_.baseline = directory_ / "baseline";
  const auto receipt = receive(source);
  ASSERT_TRUE(receipt) << receipt.error().message;
  const std::string stamp = peer("stamp '" + source.manifest_path().string() + "'", scratch_);
  overwrite(staging_ / "pages", 0, "no copy any more");
  auto baseline = read_baseline(options_.baseline);
  ASSERT_TRUE(baseline) << baseline.error().message;
  Sender copy(*open_at(AT_FDCWD, staging_.string(), O_RDONLY | O_DIRECTORY), {"host", "lineage"},
              std::make_shared<const Baseline>(std::move(*baseline)));
  std::ofstream(scratch_ / "copy", std::ios::binary) << all_of(*copy.manifest());
  const std::string said = peer("origins '" + (scratch_ / "copy").string() + "' '" + staging_.string() + "'", scratch_);
  EXPECT_EQ(said, std::to_string(receipt->files - 1) + " python " + stamp);
}

}  // namespace
}  // namespace ferry::sync
