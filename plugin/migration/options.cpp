#include "migration/options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/log.h"
#include "base/rate.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

constexpr std::string_view known = "mode, from, freeze, limit";

constexpr std::array<std::string_view, 22> of_later_versions = {
    "to",    "volume",     "container", "as",           "rename",  "move",  "retry",  "reclaim",
    "force", "max-freeze", "rounds",    "max-downtime", "strict",  "layer", "memory", "start",
    "binds", "shared",     "exclude",   "compress",     "dry-run", "rest"};

constexpr std::array<std::string_view, 3> schemes_of_later_versions = {"ssh", "sftp", "file"};

tl::unexpected<Error> refuse(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<> check_option(const std::string& key) {
  if (key == "mode" || key == "from" || key == "freeze" || key == "limit") return {};
  if (std::find(of_later_versions.begin(), of_later_versions.end(), key) != of_later_versions.end())
    return fail(Code::unsupported, "option " + key + " is not in this version of Ferry; it has: " + std::string(known));
  return refuse("unknown option " + quote(key) + "; Ferry has: " + std::string(known));
}

Result<> check_scheme(const std::string& value) {
  const auto end = value.find("://");
  if (end == std::string::npos) return {};
  const std::string scheme = value.substr(0, end);
  if (std::find(schemes_of_later_versions.begin(), schemes_of_later_versions.end(), scheme) !=
      schemes_of_later_versions.end())
    return fail(Code::unsupported,
                "from=" + scheme + "://… is not in this version of Ferry; use from=HOST[:PORT][/VOLUME]");
  return refuse("from=" + quote(scheme) + "://… has an unknown scheme; use from=HOST[:PORT][/VOLUME]");
}

Result<ImportRequest> parse_from(const std::string& name, const std::string& value) {
  FERRY_TRY(check_scheme(value));
  // Not quoted: what stands there may be a password.
  if (value.find('@') != std::string::npos)
    return refuse("option from: a peer has no user, its key is enough; use from=HOST[:PORT][/VOLUME] without …@");
  ImportRequest request;
  const auto slash = value.find('/');
  auto peer = transport::parse_endpoint(std::string_view(value).substr(0, slash));
  if (!peer) return refuse("option from: " + peer.error().message + "; use from=HOST[:PORT][/VOLUME]");
  request.peer = std::move(*peer);
  request.volume = slash == std::string::npos ? name : value.substr(slash + 1);
  if (auto checked = volumes::check_name(request.volume); !checked)
    return refuse("option from: " + checked.error().message);
  return request;
}

Result<Freeze> parse_freeze(const std::string& value) {
  if (value == "none") return Freeze::none;
  if (value == "pause" || value == "stop")
    return fail(Code::unsupported, "freeze=" + value +
                                       " is not in this version of Ferry; stop the containers that write to "
                                       "the source, or use freeze=none for a copy that may be torn");
  return refuse("freeze=" + quote(value) + " is not known: use freeze=none");
}

Result<> check_import(const CreateRequest& request, const std::string& option) {
  if (request.import) return {};
  return refuse("option " + option + " belongs to an import: add from=HOST[:PORT][/VOLUME] or leave it out");
}

}  // namespace

Result<CreateRequest> parse_options(const std::string& name, const volumes::StringMap& options) {
  FERRY_TRY(volumes::check_name(name));
  for (const auto& [key, value] : options) FERRY_TRY(check_option(key));
  CreateRequest request;
  if (const auto mode = options.find("mode"); mode != options.end()) {
    FERRY_ASSIGN(request.mode, volumes::parse_mode(mode->second.substr(0, 100)));
    request.own_options.insert(*mode);
  }
  if (const auto from = options.find("from"); from != options.end()) {
    FERRY_ASSIGN(request.import, parse_from(name, from->second));
  }
  if (const auto limit = options.find("limit"); limit != options.end()) {
    auto rate = parse_rate(limit->second);
    if (!rate) return refuse("option limit: " + rate.error().message);
    FERRY_TRY(check_import(request, "limit"));
    request.import->limit = *rate;
  }
  if (const auto freeze = options.find("freeze"); freeze != options.end()) {
    FERRY_ASSIGN(const Freeze value, parse_freeze(freeze->second));
    FERRY_TRY(check_import(request, "freeze"));
    request.import->freeze = value;
  }
  return request;
}

}  // namespace ferry::migration
