#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/files.h"
#include "support/full_tree.h"
#include "support/mounts.h"
#include "sync/migration_fixture.h"
#include "sync/plan.h"

namespace ferry::sync {

/// Two hosts with a volume each, which is copied and updated to and fro.
class TwoHosts : public MigrationTest {
 protected:
  struct Host {
    std::string uuid;
    fs::path volume;
    fs::path data() const { return volume / "data"; }
    fs::path update() const { return volume / "update"; }
    fs::path journal() const { return volume / "journal"; }
    fs::path baseline() const { return volume / "baseline"; }
  };

  void start_again() {
    for (const auto& host : {a_, b_}) {
      ASSERT_TRUE(remove_tree(host.volume));
      fs::create_directories(host.data());
    }
  }

  static test::LocalSource open(const Host& host) {
    auto baseline = read_baseline(host.baseline());
    return test::LocalSource(*open_at(AT_FDCWD, host.data().string(), O_RDONLY | O_DIRECTORY), host.uuid,
                             baseline ? std::make_shared<const Baseline>(std::move(*baseline)) : nullptr);
  }

  Result<Receipt> import(Source& source, const Host& to) {
    progress_.bytes_sent = 0;
    options_.update.reset();
    options_.baseline = to.baseline();
    auto receipt = Receiver(source, to.data(), to.journal(), options_, progress_, cancelled_).run();
    if (receipt) fs::remove(to.journal());
    return receipt;
  }

  /// Receives the update; apply() makes it so.
  Result<Receipt> receive_update(Source& source, const Host& to, Replace replace = Replace::refuse) {
    progress_.bytes_sent = 0;
    const UpdatePaths paths(to.update());
    for (const auto& path : {paths.content, paths.gone}) fs::create_directories(path);
    options_.update = UpdateOf{to.data(), to.uuid, replace};
    options_.baseline = to.baseline();
    return Receiver(source, to.update(), to.journal(), options_, progress_, cancelled_).run();
  }

  static Result<> apply(const Host& to) {
    if (fs::exists(UpdatePaths(to.update()).plan))  // else nothing differs
      FERRY_TRY(apply_plan(to.update(), to.data(), to.baseline()));
    FERRY_TRY(remove_tree(to.update()));
    return remove_tree(to.journal());
  }

  void copy(const Host& from, const Host& to) {
    auto source = open(from);
    const auto receipt = import(source, to);
    ASSERT_TRUE(receipt) << receipt.error().message;
    expect_equal(from, to);
  }

  void update(const Host& from, const Host& to, Replace replace = Replace::refuse) {
    auto source = open(from);
    const auto receipt = receive_update(source, to, replace);
    ASSERT_TRUE(receipt) << receipt.error().message;
    const auto applied = apply(to);
    ASSERT_TRUE(applied) << applied.error().message;
    expect_equal(from, to);
    digest_ = receipt->digest;
  }

  static void expect_equal(const Host& from, const Host& to) {
    ASSERT_EQ(test::tree_difference(from.data(), to.data()), "");
  }

  /// That of a copy that begins with nothing.
  std::string digest_of_fresh_copy(const Host& from) {
    const Host fresh{"fresh", a_.volume.parent_path() / "fresh"};
    fs::create_directories(fresh.data());
    auto source = open(from);
    const auto receipt = import(source, fresh);
    EXPECT_TRUE(remove_tree(fresh.volume));
    return receipt ? receipt->digest : receipt.error().message;
  }

  static void keeping_mtime(const fs::path& path, const std::function<void()>& change) {
    struct stat before {};
    ASSERT_EQ(::stat(path.c_str(), &before), 0);
    change();
    const timespec times[] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  static void exchange(const fs::path& one, const fs::path& other) {
    ASSERT_EQ(::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE), 0);
  }

  static void write_at(const fs::path& path, off_t offset, const std::string& bytes) {
    const Fd file = *open_at(AT_FDCWD, path.string(), O_WRONLY);
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  }

  Host a_{"a", {}};
  Host b_{"b", {}};
  std::string digest_;
};

/// Both on one disk.
class UpdateTest : public TwoHosts {
 protected:
  explicit UpdateTest(const std::string& size = "3G") : disk_(size) {
    a_.volume = disk_.path() / "a";
    b_.volume = disk_.path() / "b";
  }
  void SetUp() override { start_again(); }

  /// A new version in which something of each kind has changed.
  void make_versions() {
    start_again();
    const auto root = a_.data();
    write(root / "patched", std::string(100'000, 'p'));
    write(root / "grows", std::string(10'000, 'g'));
    write(root / "same", "same");
    fs::create_hard_link(root / "same", root / "same-link");
    fs::create_directories(root / "directory" / "sub");
    write(root / "directory" / "file", "f");
    write(root / "kind", "file");
    fs::create_symlink("one", root / "symlink");
    write(root / "gone", "gone");
    copy(a_, b_);
    let_ctimes_settle();
    write_at(root / "patched", 50'000, "changed");
    write(root / "grows", std::string(30'000, 'G'));
    write(root / "new", std::string(5000, 'n'));
    fs::remove(root / "kind");
    fs::create_directory(root / "kind");
    write(root / "kind" / "x", "x");
    fs::remove(root / "symlink");
    fs::create_symlink("two", root / "symlink");
    fs::remove(root / "gone");
    fs::rename(root / "directory" / "file", root / "directory" / "renamed");
    fs::create_hard_link(root / "same", root / "directory" / "third");
    test::set_xattr(root / "same", "user.x", "1");
    ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0600), 0);
    let_ctimes_settle();
    const UpdatePaths paths(b_.update());  // not by a call that fails
    for (const auto& path : {paths.content, paths.gone}) fs::create_directories(path);
  }

  /// After an update in which calls failed: its source is what it was, and the volume the old version or, once the
  /// update was received again if need be, the new one.
  void expect_old_or_new(const test::TreeSnapshot& source, const test::TreeSnapshot& old, Result<Receipt> receipt) {
    EXPECT_EQ(source.difference(test::TreeSnapshot(a_.data())), "");
    if (!receipt) {
      EXPECT_EQ(old.difference(test::TreeSnapshot(b_.data())), "");
      auto again = open(a_);
      receipt = receive_update(again, b_);
      ASSERT_TRUE(receipt) << receipt.error().message;
    }
    const auto applied = apply(b_);
    ASSERT_TRUE(applied) << applied.error().message;
    ASSERT_EQ(source.difference(test::TreeSnapshot(b_.data())), "");
  }

  const test::MemoryDisk disk_;
};

}  // namespace ferry::sync
