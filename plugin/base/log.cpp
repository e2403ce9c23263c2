#include "base/log.h"

#include <spdlog/sinks/base_sink.h>

#include <cstdio>
#include <memory>
#include <mutex>

namespace ferry {

namespace {

/// The Engine gives a plugin's stdout the level info and its stderr the level error, so the stream carries the level.
class StandardStreams : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::FILE* stream = message.level >= spdlog::level::warn ? stderr : stdout;
    std::fwrite(line.data(), 1, line.size(), stream);
    std::fflush(stream);
  }
  void flush_() override {}
};

}  // namespace

Result<> set_up_logging(std::string_view level) {
  static constexpr std::string_view levels[] = {"trace", "debug", "info", "warn", "error", "off"};
  bool known = false;
  for (const auto candidate : levels) known = known || candidate == level;
  if (!known)
    return fail(Code::invalid_argument, "LOG_LEVEL " + quote(level) + " is not one of trace, debug, info, warn, error, off");
  auto logger = std::make_shared<spdlog::logger>("ferry", std::make_shared<StandardStreams>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(std::string(level)));
  spdlog::set_default_logger(std::move(logger));
  return {};
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 300;
  static constexpr char digits[] = "0123456789abcdef";
  std::string result = "\"";
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      result += "\\x";
      result += digits[byte >> 4];
      result += digits[byte & 15];
    } else {
      result += c;
    }
  }
  if (text.size() > longest) result += "…";
  return result + "\"";
}

}  // namespace ferry
