#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "driver/rpc_driver.h"

namespace ferry::driver {

/// Notes every call as one line and answers by the volume's name: "missing" is not found, "broken" fails with Code::io,
/// "picky" refuses what it was given and quotes it, "thrower" throws, Mount of "blocked" waits until release().
class FakeDriver : public VolumeDriver {
 public:
  Result<> create(const std::string& name, const std::map<std::string, std::string>& options) override {
    std::string line = "create " + name;
    for (const auto& [key, value] : options) line += " " + key + "=" + value;
    return note(line, name);
  }
  Result<> remove(const std::string& name) override { return note("remove " + name, name); }
  Result<std::string> mount(const std::string& name, const std::string& id) override {
    FERRY_TRY(note("mount " + name + " " + id, name));
    std::unique_lock lock(mutex_);
    if (name == "blocked") ++blocked_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return name != "blocked" || released_; });
    return name == "nowhere" ? "" : "/mnt/" + name;
  }
  Result<> unmount(const std::string& name, const std::string& id) override {
    return note("unmount " + name + " " + id, name);
  }
  Result<std::string> path(const std::string& name) override {
    FERRY_TRY(note("path " + name, name));
    return "/mnt/" + name;
  }
  Result<VolumeInfo> get(const std::string& name) override {
    FERRY_TRY(note("get " + name, name));
    return VolumeInfo{name, "/mnt/" + name, "2026-11-22T17:05:09Z", {{"state", "ready"}}};
  }
  std::vector<VolumeInfo> list() override {
    return {{"a", "/mnt/a", "2026-11-22T17:05:09Z", {}}, {"b\xff", "", "", {}}};
  }

  std::vector<std::string> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  void wait_until_blocked(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return blocked_ >= count; });
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  Result<> note(const std::string& line, const std::string& name) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(line);
    if (name == "thrower") throw std::runtime_error("boo");
    if (name == "missing") return fail(Code::not_found, "there is no volume \"missing\"");
    if (name == "picky") return fail(Code::invalid_argument, "what is this: " + line);
    if (name == "broken") return fail(Code::io, "disk on fire");
    return {};
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> calls_;
  int blocked_ = 0;
  bool released_ = false;
};

}  // namespace ferry::driver
