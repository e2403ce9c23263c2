#include "base/memory.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>

#include "support/mounts.h"
#include "support/peak.h"
#include "support/sanitizer.h"
#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

void send_all(int fd, std::string_view bytes) { ASSERT_TRUE(write_all(fd, bytes, "the other process")); }

std::string receive_exactly(int fd, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t at = 0; at < size;) {
    const ssize_t count = ::read(fd, bytes.data() + at, size - at);
    if (count <= 0) ::_exit(2);
    at += static_cast<std::size_t>(count);
  }
  return bytes;
}

void send_number(int fd, std::uint64_t number) {
  send_all(fd, std::string_view(reinterpret_cast<const char*>(&number), sizeof number));
}

std::uint64_t receive_number(int fd) {
  std::uint64_t number = 0;
  const std::string bytes = receive_exactly(fd, sizeof number);
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

enum Request : std::uint64_t { request_manifest, request_content, request_seal, request_end };

/// A Sender in a process of its own, so that its memory can be told from the receiver's.
class SenderProcess : public Source {
 public:
  SenderProcess(const std::string& uuid, const fs::path& data, const fs::path& baseline) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    process_ = ::fork();
    if (process_ == 0) {
      ::close(ends[0]);
      serve(ends[1], uuid, data, baseline);
      ::_exit(0);
    }
    ::close(ends[1]);
    socket_ = Fd(ends[0]);
  }
  ~SenderProcess() override {
    socket_ = Fd();
    ::waitpid(process_, nullptr, 0);
  }

  /// Of an attempt, in KiB. Ends it.
  std::uint64_t peak() {
    send_number(socket_.get(), request_end);
    return receive_number(socket_.get());
  }

  Result<> manifest(const ByteSink& sink) override {
    send_number(socket_.get(), request_manifest);
    return pass_on(sink, false);
  }
  Result<> content(const std::string& wants, const ByteSink& sink) override {
    const std::lock_guard guard(mutex_);
    send_number(socket_.get(), request_content);
    send_number(socket_.get(), wants.size());
    send_all(socket_.get(), wants);
    return pass_on(sink, true);
  }
  Result<Seal> seal(bool unchanged) override {
    if (unchanged) return Seal{0, {}, "idle", ""};
    send_number(socket_.get(), request_seal);
    return Seal{receive_number(socket_.get()), {}, "idle", ""};
  }

  std::uint64_t cut_after = UINT64_MAX;  ///< bytes of content

 private:
  Result<> pass_on(const ByteSink& sink, bool is_content) {
    while (const std::uint64_t size = receive_number(socket_.get())) {
      const std::string bytes = receive_exactly(socket_.get(), size);
      if (is_content) cut_after -= std::min<std::uint64_t>(cut_after, bytes.size());
      if (cut_after == 0) return fail(Code::unavailable, "cut");
      FERRY_TRY(sink(bytes));
    }
    return {};
  }

  static void serve(int socket, const std::string& uuid, const fs::path& data, const fs::path& baseline) {
    const test::Peak peak;
    auto known = read_baseline(baseline);
    Sender sender(*open_at(AT_FDCWD, data.string(), O_RDONLY | O_DIRECTORY), {uuid, ""},
                  known ? std::make_shared<const Baseline>(std::move(*known)) : nullptr);
    const auto send = [&](std::unique_ptr<ByteSource> source) {
      std::string bytes;
      for (bool more = true; more;) {
        more = source->next(bytes);
        if (bytes.size() < (64U << 10) && more) continue;
        if (!bytes.empty()) {
          send_number(socket, bytes.size());
          send_all(socket, bytes);
        }
        bytes.clear();
      }
      send_number(socket, 0);
    };
    while (true) {
      switch (receive_number(socket)) {
        case request_manifest: send(sender.manifest()); break;
        case request_content: send(*sender.content(receive_exactly(socket, receive_number(socket)))); break;
        case request_seal: send_number(socket, sender.seal().changed); break;
        default: return send_number(socket, peak.kib());
      }
    }
  }

  Fd socket_;
  pid_t process_ = 0;
  std::mutex mutex_;
};

