#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace ferry::sync {

/// A file's name, of less than 64 KiB. There may be millions in memory: it takes a pointer and what it points to, about
/// half of a std::string of the same name.
class Name {
 public:
  Name() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it is a string
  Name(std::string_view name) {
    if (name.empty()) return;
    const auto size = static_cast<Size>(name.size());
    bytes_.reset(new char[sizeof size + size + 1]);
    std::memcpy(bytes_.get(), &size, sizeof size);
    std::memcpy(&bytes_[sizeof size], name.data(), size);
    bytes_[sizeof size + size] = '\0';
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  Name(const std::string& name) : Name(std::string_view(name)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Name(const char* name) : Name(std::string_view(name)) {}
  Name(const Name& other) : Name(other.view()) {}
  Name(Name&&) noexcept = default;
  Name& operator=(Name other) noexcept {
    bytes_ = std::move(other.bytes_);
    return *this;
  }
  ~Name() = default;

  bool empty() const { return !bytes_; }
  std::size_t size() const {
    Size size = 0;
    if (bytes_) std::memcpy(&size, bytes_.get(), sizeof size);
    return size;
  }
  /// With a NUL behind it, as the following.
  const char* c_str() const { return bytes_ ? &bytes_[sizeof(Size)] : ""; }
  std::string_view view() const { return {c_str(), size()}; }
  std::string str() const { return std::string(view()); }
  // NOLINTNEXTLINE(google-explicit-constructor)
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
  using Size = std::uint16_t;
  std::unique_ptr<char[]> bytes_;  // a Size, so many bytes, a NUL
};

}  // namespace ferry::sync
