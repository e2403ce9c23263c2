#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

namespace ferry {

namespace {

void fill(unsigned char* bytes, std::size_t count) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t n = ::getrandom(bytes + done, count - done, 0);
    if (n < 0 && errno != EINTR) std::abort();  // getrandom(2) cannot fail otherwise for valid arguments
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

}  // namespace

std::uint64_t random_number() {
  std::uint64_t number = 0;
  fill(reinterpret_cast<unsigned char*>(&number), sizeof number);
  return number;
}

std::string random_hex(std::size_t bytes) {
  std::vector<unsigned char> raw(bytes);
  fill(raw.data(), bytes);
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes);
  for (const unsigned char byte : raw) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

std::string random_uuid() {
  std::string hex = random_hex(16);
  hex[12] = '4';
  hex[16] = "89ab"[hex[16] & 3];
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

}  // namespace ferry
