#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "sync/update_fixture.h"
#include "sync/version.h"

namespace ferry::sync {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// What an administrator does at the destination while an update is received or applied.
class WrittenMeanwhile : public UpdateTest {
 protected:
  void SetUp() override {
    UpdateTest::SetUp();
    for (const char* name : {"kept", "patched", "gone", "linked"}) write(a_.data() / name, std::string(20'000, 'x'));
    fs::create_directories(a_.data() / "directory" / "sub");
    write(a_.data() / "directory" / "file", "one");
    fs::create_symlink("kept", a_.data() / "directory" / "symlink");
    let_ctimes_settle();
    copy(a_, b_);
    let_ctimes_settle();
    write_at(a_.data() / "patched", 0, "changed");
    fs::remove(a_.data() / "gone");
    fs::create_hard_link(a_.data() / "linked", a_.data() / "other-name");
    let_ctimes_settle();
  }

  /// Received, and `change` happens before it is decided upon.
  std::string written(const std::function<void(const fs::path& data)>& change) {
    auto source = open(a_);
    const auto receipt = receive_update(source, b_);
    if (!receipt || !receipt->before) return "not received";
    EXPECT_EQ(*receipt->before->written(), "");
    change(b_.data());
    return *receipt->before->written();
  }

  /// Whether the next update finds that somebody has changed it.
  std::string refusal() {
    auto source = open(a_);
    const auto receipt = receive_update(source, b_);
    return receipt ? "" : receipt.error().message;
  }
};

TEST_F(WrittenMeanwhile, IsFoundBeforeItIsDecided) {
  const auto add = [](const fs::path& data) { write(data / "directory" / "sub" / "new", "new"); };
  EXPECT_THAT(written(add), HasSubstr("sub"));
  const std::vector<std::pair<std::function<void(const fs::path&)>, std::string>> changes = {
      {[](const fs::path& data) { write_at(data / "kept", 5, "edited"); }, "kept"},
      {[](const fs::path& data) { write_at(data / "patched", 9000, "edited"); }, "patched"},
      {[](const fs::path& data) { write_at(data / "gone", 5, "edited"); }, "gone"},
      {[](const fs::path& data) { fs::remove(data / "directory" / "file"); }, "file"},
      {[](const fs::path& data) { keeping_mtime(data / "kept", [&] { write_at(data / "kept", 0, "y"); }); }, "kept"},
      {[](const fs::path& data) { write(data / "new", "new"); }, "root"},
      {[](const fs::path& data) { ASSERT_EQ(::chmod((data / "directory").c_str(), 0700), 0); }, "directory"},
      {[](const fs::path& data) { ASSERT_EQ(::lchown((data / "directory" / "symlink").c_str(), 1, 1), 0); }, "symlink"},
      {[](const fs::path& data) { exchange(data / "directory", data / "kept"); }, "kept"},
  };
  for (const auto& [change, name] : changes) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(remove_tree(b_.update()));
    update(a_, b_, Replace::allowed);
    let_ctimes_settle();
    write_at(a_.data() / "patched", 0, "again " + name);
    write(a_.data() / "gone", "back");
    let_ctimes_settle();
    update(a_, b_, Replace::allowed);
    let_ctimes_settle();
    fs::remove(a_.data() / "gone");
    write_at(a_.data() / "patched", 0, "more " + name);
    let_ctimes_settle();
    EXPECT_THAT(written(change), HasSubstr(name));
  }
}

// Right after the volume was written to, when the next write may have the same ctime.
TEST_F(WrittenMeanwhile, IsFoundHoweverSoon) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    write_at(b_.data() / "kept", 0, std::to_string(attempt));
    const auto version = Version::look(b_.data(), b_.baseline(), b_.uuid);
    ASSERT_TRUE(version);
    write_at(b_.data() / "kept", 0, "x");
    EXPECT_THAT(*version->written(), HasSubstr("kept"));
  }
}

TEST_F(WrittenMeanwhile, NothingIsToBeFoundIfNothingIsOverwritten) {
  update(a_, b_);
  let_ctimes_settle();
  update(a_, b_);
  auto source = open(a_);
  const auto receipt = receive_update(source, b_);
  ASSERT_TRUE(receipt);
  EXPECT_FALSE(receipt->before);
}

// Once it is decided it becomes the new version; but what was kept is recorded as it was looked at.
TEST_F(WrittenMeanwhile, IsFoundByTheNextUpdateIfItCameAfterTheDecision) {
  const std::vector<std::pair<std::function<void(const fs::path&)>, std::string>> changes = {
      {[](const fs::path& data) { write_at(data / "kept", 5, "edited"); }, "kept"},
      {[](const fs::path& data) { write_at(data / "linked", 5, "edited"); }, "linked"},
      {[](const fs::path& data) { write(data / "directory" / "new", "new"); }, "new"},
      {[](const fs::path& data) { write(data / "directory" / "sub" / "new", "new"); }, "sub"},
      {[](const fs::path& data) { fs::remove(data / "directory" / "file"); }, "file"},
  };
  for (const auto& [change, name] : changes) {
    SCOPED_TRACE(name);
    write(a_.data() / "directory" / ("of-" + name), name);  // so that the directory changes, and sub does not
    fs::remove(a_.data() / "other-name");
    fs::create_hard_link(a_.data() / "linked", a_.data() / "other-name");
    let_ctimes_settle();
    auto source = open(a_);
    ASSERT_TRUE(receive_update(source, b_));
    change(b_.data());
    const auto applied = apply(b_);
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_THAT(refusal(), HasSubstr(name));
    update(a_, b_, Replace::allowed);
    let_ctimes_settle();
    EXPECT_THAT(refusal(), IsEmpty());
    ASSERT_TRUE(remove_tree(b_.update()));
  }
}

}  // namespace
}  // namespace ferry::sync
