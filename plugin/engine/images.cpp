#include "engine/images.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/lines.h"
#include "engine/tar_entries.h"

namespace ferry::engine {

namespace {

/// A registry that is not there, or an Engine that unpacks a large layer, says nothing for a while.
constexpr std::chrono::milliseconds silence_of_registry{30'000};
constexpr std::chrono::milliseconds silence_of_engine{300'000};
constexpr std::chrono::milliseconds change_time{60'000};
constexpr std::size_t longest_line = 1U << 20;
constexpr std::size_t longest_manifest = 4U << 20;

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

Result<> Images::pack(const std::string& id, const Sink& sink, Interrupt* interrupt) const {
  FERRY_TRY(client_.request({.target = "/images/" + url_escape(id) + "/get",
                             .pause = silence_of_engine,
                             .interrupt = interrupt,
                             .on_piece = sink}));
  return {};
}

/// The names that their files have in the archive, of which its last entry tells in older versions. The files of layers
/// that are there again further up stay.
Result<std::set<std::string>> Images::find_lowest(const Image& image, std::size_t count, Interrupt* interrupt) const {
  TarEntries entries;
  std::string manifest;
  FERRY_TRY(pack(
      image.id,
      [&](std::string_view piece) {
        return entries.add(piece, [&](const TarEntries::Part& part) -> Result<> {
          if (part.name != "manifest.json") return {};
          if (manifest.size() + part.content.size() > longest_manifest)
            return fail(Code::corrupt, "the manifest of image " + image.id + " is too long");
          manifest += part.content;
          return {};
        });
      },
      interrupt));
  try {
    const auto files = nlohmann::json::parse(manifest).at(0).at("Layers").get<std::vector<std::string>>();
    std::set<std::string> lowest;
    if (files.size() != image.layers.size()) return lowest;
    const auto upper = image.layers.begin() + static_cast<std::ptrdiff_t>(count);
    for (std::size_t i = 0; i < count; ++i)
      if (std::find(upper, image.layers.end(), image.layers[i]) == image.layers.end()) lowest.insert(files[i]);
    return lowest;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, "the manifest of image " + image.id + " cannot be read: " + error.what());
  }
}

Result<> Images::save(const Image& image, std::size_t known, const Sink& sink, Interrupt* interrupt) const {
  if (known == 0) return pack(image.id, sink, interrupt);
  FERRY_ASSIGN(const auto left_out, find_lowest(image, std::min(known, image.layers.size()), interrupt));
  TarEntries entries;
  return pack(
      image.id,
      [&](std::string_view piece) {
        return entries.add(piece, [&](const TarEntries::Part& part) {
          return left_out.contains(part.name) ? Result<>() : sink(part.blocks);
        });
      },
      interrupt);
}

Result<std::size_t> Images::count_known(const std::vector<std::string>& layers, Interrupt* interrupt) const {
  FERRY_ASSIGN(const auto listed, client_.get("/images/json?all=1", interrupt));
  std::size_t known = 0;
  for (const auto& one : nlohmann::json::parse(listed, nullptr, false)) {
    if (!one.is_object() || !one.contains("Id") || !one["Id"].is_string()) continue;
    const auto image = containers_.image(one["Id"].get<std::string>(), interrupt);
    if (!image && image.error().code == Code::not_found) continue;  // it was removed meanwhile
    FERRY_TRY(image);
    const auto end = std::mismatch(layers.begin(), layers.end(), image->layers.begin(), image->layers.end()).first;
    known = std::max(known, static_cast<std::size_t>(end - layers.begin()));
  }
  return known;
}

Result<> Images::load(const std::function<Result<>(const Sink& sink)>& write, Interrupt* interrupt) const {
  Lines lines(longest_line);
  FERRY_TRY(client_.request({.method = "POST",
                             .target = "/images/load?quiet=0",
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
