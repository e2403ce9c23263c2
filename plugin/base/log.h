#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

#include "base/result.h"

/// Logging is spdlog's default logger: spdlog::info("imported {} from {}", …). Values that come from outside go through
/// `quote`, so that no name can forge a log line. No key, password or volume content is ever logged.
namespace ferry {

/// Sends info and below to stdout, warnings and errors to stderr (the Engine logs them at those levels), one line each,
/// cut at 8 KiB: a line over 64 KiB makes Engine 20.10 read nothing more of the plugin.
/// `level` is one of trace, debug, info, warn, error, off; anything else is refused.
Result<> set_up_logging(std::string_view level);

/// The text with control characters escaped, and cut after `longest` of its bytes: for sentences of a peer that become
/// part of an error or of Status of this host. (Of what is logged, the sink escapes them anyway.)
std::string printable(std::string_view text, std::size_t longest = std::string_view::npos);

/// The text in double quotes with control characters, quotes and backslashes escaped, and cut after 300 bytes.
std::string quote(std::string_view text);

}  // namespace ferry
