#include "archive/facts.h"

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace ferry::archive {

namespace {

using nlohmann::json;

constexpr std::string_view magic = "ferry-archive ";
constexpr std::string_view version = "1 ";
constexpr std::size_t longest_lineage = 64;
constexpr int deepest = 2;  // labels and options are objects in an object

/// "ferry-digests-" and a UUID: nothing that a tar could extract to anywhere else.
bool is_member_name(std::string_view name) {
  return name.starts_with("ferry-digests-") && name.size() <= 100 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

FrontMatter read(const json& object) {
  FrontMatter front;
  const auto number = [&](const char* name) {
    const json& value = object.at(name);
    if (!value.is_number_unsigned()) throw std::out_of_range(std::string(name) + " is no number");
    return value.get<std::uint64_t>();
  };
  object.at("name").get_to(front.facts.name);
  object.at("lineage").get_to(front.facts.lineage);
  front.facts.epoch = number("epoch");
  object.at("mode").get_to(front.facts.mode);
  object.at("labels").get_to(front.facts.labels);
  object.at("options").get_to(front.facts.options);
  object.at("labels_known").get_to(front.facts.labels_known);
  front.facts.data = number("data");
  front.entries = number("entries");
  front.bytes = number("bytes");
  object.at("digests").get_to(front.digests);
  if (front.facts.epoch > INT64_MAX / 2) throw std::out_of_range("epoch is too high");
  if (front.facts.lineage.size() > longest_lineage) throw std::out_of_range("lineage is too long");
  if (front.facts.mode != "rw" && front.facts.mode != "ro") throw std::out_of_range("mode is neither rw nor ro");
  if (!is_member_name(front.digests)) throw std::out_of_range("digests is no name of such a member");
  return front;
}

}  // namespace

Result<std::string> encode(const FrontMatter& front) {
  const json object = {{"name", front.facts.name},
                       {"lineage", front.facts.lineage},
                       {"epoch", front.facts.epoch},
                       {"mode", front.facts.mode},
                       {"labels", front.facts.labels},
                       {"options", front.facts.options},
                       {"labels_known", front.facts.labels_known},
                       {"data", front.facts.data},
                       {"entries", front.entries},
                       {"bytes", front.bytes},
                       {"digests", front.digests}};
  std::string text(magic);
  text += version;
  try {
    text += object.dump(-1, ' ', true);
  } catch (const json::exception& error) {
    return fail(Code::invalid_argument, std::string("labels or options cannot be written down: ") + error.what());
  }
  if (text.size() > longest_front_matter)
    return fail(Code::invalid_argument, "labels and options take " + std::to_string(text.size()) +
                                            " bytes, and an archive has room for " +
                                            std::to_string(longest_front_matter));
  return text;
}

Result<FrontMatter> decode(std::string_view text) {
  const auto damaged = [](const std::string& how) {
    return fail(Code::corrupt, "the archive's front matter is damaged" + how);
  };
  if (!text.starts_with(magic)) return damaged("");
  text.remove_prefix(magic.size());
  if (!text.starts_with(version))
    return fail(Code::unsupported, "the archive's format is " + quote(text.substr(0, text.find(' '))) +
                                       ", and this version of Ferry knows 1");
  text.remove_prefix(version.size());
  try {
    // What is nested deeper is dropped, so that no depth of it matters.
    const auto shallow = [](int depth, json::parse_event_t, const json&) { return depth <= deepest; };
    return read(json::parse(text, shallow));
  } catch (const std::exception& error) {
    return damaged(": " + printable(error.what(), 200));
  }
}

}  // namespace ferry::archive
