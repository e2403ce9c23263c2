#include "transport/send_buffer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "base/fd.h"

namespace ferry::transport {
namespace {

constexpr std::size_t limit = 4U << 20;

class SendBufferTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    near_ = Fd(ends[0]);
    far_ = Fd(ends[1]);
  }

  ssize_t send(const std::string& text) { return buffer_.send(near_.get(), text); }

  /// Of what has arrived by now, 60,000 bytes at most.
  std::string received() const {
    std::string part(60'000, 0);
    const ssize_t n = ::recv(far_.get(), part.data(), part.size(), 0);
    part.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return part;
  }

  Fd near_;
  Fd far_;
  SendBuffer buffer_{limit};
};

TEST_F(SendBufferTest, KeepsNothingWhileTheSocketTakesIt) {
  EXPECT_EQ(send("one"), 3);
  EXPECT_TRUE(buffer_.empty());
  EXPECT_EQ(buffer_.flush(near_.get()), 0);
  EXPECT_EQ(received(), "one");
}

TEST_F(SendBufferTest, KeepsTheRestInItsOrder) {
  std::string all, got;
  for (int i = 0; i < 200; ++i) {
    const std::string text = std::to_string(i) + std::string(30'000, static_cast<char>('a' + i % 26));
    ASSERT_EQ(send(text), static_cast<ssize_t>(text.size())) << i;
    all += text;
    if (i % 3 == 0) got += received();  // less than was sent, so that something waits all the time
  }
  EXPECT_FALSE(buffer_.empty());
  for (std::string more = received(); !more.empty(); more = received()) {
    got += more;
    ASSERT_EQ(buffer_.flush(near_.get()), 0);
  }
  EXPECT_TRUE(buffer_.empty());
  EXPECT_EQ(got, all);
}

TEST_F(SendBufferTest, ItsLimitIsAnError) {
  const std::string half(limit / 2, 'x');
  EXPECT_EQ(send(half), static_cast<ssize_t>(half.size()));
  EXPECT_EQ(send(half), static_cast<ssize_t>(half.size()));
  EXPECT_EQ(send(half), -ENOBUFS);
}

TEST_F(SendBufferTest, ABrokenConnectionIsAnError) {
  const std::string much(1U << 20, 'x');
  ASSERT_EQ(send(much), static_cast<ssize_t>(much.size()));
  ASSERT_FALSE(buffer_.empty());
  far_ = Fd();
  EXPECT_EQ(buffer_.flush(near_.get()), -EPIPE);
  EXPECT_EQ(send("more"), -EPIPE);
}

}  // namespace
}  // namespace ferry::transport
