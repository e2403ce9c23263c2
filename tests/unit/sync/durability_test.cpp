#include <unistd.h>

#include "base/time.h"
#include "support/intercepted_calls.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

using Durability = MigrationTest;

// syncfs(2) tells an error of the writeback to one caller, once.
TEST_F(Durability, AWritebackErrorThatIsToldOnceFailsTheImport) {
  write(source_ / "file", std::string(80U << 20, 'x'));  // more than what is made durable at a time
  let_ctimes_settle();
  std::atomic<bool> failed{false};
  const test::InterceptedCalls calls([&](const test::Call& call) {
    return call.name == "syncfs" && call.place == fs::canonical(staging_) && !failed.exchange(true) ? EIO : 0;
  });
  auto source = open_source();
  std::atomic<std::uint64_t> sent{0};
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
