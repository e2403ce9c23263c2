#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "archive/extraction.h"
#include "base/files.h"
#include "fuzz.h"

namespace {

class TextSource : public ferry::archive::Source {
 public:
  explicit TextSource(std::string_view text) : text_(text) {}
  ferry::Result<std::size_t> read(std::span<char> buffer) override {
    const std::size_t size = text_.copy(buffer.data(), buffer.size());
    text_.remove_prefix(size);
    return size;
  }

 private:
  std::string_view text_;
};

}  // namespace

/// Into a directory in memory, beside which nothing may appear.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path place = "/dev/shm/ferry-archive-fuzz-" + std::to_string(::getpid());
  const auto staging = place / "staging";
  std::filesystem::create_directories(staging);
  {
    const ferry::Fd root = *ferry::open_at(AT_FDCWD, staging.string(), O_RDONLY | O_DIRECTORY);
    TextSource source(ferry::test::text(data, size));
    ferry::archive::Progress progress;
    (void)ferry::archive::extract_archive(source, root.get(), {.bytes = 1U << 20, .entries = 1000}, progress);
  }
  if (++std::filesystem::directory_iterator(place) != std::filesystem::directory_iterator()) std::abort();
  if (!ferry::remove_tree(place)) std::abort();
  return 0;
}
