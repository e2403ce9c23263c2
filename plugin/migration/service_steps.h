#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/time.h"
#include "migration/service.h"

namespace ferry::migration {

/// What was begun of a service's move, and when, as Status has it (docs/status.md): the last 1000. Not thread-safe.
class ServiceSteps {
 public:
  /// `service`: of a Status that an earlier job has stored; null: none has.
  explicit ServiceSteps(const nlohmann::json& service = nullptr) {
    if (service.is_object()) steps_ = service.value("steps", nlohmann::json::array());
  }
  /// The same one again is another attempt, and not told.
  void begin(std::string_view step) {
    if (!steps_.empty() && steps_.back()["step"] == step) return;
    if (steps_.size() == most) steps_.erase(0);
    steps_.push_back({{"step", step}, {"at", now_rfc3339()}});
  }
  /// The `service` of a Status.
  nlohmann::json status(const ServiceOptions& options) const {
    return {{"container", options.container},
            {"as", options.name_there()},
            {"step", steps_.empty() ? nlohmann::json(nullptr) : steps_.back()["step"]},
            {"steps", steps_}};
  }

 private:
  static constexpr std::size_t most = 1000;

  nlohmann::json steps_ = nlohmann::json::array();
};

}  // namespace ferry::migration
