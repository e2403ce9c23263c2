#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

/// For what decodes the Engine's JSON: absent members and `null` are empty, and json's exceptions are Code::corrupt.
namespace ferry::engine {

/// `what` has members of other types than the Engine's API says.
inline tl::unexpected<Error> not_understood(std::string_view what, const nlohmann::json::exception& error) {
  return fail(Code::corrupt, std::string(what) + " cannot be understood: " + error.what());
}

/// Parses `body` and reads it, which may throw json's exceptions. `what` the body is, for the error.
template <class Read>
auto decode_json(std::string_view what, std::string_view body, Read&& read)
    -> Result<decltype(read(nlohmann::json()))> {
  try {
    return read(nlohmann::json::parse(body));
  } catch (const nlohmann::json::parse_error& error) {  // its text quotes the body, which may hold a secret
    return fail(Code::corrupt,
                "the Engine's " + std::string(what) + " is no JSON from byte " + std::to_string(error.byte) + " on");
  } catch (const nlohmann::json::exception& error) {
    return not_understood("the Engine's " + std::string(what), error);
  }
}

/// The member, or null if it is absent. Throws if `object` is no object.
inline const nlohmann::json& member(const nlohmann::json& object, const char* name) {
  static const nlohmann::json null;
  const auto& members = object.get_ref<const nlohmann::json::object_t&>();
  const auto found = members.find(name);
  return found == members.end() ? null : found->second;
}

/// The same, but an object if it is absent or null.
inline const nlohmann::json& object_member(const nlohmann::json& object, const char* name) {
  static const nlohmann::json empty = nlohmann::json::object();
  const nlohmann::json& found = member(object, name);
  return found.is_null() ? empty : found;
}

template <class T>
T value(const nlohmann::json& object, const char* name) {
  const nlohmann::json& found = member(object, name);
  return found.is_null() ? T() : found.get<T>();
}

inline std::string text(const nlohmann::json& object, const char* name) { return value<std::string>(object, name); }

/// The array's elements; none if it is absent or null.
inline const nlohmann::json::array_t& list(const nlohmann::json& array) {
  static const nlohmann::json::array_t none;
  return array.is_null() ? none : array.get_ref<const nlohmann::json::array_t&>();
}

}  // namespace ferry::engine
