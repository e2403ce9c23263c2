#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

#include "base/result.h"
#include "peer/server.h"

namespace ferry {

/// The settings of config.json's `env`, as `docker plugin set` leaves them.
struct Settings {
  std::string log_level;
  std::uint16_t port = 0;  ///< 0: no peer server
  std::set<peer::Permission> allow;
  std::chrono::milliseconds trash_retention{0};
  std::string engine_socket;  ///< name below the mount named run
};

/// Reads the environment; an error names the variable and what would be right.
Result<Settings> read_settings();

}  // namespace ferry
