#include "sync/sync_file_system.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <memory>
#include <system_error>
#include <thread>

#include "base/fd.h"
#include "base/time.h"

namespace ferry::sync {

namespace {

/// The plugin has 10 s to stop.
constexpr std::chrono::seconds longest_last_sync{2};
/// How soon it is seen that it has been cancelled.
constexpr std::chrono::milliseconds look{50};

}  // namespace

std::optional<int> sync_file_system(int fd, const std::atomic<bool>& cancelled) {
  struct Shared {
    Fd fd;
    std::promise<int> error;
  };
  const auto shared = std::make_shared<Shared>();
  shared->fd = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!shared->fd) return errno;
  auto error = shared->error.get_future();
  std::thread syncing;
  try {
    syncing = std::thread([shared] { shared->error.set_value(::syncfs(shared->fd.get()) == 0 ? 0 : errno); });
  } catch (const std::system_error&) {  // the system has no thread
    return cancelled ? std::nullopt : std::optional(::syncfs(fd) == 0 ? 0 : errno);
  }
  std::optional<Deadline> deadline;
  while (error.wait_for(look) != std::future_status::ready) {
    if (cancelled && !deadline) deadline = after(longest_last_sync);
    if (deadline && SteadyClock::now() > *deadline) {
      syncing.detach();  // nothing ends it
      return std::nullopt;
    }
  }
  syncing.join();  // else its end runs beside whatever comes next, e.g. a fork
  return error.get();
}

}  // namespace ferry::sync
