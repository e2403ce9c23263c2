#include "migration/service.h"

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_path = 4095;
constexpr std::size_t most_names = 1000;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

Result<> check_volume(const std::string& option, const std::string& name) {
  if (auto checked = volumes::check_name(name); !checked)
    return fail(Code::invalid_argument, "option " + option + ": " + checked.error().message);
  return {};
}

}  // namespace

/// moby's daemon/names: [a-zA-Z0-9][a-zA-Z0-9_.-]+; one character more makes an ID's beginning, too.
Result<> check_container(const std::string& name, const std::string& option) {
  const bool good = !name.empty() && name.size() <= longest_name && std::ranges::all_of(name, is_name_character) &&
                    name.front() != '_' && name.front() != '.' && name.front() != '-';
  if (good) return {};
  return fail(Code::invalid_argument, "option " + option + ": " + quote(name) +
                                          " is no name of a container; it has letters, digits, and behind the first "
                                          "one of these also _ . and -");
}

std::string cleaned(const std::string& destination) {
  std::string clean = std::filesystem::path(destination).lexically_normal().string();
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

nlohmann::json to_json(const ServiceOptions& options) {
  return {{"container", options.container},
          {"as", options.as},
          {"only", options.only},
          {"rest_empty", options.rest_empty},
          {"keep_binds", options.keep_binds},
          {"copy_shared", options.copy_shared},
          {"layer", options.layer},
          {"start", options.start},
          {"renames", options.renames}};
}

ServiceOptions service_options_of(const nlohmann::json& json) {
  ServiceOptions options;
  json.at("container").get_to(options.container);
  json.at("as").get_to(options.as);
  json.at("only").get_to(options.only);
  json.at("rest_empty").get_to(options.rest_empty);
  json.at("keep_binds").get_to(options.keep_binds);
  json.at("copy_shared").get_to(options.copy_shared);
  json.at("layer").get_to(options.layer);
  json.at("start").get_to(options.start);
  json.at("renames").get_to(options.renames);
  return options;
}

Result<> check(const ServiceOptions& options) {
  FERRY_TRY(check_container(options.container));
  if (!options.as.empty()) FERRY_TRY(check_container(options.as, "as"));
  if (options.only.size() > most_names || options.renames.size() > most_names)
    return fail(Code::invalid_argument, "option volume: a service has 1000 mounts at most");
  for (const auto& item : options.only) {
    if (!item.starts_with('/'))
      FERRY_TRY(check_volume("volume", item));
    else if (item.size() > longest_path || item.find('\0') != std::string::npos)
      return fail(Code::invalid_argument, "option volume: " + quote(item.substr(0, 100)) + " is no path");
  }
  for (const auto& [old, name] : options.renames) {
    FERRY_TRY(check_volume("rename", old));
    FERRY_TRY(check_volume("rename", name));
  }
  return {};
}

}  // namespace ferry::migration
