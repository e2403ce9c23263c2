#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"
#include "sync/migration_fixture.h"

namespace {

std::function<bool(int)>& sync_fails() {
  static std::function<bool(int)> hook = [](int) { return false; };
  return hook;
}

}  // namespace

/// Stands before the C library's.
extern "C" int syncfs(int fd) noexcept {
  if (!sync_fails()(fd)) return static_cast<int>(::syscall(SYS_syncfs, fd));
  errno = EIO;
  return -1;
}

namespace ferry::sync {
namespace {

class Durability : public MigrationTest {
 protected:
  void TearDown() override {
    sync_fails() = [](int) { return false; };
  }

  bool is_staging(int fd) const {
    std::error_code error;
    return fs::read_symlink("/proc/self/fd/" + std::to_string(fd), error) == fs::canonical(staging_);
  }
};

// syncfs(2) tells an error of the writeback to one caller, once.
TEST_F(Durability, AWritebackErrorThatIsToldOnceFailsTheImport) {
  write(source_ / "file", std::string(80U << 20, 'x'));  // more than what is made durable at a time
  let_ctimes_settle();
  std::atomic<bool> failed{false};
  sync_fails() = [&](int fd) { return is_staging(fd) && !failed.exchange(true); };
  auto source = open_source();
  std::uint64_t sent = 0;
  source.on_content = [&](std::string& piece) -> Result<> {
    sent += piece.size();
    const Deadline deadline = after(std::chrono::seconds(20));
    while (sent > (70U << 20) && !failed && SteadyClock::now() < deadline) ::usleep(1000);
    return {};
  };
  const auto receipt = receive(source);
  EXPECT_TRUE(failed);
  ASSERT_FALSE(receipt);
  EXPECT_EQ(receipt.error().code, Code::io) << receipt.error().message;
}

}  // namespace
}  // namespace ferry::sync
