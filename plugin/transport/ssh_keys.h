#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::transport {

/// The content of a private key's file, wiped when it goes. Never logged.
class PrivateKey {
 public:
  PrivateKey(std::string file, std::string content) : name_(std::move(file)), content_(std::move(content)) {}
  PrivateKey(PrivateKey&& other) noexcept = default;
  PrivateKey& operator=(PrivateKey&&) = delete;
  ~PrivateKey();

  const std::string& name() const { return name_; }
  const std::string& content() const { return content_; }

 private:
  std::string name_;
  std::string content_;
};

/// What there is to log in with.
struct PrivateKeys {
  std::vector<PrivateKey> usable;
  std::vector<std::string> unusable;  ///< why not: a sentence each, which names the file and says what would be right
};

/// Whether a private key is encrypted with a passphrase: in OpenSSH's own format (PROTOCOL.key) and the PEM ones.
bool has_passphrase(std::string_view content);

/// Reads id_ed25519, id_ecdsa and id_rsa from a directory, as often as it is asked, so that a new file counts from the
/// next connection on. As ssh(1) does, it leaves a key alone that others than its owner may read.
PrivateKeys load_private_keys(const std::filesystem::path& directory);

/// What is wrong when none is usable. Code::denied.
Error explain_no_key(const PrivateKeys& keys);

}  // namespace ferry::transport
