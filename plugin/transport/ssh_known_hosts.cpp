#include "transport/ssh_known_hosts.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/log.h"
#include "transport/base64.h"

namespace ferry::transport {

namespace {

/// Which algorithms sign with a key of a type (RFC 8332 for RSA), the best type first.
struct Algorithms {
  std::string_view type;
  std::string_view names;
};
constexpr std::array<Algorithms, 5> all_algorithms = {{{"ssh-ed25519", "ssh-ed25519"},
                                                       {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
                                                       {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
                                                       {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
                                                       {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"}}};

constexpr std::string_view blanks = " \t";

/// Takes the first word off the line.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const auto word = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(word.size());
  return word;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
  return result;
}

/// `*` and `?` as in a shell, without case. Takes time in proportion to the product of both lengths at most.
bool matches_pattern(std::string_view name, std::string_view pattern) {
  std::size_t n = 0, p = 0;
  std::optional<std::size_t> star, resume;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || lower(pattern[p]) == lower(name[n]))) {
      ++n;
      ++p;
    } else if (star) {
      p = *star + 1;
      n = ++*resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// "|1|SALT|HASH", with HASH = HMAC-SHA1(SALT, name).
bool matches_hash(const std::string& name, std::string_view field) {
  const auto bar = field.find('|', 3);
  if (!field.starts_with("|1|") || bar == std::string_view::npos) return false;
  const auto salt = decode_base64(field.substr(3, bar - 3));
  const auto hash = decode_base64(field.substr(bar + 1));
  if (!salt || !hash) return false;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  ::HMAC(EVP_sha1(), salt->data(), static_cast<int>(salt->size()), reinterpret_cast<const unsigned char*>(name.data()),
         name.size(), digest.data(), &size);
  return *hash == std::string_view(reinterpret_cast<const char*>(digest.data()), size);
}

bool matches(const std::string& name, std::string_view field) {
  if (field.starts_with('|')) return matches_hash(name, field);
  bool found = false;
  while (!field.empty()) {
    auto pattern = field.substr(0, field.find(','));
    field.remove_prefix(std::min(pattern.size() + 1, field.size()));
    const bool negated = pattern.starts_with('!');
    if (negated) pattern.remove_prefix(1);
    if (pattern.empty() || !matches_pattern(name, pattern)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/// How known_hosts calls the host: a port that is not the usual one is part of the name.
std::string name_in_file(const Endpoint& host) {
  const std::string name = lower(host.host);
  return host.port == default_ssh_port ? name : "[" + name + "]:" + std::to_string(host.port);
}

std::optional<KnownKey> parse_line(std::string_view line, const std::string& name) {
  KnownKey key;
  auto word = take_word(line);
  if (word.empty() || word.front() == '#') return {};
  if (word.front() == '@') {
    if (word != "@revoked") return {};
    key.revoked = true;
    word = take_word(line);
  }
  if (!matches(name, word)) return {};
  key.type = take_word(line);
  const auto blob = decode_base64(take_word(line));
  if (!blob || blob->empty()) return {};
  key.blob = *blob;
  return key;
}

/// The name with which a key begins (RFC 4253, 6.6).
std::string type_of(std::string_view blob) {
  if (blob.size() < 4) return {};
  std::size_t size = 0;
  for (int i = 0; i < 4; ++i) size = size << 8U | static_cast<unsigned char>(blob[static_cast<std::size_t>(i)]);
  return std::string(blob.substr(4, std::min<std::size_t>(size, 64)));
}

/// As ssh-keyscan(1) and the names of sshd's files call it.
std::string short_type(const std::string& type) {
  if (type.starts_with("ecdsa")) return "ecdsa";
  return type.starts_with("ssh-") ? type.substr(4) : printable(type);
}

std::string how_to_add(const std::string& type, const Endpoint& host) {
  const std::string name = short_type(type);
  return "compare with `ssh-keygen -lf /etc/ssh/ssh_host_" + name + "_key.pub` typed on that host, and if it is the " +
         "same, `ssh-keyscan -t " + name + " -p " + std::to_string(host.port) + " " + host.host +
         " >> known_hosts` in the directory of the plugin's setting ssh.source";
}

std::string line_of(const KnownKey& key) { return "line " + std::to_string(key.line) + " of known_hosts"; }

}  // namespace

std::vector<KnownKey> known_keys(std::string_view text, const Endpoint& host) {
  const std::string name = name_in_file(host);
  std::vector<KnownKey> keys;
  for (int number = 1; !text.empty(); ++number) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (auto key = parse_line(line, name)) {
      key->line = number;
      keys.push_back(std::move(*key));
    }
  }
  return keys;
}

std::string host_key_algorithms(const std::vector<KnownKey>& known) {
  std::string first;
  std::string rest;
  for (const Algorithms& candidate : all_algorithms) {
    const bool is_known =
        std::ranges::any_of(known, [&](const KnownKey& key) { return !key.revoked && key.type == candidate.type; });
    std::string& list = is_known ? first : rest;
    list.append(list.empty() ? "" : ",").append(candidate.names);
  }
  return first + (first.empty() || rest.empty() ? "" : ",") + rest;
}

std::string key_fingerprint(std::string_view blob) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  ::EVP_Digest(blob.data(), blob.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string text = encode_base64({reinterpret_cast<const char*>(digest.data()), size});
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

Result<> check_host_key(const std::vector<KnownKey>& known, std::string_view blob, const Endpoint& host) {
  const std::string type = type_of(blob);
  const std::string shown = "(" + short_type(type) + ", " + key_fingerprint(blob) + ")";
  const KnownKey* other = nullptr;
  bool found = false;
  for (const auto& key : known) {
    if (key.revoked && key.blob == blob)
      return fail(Code::denied, "the host key of " + host.text() + " " + shown + " is revoked by " + line_of(key));
    if (key.revoked) continue;
    found = found || key.blob == blob;
    if (other == nullptr || (other->type != type && key.type == type)) other = &key;
  }
  if (found) return {};
  if (other == nullptr)
    return fail(Code::denied,
                "the host key of " + host.text() + " " + shown + " is not known here; " + how_to_add(type, host));
  if (other->type != type)
    return fail(Code::denied, "the host key of " + host.text() + " " + shown + " is not known here, only one of type " +
                                  short_type(other->type) + ", which that host does not show; " +
                                  how_to_add(type, host));
  return fail(Code::denied, "the host key of " + host.text() + " HAS CHANGED: it shows " + shown + ", but " +
                                line_of(*other) + " has " + key_fingerprint(other->blob) +
                                "; either somebody is in between, or that host was set up anew: only if you know " +
                                "that it was, remove that line and " + how_to_add(type, host));
}

}  // namespace ferry::transport
