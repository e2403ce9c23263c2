#include "engine/images.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/lines.h"

namespace ferry::engine {

namespace {

/// A registry that is not there, or an Engine that unpacks a large layer, says nothing for a while.
constexpr std::chrono::milliseconds silence_of_registry{30'000};
constexpr std::chrono::milliseconds silence_of_engine{120'000};
constexpr std::chrono::milliseconds change_time{60'000};
constexpr std::size_t longest_line = 1U << 20;

/// Both calls succeed as HTTP, and say in their stream of JSON that they have failed (moby pkg/jsonmessage).
Result<> check(std::string_view line) {
  const auto message = nlohmann::json::parse(line, nullptr, false);
  if (!message.is_object() || !message.contains("error")) return {};
  const auto& error = message["error"];
  return fail(Code::io, "Docker Engine: " + (error.is_string() ? error.get<std::string>() : error.dump()));
}

}  // namespace

Result<> Images::pull(const std::string& reference, Interrupt* interrupt) const {
  Lines lines(longest_line);
  FERRY_TRY(client_.request({.method = "POST",
                             .target = "/images/create?fromImage=" + url_escape(reference),
                             .pause = silence_of_registry,
                             .interrupt = interrupt,
                             .on_piece = [&](std::string_view piece) { return lines.add(piece, check); }}));
  return {};
}

Result<> Images::save(const std::string& id, const Sink& sink, Interrupt* interrupt) const {
  FERRY_TRY(client_.request({.target = "/images/" + url_escape(id) + "/get",
                             .pause = silence_of_engine,
                             .interrupt = interrupt,
                             .on_piece = sink}));
  return {};
}

Result<> Images::load(const std::function<Result<>(const Sink& sink)>& write, Interrupt* interrupt) const {
  Lines lines(longest_line);
  FERRY_TRY(client_.request({.method = "POST",
                             .target = "/images/load?quiet=1",
                             .pause = silence_of_engine,
                             .interrupt = interrupt,
                             .on_piece = [&](std::string_view piece) { return lines.add(piece, check); },
                             .write_body = write,
                             .body_type = "application/x-tar"}));
  return {};
}

Result<> Images::tag(const std::string& id, const std::string& name, Interrupt* interrupt) const {
  const auto slash = name.rfind('/');
  const auto colon = name.find(':', slash == std::string::npos ? 0 : slash);  // not that of a registry's port
  const std::string repository = name.substr(0, colon);
  const std::string tag = colon == std::string::npos ? "latest" : name.substr(colon + 1);
  FERRY_TRY(
      client_.post("/images/" + url_escape(id) + "/tag?repo=" + url_escape(repository) + "&tag=" + url_escape(tag),
                   nullptr, change_time, interrupt));
  return {};
}

}  // namespace ferry::engine
