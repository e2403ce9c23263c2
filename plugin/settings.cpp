#include "settings.h"

#include <charconv>
#include <cstdlib>

#include "base/duration.h"
#include "base/log.h"

namespace ferry {

namespace {

std::string variable(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : value;
}

Result<std::uint16_t> parse_port(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(Code::invalid_argument,
                "PORT " + quote(text) + " is not a port: use 1 to 65535, or 0 to serve no peers");
  return port;
}

}  // namespace

Result<Settings> read_settings() {
  Settings settings;
  settings.log_level = variable("LOG_LEVEL", "info");
  settings.engine_socket = variable("ENGINE_SOCKET", "docker.sock");
  FERRY_ASSIGN(settings.port, parse_port(variable("PORT", "7766")));
  FERRY_ASSIGN(settings.allow, peer::parse_permissions(variable("ALLOW", "read,write,freeze,containers")));
  auto retention = parse_duration(variable("TRASH_RETENTION", "0s"));
  if (!retention) return fail(retention.error().code, "TRASH_RETENTION: " + retention.error().message);
  settings.trash_retention = *retention;
  return settings;
}

}  // namespace ferry
