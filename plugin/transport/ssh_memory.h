#pragma once

#include <cstddef>
#include <unordered_set>

namespace ferry::transport {

/// malloc(3), realloc(3) and free(3) for a session of libssh2, and at the end the memory is freed that libssh2 has
/// forgotten. Up to 1.11.1 that is, with AES-GCM, two keys at each exchange of keys (kex.c makes one for each MAC, and
/// mac.c's mac_method_none_init neither keeps nor frees it), and the host's key each time that keys are renewed (kex.c,
/// curve25519_sha256). Not thread-safe.
class SshMemory {
 public:
  enum class Track { no, yes };

  explicit SshMemory(Track track) : track_(track) {}
  SshMemory(const SshMemory&) = delete;
  SshMemory& operator=(const SshMemory&) = delete;
  ~SshMemory();

  /// Null: there is no memory.
  void* allocate(std::size_t size);
  void* reallocate(void* memory, std::size_t size);
  void release(void* memory);

  /// While it lives, what is allocated is not tracked: for calls in which libssh2 frees by another way than release().
  class Pause {
   public:
    explicit Pause(SshMemory& memory) : memory_(memory), before_(memory.track_) { memory_.track_ = Track::no; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
    ~Pause() { memory_.track_ = before_; }

   private:
    SshMemory& memory_;
    const Track before_;
  };

 private:
  void* track(void* memory);

  Track track_;
  std::unordered_set<void*> tracked_;
};

}  // namespace ferry::transport
