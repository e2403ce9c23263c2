#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "support/scripted_engine.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// As much of a Docker Engine as the registration of volumes meets: its own store of drivers, labels and options, which
/// asks Ferry for what it does not know, and lets Ferry remove what is Ferry's. It can be made to fall silent at a
/// step.
class FakeEngine {
 public:
  /// Sent: the Engine has the request and has done nothing. Answered: it has done everything, and its answer is lost.
  enum class Step { delete_sent, delete_answered, post_sent, post_answered };

  struct Entry {
    std::string driver;
    volumes::StringMap labels, options;
  };

  /// `ferry_has`: Ferry's Get, as the volume's Status. `ferry_removes`: Ferry's Remove.
  FakeEngine(std::function<nlohmann::json(const std::string&)> ferry_has,
             std::function<void(const std::string&)> ferry_removes)
      : ferry_has_(std::move(ferry_has)), ferry_removes_(std::move(ferry_removes)) {}

  std::filesystem::path socket() const { return http_.path(); }

  /// From the next time that `step` is reached, every connection is broken, until wake_up().
  void fall_silent_at(Step step) {
    const std::lock_guard guard(mutex_);
    silent_at_ = step;
  }
  void wait_until_silent() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return silent_; });
  }
  void wake_up() {
    const std::lock_guard guard(mutex_);
    silent_ = false;
  }
  /// Called at each POST before anything is done.
  void on_post(std::function<void()> hook) {
    const std::lock_guard guard(mutex_);
    on_post_ = std::move(hook);
  }

  /// Called when a DELETE has been refused because of a reference, before the answer is sent.
  void on_refused(std::function<void()> hook) {
    const std::lock_guard guard(mutex_);
    on_refused_ = std::move(hook);
  }

  void set(const std::string& name, std::optional<Entry> entry) {
    const std::lock_guard guard(mutex_);
    entries_.erase(name);
    if (entry) entries_[name] = *entry;
  }
  std::optional<Entry> entry(const std::string& name) const {
    const std::lock_guard guard(mutex_);
    const auto found = entries_.find(name);
    return found == entries_.end() ? std::nullopt : std::optional(found->second);
  }
  /// Whether a container refers to the volumes.
  void set_referenced(bool referenced) { referenced_ = referenced; }

  /// What a DELETE leads to, also one whose client is gone.
  void remove(const std::string& name) {
    const auto known = entry(name);
    set(name, std::nullopt);
    if (!known || is_ferry(*known)) ferry_removes_(name);
  }

  /// How many calls there were, those that found it silent included.
  std::size_t calls() const { return http_.requests().size(); }

  /// How often the method was used on the volume.
  std::size_t count(const std::string& method, const std::string& name) const {
    std::size_t found = 0;
    for (const auto& request : http_.requests())
      found += request.starts_with(method + " /v1.44/volumes/" + name + "\n");
    return found;
  }

 private:
  static bool is_ferry(const Entry& entry) { return entry.driver.starts_with("ferry"); }

  void serve(engine::testing::Connection& connection, const std::string& request) {
    if (silent()) return;
    if (request.starts_with("GET /_ping")) return connection.send(engine::testing::ping("1.44"));
    const std::string name = request.substr(0, request.find('\n')).substr(request.rfind('/', request.find('\n')) + 1);
    if (request.starts_with("GET")) return connection.send(get(name));
    const bool is_delete = request.starts_with("DELETE");
    if (reached(is_delete ? Step::delete_sent : Step::post_sent)) return;
    const std::string answer =
        is_delete ? erase(name) : post(nlohmann::json::parse(request.substr(request.find('\n'))));
    if (!reached(is_delete ? Step::delete_answered : Step::post_answered)) connection.send(answer);
  }

  bool silent() const {
    const std::lock_guard guard(mutex_);
    return silent_;
  }
  bool reached(Step step) {
    const std::lock_guard guard(mutex_);
    if (silent_at_ == step) {
      silent_ = true;
      silent_at_.reset();
      changed_.notify_all();
    }
    return silent_;
  }

  void call(std::function<void()> FakeEngine::*member) {
    std::function<void()> hook;
    {
      const std::lock_guard guard(mutex_);
      hook = this->*member;
    }
    if (hook) hook();
  }

  std::string get(const std::string& name) {
    const auto status = ferry_has_(name);
    if (!entry(name) && !status.is_null()) set(name, Entry{"ferry:latest", {}, {}});
    const auto known = entry(name);
    return known ? volume(200, name, *known) : error(404, "no such volume");
  }

  std::string erase(const std::string& name) {
    if (!entry(name) && ferry_has_(name).is_null()) return error(404, "no such volume");
    if (referenced_) {
      call(&FakeEngine::on_refused_);
      return error(409, "volume is in use");
    }
    remove(name);
    return engine::testing::answer(204, "");
  }

  std::string post(const nlohmann::json& wanted) {
    const std::string name = wanted.at("Name");
    call(&FakeEngine::on_post_);
    if (const auto known = entry(name); known && known->driver != wanted.at("Driver"))
      return error(409, "a volume of that name exists on another driver");
    if (!entry(name)) set(name, Entry{wanted.at("Driver"), wanted.at("Labels"), wanted.at("DriverOpts")});
    return volume(201, name, *entry(name));
  }

  std::string volume(int status, const std::string& name, const Entry& entry) const {
    const nlohmann::json shown = {{"Name", name},
                                  {"Driver", entry.driver},
                                  {"Mountpoint", ""},
                                  {"CreatedAt", "2026-11-22T17:12:33Z"},
                                  {"Labels", entry.labels},
                                  {"Options", entry.options},
                                  {"Status", is_ferry(entry) ? ferry_has_(name) : nlohmann::json(nullptr)}};
    return engine::testing::answer(status, shown.dump());
  }
  static std::string error(int status, const std::string& message) {
    return engine::testing::answer(status, nlohmann::json{{"message", message}}.dump());
  }

  const std::function<nlohmann::json(const std::string&)> ferry_has_;
  const std::function<void(const std::string&)> ferry_removes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> entries_;  // protected by mutex_, as are the following
  std::optional<Step> silent_at_;
  bool silent_ = false;
  std::function<void()> on_post_, on_refused_;
  std::atomic<bool> referenced_{false};
  engine::testing::ScriptedEngine http_{
      [this](engine::testing::Connection& connection, const std::string& request) { serve(connection, request); }};
};

}  // namespace ferry::migration
