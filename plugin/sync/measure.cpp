#include "sync/measure.h"

#include <fts.h>
#include <sys/stat.h>

#include <memory>
#include <string>

namespace ferry::sync {

std::uint64_t measure(int root, Deadline deadline) {
  struct CloseFts {
    void operator()(FTS* stream) const { ::fts_close(stream); }
  };
  std::string path = "/proc/self/fd/" + std::to_string(root) + "/.";
  char* paths[] = {path.data(), nullptr};
  const std::unique_ptr<FTS, CloseFts> stream(::fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, nullptr));
  std::uint64_t bytes = 0;
  if (!stream) return bytes;
  while (const FTSENT* entry = ::fts_read(stream.get())) {
    constexpr std::uint64_t block = 512;  // unit of st_blocks, stat(2)
    if (entry->fts_info == FTS_F) bytes += static_cast<std::uint64_t>(entry->fts_statp->st_blocks) * block;
    if (SteadyClock::now() > deadline) break;
  }
  return bytes;
}

}  // namespace ferry::sync
