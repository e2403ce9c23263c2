#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "volumes/record.h"

namespace ferry::migration {

/// The jobs of one kind of ticket, by the tickets' names: running and ended ones. A Job has start(), stop_soon(),
/// abandon() and status(), and is thread-safe, as is this.
template <class Job>
class JobTable {
 public:
  /// Null: there is none.
  std::shared_ptr<Job> find(const std::string& name) const {
    const std::lock_guard guard(mutex_);
    const auto it = jobs_.find(name);
    return it == jobs_.end() ? nullptr : it->second;
  }

  /// Does nothing after abandon_all().
  void start(const std::string& name, std::shared_ptr<Job> job) {
    {
      const std::lock_guard guard(mutex_);
      if (stopping_) return;
      jobs_[name] = job;
    }
    job->start();
  }

  void erase(const std::string& name) {
    const std::lock_guard guard(mutex_);
    jobs_.erase(name);
  }

  /// For good, and all at once.
  void abandon_all() {
    std::map<std::string, std::shared_ptr<Job>> jobs;
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
      jobs = jobs_;
    }
    for (const auto& [name, job] : jobs) job->stop_soon();
    for (const auto& [name, job] : jobs) job->abandon();
  }

  /// The ticket's whole Status: that of its job, or what its record has.
  nlohmann::json status(const volumes::VolumeRecord& ticket) const {
    if (const auto job = find(ticket.name)) return job->status();
    if (ticket.migration.is_object()) return ticket.migration;
    return {{"state", to_string(ticket.state)}};
  }

 private:
  mutable std::mutex mutex_;
  bool stopping_ = false;                             // protected by mutex_
  std::map<std::string, std::shared_ptr<Job>> jobs_;  // protected by mutex_
};

}  // namespace ferry::migration
