#include "transport/key_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "base/fd.h"
#include "base/files.h"
#include "base/random.h"

namespace ferry::transport {

namespace {

constexpr std::size_t hex_digits = 2 * Key::size;

/// Text that is wiped when it goes out of scope.
struct Secret {
  std::string text;
  ~Secret() { OPENSSL_cleanse(text.data(), text.size()); }
};

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<> check_access(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_errno("stat " + path);
  if (!S_ISREG(status.st_mode)) return fail(Code::corrupt, "the key file " + path + " is not a regular file");
  if ((status.st_mode & 077) != 0)
    return fail(Code::denied,
                "the key file " + path + " can be accessed by others; make it private: chmod 600 " + path);
  if (status.st_uid != ::geteuid() && status.st_uid != 0)
    return fail(Code::denied, "the key file " + path + " belongs to another user; make it root's: chown root " + path);
  return {};
}

/// One read(2) of a little more than a right file has: a longer file shows as such.
Result<> read_secret(int fd, const std::string& path, Secret& secret) {
  secret.text.resize(hex_digits + 16);
  const ssize_t n = ::read(fd, secret.text.data(), secret.text.size());
  if (n < 0) return fail_errno("read " + path);
  secret.text.resize(static_cast<std::size_t>(n));
  return {};
}

std::string_view without_line_end(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

Key::Key(std::span<const std::uint8_t, size> bytes) : bytes_{} { std::ranges::copy(bytes, bytes_.begin()); }

Key::~Key() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::string Key::fingerprint() const {
  static constexpr std::string_view domain("ferry key fingerprint 1\0", 24);
  std::array<std::uint8_t, domain.size() + size> input;
  std::ranges::copy(domain, input.begin());
  std::ranges::copy(bytes_, input.begin() + domain.size());
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(input.data(), input.size(), digest.data());
  OPENSSL_cleanse(input.data(), input.size());
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (std::size_t i = 0; i < 4; ++i) {
    hex += digits[digest[i] >> 4];
    hex += digits[digest[i] & 15];
  }
  return hex;
}

Result<> KeyFile::ensure() const {
  if (::access(path_.c_str(), F_OK) != 0) {
    const std::filesystem::path temporary = path_.string() + ".new-" + random_hex(8);
    Secret content{random_hex(Key::size) + "\n"};
    FERRY_TRY(make_directories(path_.parent_path()));
    FERRY_TRY(write_file_atomically(temporary, content.text, 0600));
    auto renamed = rename_durably(temporary, path_);
    if (!renamed) ::unlink(temporary.c_str());
    if (!renamed && renamed.error().code != Code::already_exists) return renamed;
  }
  auto key = load();
  if (!key) return pass(key);
  return {};
}

Result<Key> KeyFile::load() const {
  const std::string path = path_.string();
  FERRY_ASSIGN(const Fd fd, open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK));
  FERRY_TRY(check_access(fd.get(), path));
  Secret secret;
  FERRY_TRY(read_secret(fd.get(), path, secret));
  const auto digits = without_line_end(secret.text);
  const bool right =
      digits.size() == hex_digits && std::ranges::all_of(digits, [](char c) { return hex_value(c) >= 0; });
  if (!right) return fail(Code::corrupt, "the key file " + path + " must hold 64 hex digits and nothing else");
  std::array<std::uint8_t, Key::size> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(hex_value(digits[2 * i]) * 16 + hex_value(digits[2 * i + 1]));
  Key key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

}  // namespace ferry::transport
