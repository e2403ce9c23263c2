#include "transport/ssh_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <optional>

#include "base/files.h"
#include "transport/base64.h"

namespace ferry::transport {

namespace {

constexpr std::array<const char*, 3> names = {"id_ed25519", "id_ecdsa", "id_rsa"};
constexpr std::size_t largest_key = 64U << 10;
constexpr mode_t of_others = 077;

/// The first `size` characters behind the line that begins a PEM, without line breaks. No more, because what follows is
/// secret.
std::string pem_begin(std::string_view content, std::string_view begin, std::size_t size) {
  std::string body;
  content.remove_prefix(content.find(begin) + begin.size());
  for (const char c : content.substr(0, content.find("-----END"))) {
    if (body.size() == size) break;
    if (c != '\n' && c != '\r' && c != ' ') body += c;
  }
  return body;
}

std::string octal(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & 07777U);
  return text;
}

std::string place(const std::string& name) { return "the private key " + name + " in the directory ssh.source"; }

/// None: there is no such file. The content of one that may not be used is never read.
std::optional<Result<std::string>> read_key(const std::filesystem::path& directory, const std::string& name) {
  const auto path = directory / name;
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(place(name) + " cannot be read");
  }
  if (!S_ISREG(facts.st_mode)) return fail(Code::denied, place(name) + " is not a file");
  if ((facts.st_mode & of_others) != 0)
    return fail(Code::denied, place(name) + " may be read by others (mode " + octal(facts.st_mode) +
                                  "), so it is not used; chmod 600 it");
  auto content = read_file(path, largest_key);
  if (!content) return fail(Code::denied, place(name) + " cannot be read: " + content.error().message);
  if (has_passphrase(*content))
    return fail(Code::denied, place(name) + " has a passphrase, which nobody can type here; use one without " +
                                  "(ssh-keygen -p removes it), or make one for Ferry alone");
  return content;
}

}  // namespace

PrivateKey::~PrivateKey() { ::OPENSSL_cleanse(content_.data(), content_.size()); }

bool has_passphrase(std::string_view content) {
  constexpr std::string_view openssh = "-----BEGIN OPENSSH PRIVATE KEY-----";
  if (content.find(openssh) != std::string_view::npos) {
    // "openssh-key-v1\0", then the cipher's name as SSH's string: "none" for an open key
    constexpr std::string_view open("openssh-key-v1\0\0\0\0\4none", 23);
    const auto begin = decode_base64(pem_begin(content, openssh, 32));
    return begin && begin->starts_with("openssh-key-v1") && !begin->starts_with(open);
  }
  return content.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") != std::string_view::npos ||
         content.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos;
}

PrivateKeys load_private_keys(const std::filesystem::path& directory) {
  PrivateKeys keys;
  for (const std::string name : names) {
    auto content = read_key(directory, name);
    if (!content) continue;
    if (*content)
      keys.usable.emplace_back(name, std::move(**content));
    else
      keys.unusable.push_back(content->error().message);
  }
  return keys;
}

Error explain_no_key(const PrivateKeys& keys) {
  if (!keys.unusable.empty()) return {Code::denied, keys.unusable.front()};
  return {Code::denied,
          "there is no key to log in with through ssh: the directory of the plugin's setting ssh.source has none of "
          "id_ed25519, id_ecdsa and id_rsa; docker plugin disable -f ferry; docker plugin set ferry "
          "ssh.source=/root/.ssh; docker plugin enable ferry"};
}

}  // namespace ferry::transport
