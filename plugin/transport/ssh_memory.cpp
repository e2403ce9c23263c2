#include "transport/ssh_memory.h"

#include <cstdlib>
#include <new>
#include <utility>

namespace ferry::transport {

SshMemory::~SshMemory() {
  for (void* const memory : tracked_) std::free(memory);
}

void* SshMemory::allocate(std::size_t size) {
  void* const memory = std::malloc(size);
  return memory != nullptr && track_ == Track::yes ? track(memory) : memory;
}

void* SshMemory::reallocate(void* memory, std::size_t size) {
  if (memory == nullptr) return allocate(size);
  auto tracked = tracked_.extract(memory);
  void* const moved = std::realloc(memory, size);
  if (tracked.empty()) return moved;
  if (moved != nullptr) tracked.value() = moved;
  tracked_.insert(std::move(tracked));
  return moved;
}

void SshMemory::release(void* memory) {
  tracked_.erase(memory);
  std::free(memory);
}

/// Exceptions must not pass through libssh2.
void* SshMemory::track(void* memory) {
  try {
    tracked_.insert(memory);
    return memory;
  } catch (const std::bad_alloc&) {
    std::free(memory);
    return nullptr;
  }
}

}  // namespace ferry::transport
