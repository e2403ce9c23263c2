#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstring>

#include "support/cases.h"
#include "support/mounts.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t most_pages = 48;
constexpr std::size_t file_count = 6;

/// What a file is to be: one number in each page, zero in those that are holes.
struct Content {
  std::uint32_t pages = 0;
  std::array<std::uint64_t, most_pages> numbers{};
};

/// What the writer has done, in memory that it shares with the test. `next` is what the file `at_work` becomes.
struct Log {
  std::array<Content, file_count> files;
  Content next;
  std::size_t at_work = file_count;
  std::uint64_t steps = 0;
};

/// A process that changes files in all the ways there are, as fast as it can, each change with a number of its own.
class Writer {
 public:
  Writer(fs::path directory, std::uint64_t seed) : directory_(std::move(directory)), random_(seed) {
    void* shared = ::mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    log_ = new (shared) Log;
    process_ = ::fork();
    if (process_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (step()) {
    }
    ::_exit(1);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::munmap(log_, sizeof(Log));
  }

  /// As the freezer of a cgroup does it: between two instructions of the writer.
  void freeze() {
    int status = 0;
    ASSERT_EQ(::kill(process_, SIGSTOP), 0);
    ASSERT_EQ(::waitpid(process_, &status, WUNTRACED), process_);
    ASSERT_TRUE(WIFSTOPPED(status)) << "the writer has failed: " << status;
  }
  void thaw() { ASSERT_EQ(::kill(process_, SIGCONT), 0); }
  /// Of a frozen one.
  const Log& log() const { return *log_; }
  void wait_for_steps(std::uint64_t more) const {
    const volatile std::uint64_t& steps = log_->steps;
    const std::uint64_t until = steps + more;
    while (steps < until && ::waitpid(process_, nullptr, WNOHANG) == 0) std::this_thread::yield();
  }

 private:
  struct Open {
    Fd file, direct, appending;
    char* map = nullptr;
  };

  std::string path_of(std::size_t file) const { return (directory_ / ("f" + std::to_string(file))).string(); }

  bool open(std::size_t number) {
    Open& open = open_[number];
    if (open.map) ::munmap(open.map, most_pages * page_size);
    const std::string path = path_of(number);
    open.file = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    open.direct = Fd(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    open.appending = Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    open.map = static_cast<char*>(
        ::mmap(nullptr, most_pages * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, open.file.get(), 0));
    return open.file && open.direct && open.appending && open.map != MAP_FAILED;
  }

  static void fill(char* page, std::uint64_t number) {
    for (std::size_t at = 0; at < page_size; at += sizeof number) std::memcpy(page + at, &number, sizeof number);
  }

  /// The numbers of pages [first, first + count) of `next`, as they are in a file.
  const char* bytes(std::size_t first, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) fill(buffer_.data() + i * page_size, log_->next.numbers[first + i]);
    return buffer_.data();
  }

  /// One change, to one file, that is logged before and after. False: a system call has failed.
  bool step() {
    const std::size_t number = random_.below(file_count);
    if (!open_[number].map && !open(number)) return false;
    Content& next = log_->next;
    next = log_->files[number];
    log_->at_work = number;
    if (!change(number, next)) return false;
    log_->files[number] = next;
    log_->at_work = file_count;
    ++log_->steps;
    return true;
  }

  bool change(std::size_t number, Content& next) {
    const Open& open = open_[number];
    switch (next.pages == 0 ? 0 : random_.below(8)) {
      case 0: return append(open, next);
      case 1: return cut(open, next);
      case 2: return grow(open, next);
      case 3: return replace(number, next);
      default: break;
    }
    const std::size_t first = random_.below(next.pages);
    const std::size_t count = 1 + random_.below(std::min<std::size_t>(next.pages - first, 4));
    const auto at = static_cast<off_t>(first * page_size);
    const auto size = static_cast<ssize_t>(count * page_size);
    const bool is_hole = random_.one_in(5);
    for (std::size_t i = first; i < first + count; ++i) next.numbers[i] = is_hole ? 0 : ++last_number_;
    if (is_hole) return ::fallocate(open.file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size) == 0;
    switch (random_.below(3)) {
      case 0: return ::pwrite(open.file.get(), bytes(first, count), static_cast<std::size_t>(size), at) == size;
      case 1: return ::pwrite(open.direct.get(), bytes(first, count), static_cast<std::size_t>(size), at) == size;
      default:
        for (std::size_t i = first; i < first + count; ++i) fill(open.map + i * page_size, next.numbers[i]);
        return true;
    }
  }

  bool append(const Open& open, Content& next) {
    const std::size_t first = next.pages;
    const std::size_t count = std::min(most_pages - first, 1 + random_.below(4));
    for (std::size_t i = 0; i < count; ++i) next.numbers[first + i] = ++last_number_;
    next.pages += static_cast<std::uint32_t>(count);
    const auto size = static_cast<ssize_t>(count * page_size);
    return ::write(open.appending.get(), bytes(first, count), static_cast<std::size_t>(size)) == size;
  }

  bool cut(const Open& open, Content& next) {
    const auto pages = random_.below(next.pages);
    std::fill(next.numbers.begin() + static_cast<std::ptrdiff_t>(pages), next.numbers.end(), 0);
    next.pages = static_cast<std::uint32_t>(pages);
    return ::ftruncate(open.file.get(), static_cast<off_t>(pages * page_size)) == 0;
  }

  bool grow(const Open& open, Content& next) {
    next.pages += static_cast<std::uint32_t>(random_.below(most_pages - next.pages + 1));
    return ::ftruncate(open.file.get(), static_cast<off_t>(next.pages * page_size)) == 0;
  }

  bool replace(std::size_t number, Content& next) {
    next = {};
    next.pages = static_cast<std::uint32_t>(1 + random_.below(8));
    for (std::size_t i = 0; i < next.pages; ++i) next.numbers[i] = ++last_number_;
    const std::string other = path_of(number) + ".new";
    const auto size = static_cast<ssize_t>(next.pages * page_size);
    {
      const Fd file(::open(other.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      if (::write(file.get(), bytes(0, next.pages), static_cast<std::size_t>(size)) != size) return false;
    }
    return ::rename(other.c_str(), path_of(number).c_str()) == 0 && open(number);
  }

  const fs::path directory_;
  test::Random random_;
  Log* log_;
  pid_t process_ = -1;
  std::array<Open, file_count> open_;
  std::uint64_t last_number_ = 0;
  alignas(page_size) std::array<char, most_pages * page_size> buffer_{};
};

/// The number of each page; that of one with several is none that was ever written.
std::vector<std::uint64_t> numbers_of(const std::string& content) {
  std::vector<std::uint64_t> numbers;
  for (std::size_t at = 0; at + page_size <= content.size(); at += page_size) {
    std::uint64_t first = 0;
    std::memcpy(&first, content.data() + at, sizeof first);
    const bool is_whole =
        std::memcmp(content.data() + at, content.data() + at + sizeof first, page_size - sizeof first) == 0;
    numbers.push_back(is_whole ? first : UINT64_MAX);
  }
  return numbers;
}

/// Copies of files that are written to in every way: what was read while they stood still is what the writer had then.
class BusySource : public MigrationTest {
 protected:
  Result<Receipt> round(Writers writers) {
    auto source = open_source();
    options_.writers = writers;
    return receive(source);
  }

  void expect_copy(const Log& log) {
    EXPECT_EQ(test::tree_difference(source_, staging_), "");
    for (std::size_t number = 0; number < file_count; ++number) {
      const auto content = read_file(staging_ / ("f" + std::to_string(number)));
      if (!content && log.files[number].pages == 0) continue;
      ASSERT_TRUE(content) << content.error().message;
      expect_numbers(numbers_of(*content), log, number);
    }
  }

  /// All that was done is there; of the change that is under way there may be some pages.
  static void expect_numbers(const std::vector<std::uint64_t>& numbers, const Log& log, std::size_t number) {
    SCOPED_TRACE("file " + std::to_string(number) + " after step " + std::to_string(log.steps));
    const Content& is = log.files[number];
    const Content& may_be = log.at_work == number ? log.next : is;
    EXPECT_TRUE(numbers.size() == is.pages || numbers.size() == may_be.pages) << numbers.size();
    for (std::size_t page = 0; page < numbers.size(); ++page) {
      const bool is_torn = log.at_work == number && numbers[page] == UINT64_MAX;
      EXPECT_TRUE(is_torn || numbers[page] == is.numbers[page] || numbers[page] == may_be.numbers[page])
          << "page " << page << " has " << numbers[page] << ", not " << is.numbers[page];
    }
  }
};

TEST_F(BusySource, WhatWasReadWhileItStoodStillIsWhatItsWriterHad) {
  const test::MemoryDisk disk("1G");
  test::run_cases(250, disk.path(), [&](test::Random& random, const fs::path& directory) {
    source_ = directory / "source";
    staging_ = directory / "staging";
    journal_ = directory / "journal";
    for (const auto& path : {source_, staging_, journal_}) ASSERT_TRUE(remove_tree(path));
    SetUp();
    Writer writer(source_, random.below(1U << 30));
    writer.wait_for_steps(20);
    for (std::size_t freezes = 1 + random.below(4); freezes > 0; --freezes) {
      for (std::size_t rounds = random.below(3); rounds > 0; --rounds) {
        options_.rounds = 1;
        const auto live = round(Writers::allowed);
        ASSERT_TRUE(live) << live.error().message;
        writer.wait_for_steps(1 + random.below(40));
      }
      writer.freeze();
      options_.rounds = 4;
      const auto frozen = round(Writers::none);
      ASSERT_TRUE(frozen) << frozen.error().message;
      EXPECT_EQ(frozen->changed, 0U);
      expect_copy(writer.log());
      writer.thaw();
      writer.wait_for_steps(1 + random.below(10));
    }
  });
}

}  // namespace
}  // namespace ferry::sync
