#include "base/log.h"

#include <spdlog/sinks/base_sink.h>

#include <cstdio>
#include <memory>
#include <mutex>

namespace ferry {

namespace {

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

void append_escaped(std::string& out, char c) {
  static constexpr char digits[] = "0123456789abcdef";
  if (!is_control(c)) {
    out += c;
    return;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += "\\x";
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

constexpr std::size_t longest_message = 8192;

/// With control characters escaped, and cut after `longest_message` bytes or at the end of the UTF-8 character there.
std::string one_line(std::string_view message) {
  std::string text;
  for (std::size_t i = 0; i < message.size(); ++i) {
    const bool within_character = (static_cast<unsigned char>(message[i]) & 0xC0) == 0x80;
    if (text.size() >= (within_character ? longest_message + 3 : longest_message))
      return text + "… (" + std::to_string(message.size() - i) + " more bytes)";
    append_escaped(text, message[i]);
  }
  return text;
}

/// The Engine gives a plugin's stdout the level info and its stderr the level error, so the stream carries the level.
class StandardStreams : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text = one_line({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg printable = message;
    printable.payload = text;
    spdlog::memory_buf_t line;
    formatter_->format(printable, line);
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
    return fail(Code::invalid_argument,
                "LOG_LEVEL " + quote(level) + " is not one of trace, debug, info, warn, error, off");
  auto logger = std::make_shared<spdlog::logger>("ferry", std::make_shared<StandardStreams>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(std::string(level)));
  spdlog::set_default_logger(std::move(logger));
  return {};
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 300;
  std::string result = "\"";
  for (const char c : text.substr(0, longest)) {
    if (c == '"' || c == '\\') result += '\\';
    append_escaped(result, c);
  }
  if (text.size() > longest) result += "…";
  return result + "\"";
}

std::string printable(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : text.substr(0, longest)) append_escaped(result, c);
  if (text.size() > longest) result += "…";
  return result;
}

}  // namespace ferry
