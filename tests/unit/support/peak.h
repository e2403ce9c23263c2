#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace ferry::test {

/// Of this process, in KiB, as /proc/self/status has it.
inline std::uint64_t memory(const std::string& what) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(what + ":")) return std::stoull(line.substr(what.size() + 1));
  return 0;
}

/// The peak of the resident set above what it is now, from here on.
class Peak {
 public:
  Peak() {
    std::ofstream("/proc/self/clear_refs") << 5;  // proc(5)
    before_ = memory("VmRSS");
  }
  std::uint64_t kib() const { return memory("VmHWM") - before_; }

 private:
  std::uint64_t before_ = 0;
};

}  // namespace ferry::test