/// How much memory many files take, at either end: a part that is there for few files too, and so much for each. Both
/// follow from two numbers of files, as many as a build without optimisation copies in time: a million, which the
/// target is about, divided by 16 and 64, so that what doubles when it grows is as full as it is then.
/// FERRY_TEST_FILES=1000000 tries those, and a quarter.
class Memory : public TwoHosts {
 protected:
  /// Bytes.
  struct Peaks {
    std::uint64_t sender = 0;
    std::uint64_t receiver = 0;
  };
  using PeaksOf = std::map<std::string, Peaks>;  // by what is done

  enum class Kind {
    small,
    labelled,  ///< small, on a host with SELinux
    indexed,   ///< worth to be looked for in other volumes; most of each is a hole
  };

  void SetUp() override {
#ifdef FERRY_TEST_SANITIZED
    GTEST_SKIP() << "a sanitizer takes memory of its own";
#endif
    memory_.emplace(test::PrivateMount::tmpfs(images_.path(), "size=16g"));
  }

  /// On an empty disk.
  PeaksOf measure(std::uint64_t files) {
    files_ = files;
    const std::string image = std::to_string(files);
    // Content of a few bytes stays in the inode.
    const std::uint64_t kib_of_file = kind_ == Kind::indexed ? 20 : 7;  // with its copies
    const auto disk = test::PrivateMount::made_by(
        "mkfs.ext4 -q -b 4096 -I 256 -O inline_data,^has_journal -N " + std::to_string(files * 7 / 2 + 10'000),
        std::to_string(kib_of_file * files + 200'000) + "K", images_ / image, images_ / ("mounted-" + image));
    for (Host* host : {&a_, &b_, &c_}) {
      host->volume = disk.path() / host->uuid;
      fs::create_directories(host->data());
    }
    make_source();
    return kind_ == Kind::indexed ? import_beside_a_copy() : migrate();
  }

  PeaksOf migrate() {
    PeaksOf peaks;
    // Each in a new place: ext4 takes long to find inodes for new files where others have just been removed.
    peaks["an import"] = attempt(c_, Way::import);
    attempt(b_, Way::import, files_ * 25);  // of about 38
    peaks["a resumed import"] = attempt(b_, Way::import);
    let_ctimes_settle();
    peaks["an update of nothing"] = attempt(b_, Way::update);
    for (std::uint64_t i = 0; i < files_; i += 1000)
      write(a_.data() / ("directory-" + std::to_string(i / 1000)) / name(i), "changed");
    let_ctimes_settle();
    peaks["an update of a little"] = attempt(b_, Way::update);
    return peaks;
  }

  PeaksOf import_beside_a_copy() {
    PeaksOf peaks;
    peaks["an import of larger files"] = attempt(b_, Way::import);
    options_.neighbours = {{b_.data(), index_of(b_.baseline())}};
    peaks["an import beside a copy"] = attempt(c_, Way::import);
    options_.neighbours.clear();
    return peaks;
  }

  void make_source() const {
    for (std::uint64_t i = 0; i < files_; ++i) {
      const fs::path directory = a_.data() / ("directory-" + std::to_string(i / 1000));
      if (i % 1000 == 0) fs::create_directory(directory);
      const Fd file = *open_at(AT_FDCWD, (directory / name(i)).string(), O_WRONLY | O_CREAT, 0600);
      ASSERT_EQ(::write(file.get(), "content", 7), 7);
      if (kind_ == Kind::labelled) {
        ASSERT_EQ(::fsetxattr(file.get(), host_label.data(), label, sizeof label, 0), 0);
      }
      if (kind_ == Kind::indexed) {
        ASSERT_EQ(::ftruncate(file.get(), 100 + least_indexed), 0);
      }
    }
    let_ctimes_settle();
  }

  /// As long as those of packages often are.
  static std::string name(std::uint64_t i) { return "some-file-" + std::to_string(i % 1000) + ".js"; }

  /// What other tests have freed would be used again, and not show.
  static void run_alone() {
    const std::string program = fs::read_symlink("/proc/self/exe").string();
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    EXPECT_EQ(std::system(("'" + program + "' --gtest_filter=Memory." + test).c_str()), 0);
  }

  void try_all(Kind kind) {
    if (::testing::UnitTest::GetInstance()->test_to_run_count() > 1) return run_alone();
    kind_ = kind;
    const char* given = std::getenv("FERRY_TEST_FILES");
    const std::uint64_t many = given != nullptr ? std::stoull(given) : million / 16;
    const std::uint64_t few = many / 4;
    auto of_few = measure(few);
    for (const auto& [what, peaks] : measure(many)) {
      expect_bounded(what + ", the sender", few, of_few[what].sender, many, peaks.sender);
      expect_bounded(what + ", the receiver", few, of_few[what].receiver, many, peaks.receiver);
    }
  }

  enum class Way { import, update };

  /// An attempt, in processes of its own; one that is cut has to fail, and has no peaks.
  Peaks attempt(const Host& to, Way way, std::uint64_t cut_after = UINT64_MAX) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      return_large_blocks(large_block * files_ / million);  // what is large for a million is so for fewer
      SenderProcess source(a_.uuid, a_.data(), a_.baseline());
      source.cut_after = cut_after;
      const test::Peak peak;
      auto receipt = way == Way::update ? receive_update(source, to) : import(source, to);
      bool good = receipt.has_value() == (cut_after == UINT64_MAX);
      if (!receipt && good) ::_exit(receipt.error().code == Code::unavailable ? 0 : 1);
      if (!receipt) std::fprintf(stderr, "%s\n", receipt.error().message.c_str());
      if (good) receipt->before.reset();  // by then it is decided
      const auto applied = way == Way::update && good ? apply(to) : Result<>();
      if (!applied) std::fprintf(stderr, "%s\n", applied.error().message.c_str());
      good = good && applied;
      const std::uint64_t own = peak.kib();
      send_number(ends[1], own);
      send_number(ends[1], source.peak());
      ::_exit(good ? 0 : 1);
    }
    ::close(ends[1]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    Peaks peaks;
    if (cut_after == UINT64_MAX && status == 0) {
      peaks.receiver = 1024 * receive_number(ends[0]);
      peaks.sender = 1024 * receive_number(ends[0]);
    }
    ::close(ends[0]);
    return peaks;
  }

  static void expect_bounded(const std::string& what, std::uint64_t few, std::uint64_t at_few, std::uint64_t many,
                             std::uint64_t at_many) {
    ASSERT_GT(at_many, at_few) << what;
    const double each = static_cast<double>(at_many - at_few) / static_cast<double>(many - few);
    const double fixed = static_cast<double>(at_few) - each * static_cast<double>(few);
    const double at_million = fixed + each * static_cast<double>(million);
    std::cout << what << ": " << fixed / mebibyte << " MiB and " << each << " bytes for each file, "
              << at_million / mebibyte << " MiB for a million\n";
    EXPECT_LE(fixed, 10 * mebibyte) << what;
    EXPECT_LE(at_million, 256 * mebibyte) << what;
  }

  static constexpr std::uint64_t million = 1'000'000;
  static constexpr char label[] = "system_u:object_r:container_file_t:s0";
  static constexpr double mebibyte = 1 << 20;

  Host c_{"c", {}};
  Kind kind_ = Kind::small;
  std::uint64_t files_ = 0;
  test::TemporaryDirectory images_;
  std::optional<test::PrivateMount> memory_;
};

TEST_F(Memory, IsBoundedByTheNumberOfFiles) { try_all(Kind::small); }

TEST_F(Memory, IsBoundedWhereEachFileHasALabel) { try_all(Kind::labelled); }

TEST_F(Memory, IsBoundedWhereThereIsAnotherCopyOfEachFile) { try_all(Kind::indexed); }

}  // namespace
}  // namespace ferry::sync
