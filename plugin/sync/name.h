#pragma once

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry::sync {

/// A file's name, of less than 64 KiB. It belongs to the Names that made it, and must not be used after those: so
/// millions of them take little more memory than their bytes, and no time to be copied or destroyed.
class Name {
 public:
  Name() = default;

  bool empty() const { return bytes_ == nullptr; }
  std::size_t size() const {
    Size size = 0;
    if (bytes_ != nullptr) std::memcpy(&size, bytes_, sizeof size);
    return size;
  }
  /// With a NUL behind it, as the following.
  const char* c_str() const { return bytes_ != nullptr ? bytes_ + sizeof(Size) : ""; }
  std::string_view view() const { return {c_str(), size()}; }
  std::string str() const { return std::string(view()); }
  // NOLINTNEXTLINE(google-explicit-constructor): it is a string
  operator std::string_view() const { return view(); }

  template <std::convertible_to<std::string_view> Other>
  friend bool operator==(const Name& a, const Other& b) {
    return a.view() == std::string_view(b);
  }
  /// Bytewise.
  template <std::convertible_to<std::string_view> Other>
  friend auto operator<=>(const Name& a, const Other& b) {
    return a.view() <=> std::string_view(b);
  }

 private:
  friend class Names;
  using Size = std::uint16_t;
  explicit Name(const char* bytes) : bytes_(bytes) {}

  const char* bytes_ = nullptr;  // a Size, so many bytes, a NUL
};

/// Holds the bytes of many names. Moving it leaves them where they are. Not thread-safe.
class Names {
 public:
  Names() = default;
  Names(Names&& other) noexcept { *this = std::move(other); }
  Names& operator=(Names&& other) noexcept {
    blocks_ = std::move(other.blocks_);
    block_size_ = std::exchange(other.block_size_, 0);
    next_ = std::exchange(other.next_, nullptr);
    left_ = std::exchange(other.left_, 0);
    return *this;
  }
  ~Names() = default;

  Name add(std::string_view name) {
    if (name.empty()) return {};
    const auto size = static_cast<Name::Size>(name.size());
    char* const bytes = take(sizeof size + size + 1);
    std::memcpy(bytes, &size, sizeof size);
    std::memcpy(bytes + sizeof size, name.data(), size);
    bytes[sizeof size + size] = '\0';
    return Name(bytes);
  }
  void clear() { *this = Names(); }

 private:
  static constexpr std::size_t smallest_block = 1U << 10;
  static constexpr std::size_t largest_block = 256U << 10;

  char* take(std::size_t bytes) {
    if (bytes > left_) {
      block_size_ = std::clamp(2 * block_size_, smallest_block, largest_block);
      left_ = std::max(block_size_, bytes);
      blocks_.emplace_back(new char[left_]);
      next_ = blocks_.back().get();
    }
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t block_size_ = 0;
  char* next_ = nullptr;  // in the last block
  std::size_t left_ = 0;
};

}  // namespace ferry::sync
