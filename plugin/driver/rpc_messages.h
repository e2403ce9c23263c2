#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "driver/rpc_driver.h"

/// The JSON of the VolumeDriver protocol, as moby's daemon/volume/drivers/proxy.go writes and reads it. Names are
/// passed on as they are; what a name may be is for the driver to say.
namespace ferry::driver {

/// The fields that requests have; each RPC uses some of them.
struct Request {
  std::string name;                            ///< "Name"
  std::string id;                              ///< "ID"
  std::map<std::string, std::string> options;  ///< "Opts"; null and missing are empty
};

/// What an RPC's request must hold.
enum class Needs { nothing, name, name_and_id, name_and_options };

/// Parses a request's body; other fields than the needed ones are ignored. Where nothing is needed, so is the body.
/// An empty body is Code::unavailable: the Engine sends one when it repeats a request whose connection broke, and the
/// right request may still come. Everything else that is wrong is Code::invalid_argument. No message quotes an option's
/// value.
Result<Request> parse_request(std::string_view body, Needs needs);

nlohmann::json activate_answer();
nlohmann::json capabilities_answer();
nlohmann::json mountpoint_answer(const std::string& mountpoint);
/// `name` is the requested one: the Engine wants to see it again exactly.
nlohmann::json get_answer(const std::string& name, const VolumeInfo& volume);
nlohmann::json list_answer(const std::vector<VolumeInfo>& volumes);

/// The text of a successful answer (an object), which gets an empty "Err", or of an error. Bytes that are not UTF-8
/// become U+FFFD.
std::string success_text(nlohmann::json answer);
std::string error_text(std::string_view message);

}  // namespace ferry::driver
