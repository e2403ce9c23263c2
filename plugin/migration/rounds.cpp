#include "migration/rounds.h"

#include <algorithm>

#include "base/log.h"

namespace ferry::migration {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds usual_downtime{500};
constexpr unsigned most_rounds = 100;

}  // namespace

nlohmann::json to_json(const RoundLimits& limits) {
  return {{"most", limits.most}, {"max_downtime_ms", limits.max_downtime_ms}, {"strict", limits.strict}};
}

RoundLimits round_limits_of(const nlohmann::json& json) {
  return {json.at("most").get<unsigned>(), json.at("max_downtime_ms").get<std::uint64_t>(),
          json.at("strict").get<bool>()};
}

Result<> check(const RoundLimits& limits) {
  if (limits.most < 1 || limits.most > most_rounds)
    return fail(Code::invalid_argument, "option rounds: use 1 to " + std::to_string(most_rounds));
  if (limits.max_downtime_ms > INT32_MAX)
    return fail(Code::invalid_argument, "option max-downtime: use 24 days at most");
  return {};
}

milliseconds Rounds::wanted() const {
  return limits_.max_downtime_ms == 0 ? usual_downtime : milliseconds(limits_.max_downtime_ms);
}

/// Less by a fifth at least; else as much is written meanwhile as can be read.
bool Rounds::shrinks() const {
  const auto last = all_.rbegin();
  return all_.size() < 2 || last->took * 10 <= std::next(last)->took * 8;
}

bool Rounds::another() const {
  if (all_.empty()) return true;
  if (all_.back().took <= wanted() || all_.size() >= limits_.most) return false;
  return shrinks() || limits_.max_downtime_ms != 0;
}

Result<> Rounds::check(const std::string& unharmed) const {
  if (all_.empty() || all_.back().took <= wanted()) return {};
  const std::string why = "the last round would take " + std::to_string(all_.back().took.count()) + " ms, after " +
                          std::to_string(all_.size()) + " of them" +
                          (shrinks() ? "" : ", and as much is written meanwhile as is read");
  if (limits_.strict)
    return fail(Code::busy, why + ", and max-downtime is " + std::to_string(wanted().count()) +
                                " ms with strict=true; " + unharmed);
  spdlog::info("{}: what writes stands still for it", why);
  return {};
}

nlohmann::json Rounds::status() const {
  nlohmann::json status = {
      {"rounds", nlohmann::json::array()}, {"dirty_bytes", nullptr}, {"predicted_downtime_ms", nullptr}};
  for (const auto& round : all_)
    status["rounds"].push_back(
        {{"bytes_sent", round.bytes}, {"ms", round.took.count()}, {"frozen", round.writes == Writes::held}});
  if (all_.empty() || all_.back().writes != Writes::go_on) return status;
  const Round& last = all_.back();
  status["predicted_downtime_ms"] = last.took.count();
  // What the last one has brought was written while the one before was made.
  if (all_.size() > 1) {
    const auto before = std::max<std::int64_t>((all_.end() - 2)->took.count(), 1);
    status["dirty_bytes"] = static_cast<std::uint64_t>(
        static_cast<double>(last.bytes) * static_cast<double>(last.took.count()) / static_cast<double>(before));
  }
  return status;
}

}  // namespace ferry::migration
