#include "archive/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <stdexcept>

namespace ferry::archive {

namespace {

/// As much of a hole is hashed as of anything else without being asked.
constexpr std::uint64_t small_hole = 1U << 20;

std::string hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += digits[static_cast<unsigned char>(c) >> 4];
    text += digits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::string_view view(const Sha256::Value& value, std::size_t size = sizeof(Sha256::Value)) {
  return {reinterpret_cast<const char*>(value.data()), size};
}

void must(int succeeded) {
  if (succeeded != 1) throw std::runtime_error("OpenSSL has no SHA-256");
}

/// A letter for each type, as ls(1) and find(1) have them.
char letter_of(sync::Type type) {
  switch (type) {
    case sync::Type::directory: return 'd';
    case sync::Type::regular: return '-';
    case sync::Type::symlink: return 'l';
    case sync::Type::fifo: return 'p';
    case sync::Type::character_device: return 'c';
    case sync::Type::block_device: return 'b';
    case sync::Type::hard_link: break;
  }
  return 'h';
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { ::EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(::EVP_MD_CTX_new()) { must(::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr)); }

void Sha256::add(std::string_view bytes) { must(::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size())); }

Sha256::Value Sha256::finish() {
  Value value;
  must(::EVP_DigestFinal_ex(context_.get(), value.data(), nullptr));
  must(::EVP_DigestInit_ex(context_.get(), nullptr, nullptr));
  return value;
}

FileDigest::Kind kind_of_digest(std::uint64_t size, std::uint64_t data) {
  return size - data > data + small_hole ? FileDigest::Kind::non_zero : FileDigest::Kind::sha256;
}

void ContentHash::begin(FileDigest::Kind kind) {
  kind_ = kind;
  at_ = 0;
}

Result<> ContentHash::add(std::uint64_t offset, std::string_view bytes) {
  if (kind_ == FileDigest::Kind::non_zero) {
    non_zero_.add(offset, bytes);
    return {};
  }
  FERRY_TRY(add_zeros(offset));
  sha256_.add(bytes);
  at_ += bytes.size();
  return {};
}

Result<> ContentHash::add_zeros(std::uint64_t end) {
  static constexpr char zeros[1U << 16] = {};
  while (at_ < end) {
    FERRY_TRY(progress_.check());
    const auto size = std::min<std::uint64_t>(end - at_, sizeof zeros);
    sha256_.add({zeros, static_cast<std::size_t>(size)});
    at_ += size;
  }
  return {};
}

Result<FileDigest> ContentHash::finish(std::uint64_t size) {
  FileDigest digest{kind_, {}};
  if (kind_ == FileDigest::Kind::non_zero) {
    const sync::Digest value = non_zero_.finish();
    std::copy(value.begin(), value.end(), digest.value.begin());
  } else {
    FERRY_TRY(add_zeros(size));
    digest.value = sha256_.finish();
  }
  return digest;
}

MetadataHash::MetadataHash(std::string_view front_matter) { add_text(front_matter); }

/// Its length comes first, so that no two lists of texts are hashed alike.
void MetadataHash::add_text(std::string_view text) {
  sha256_.add(std::to_string(text.size()) + ":");
  sha256_.add(text);
}

void MetadataHash::add(std::string_view path, const sync::Entry& entry) {
  const sync::Timestamp mtime = entry.mtime();
  add_text(path);
  const char letter = letter_of(entry.type);
  add_text({&letter, 1});
  for (const std::uint64_t number : {std::uint64_t{entry.mode}, std::uint64_t{entry.uid}, std::uint64_t{entry.gid},
                                     entry.size, entry.extra().device})
    add_text(std::to_string(number));
  add_text(std::to_string(mtime.s));
  add_text(std::to_string(mtime.ns));
  add_text(entry.extra().target);
  add_text(std::to_string(entry.extra().xattrs.size()));
  for (const auto& xattr : entry.extra().xattrs) {
    add_text(xattr.name);
    add_text(xattr.value);
  }
}

void MetadataHash::add_link(std::string_view path, std::string_view first) {
  add_text(path);
  add_text("h");
  add_text(first);
}

std::string MetadataHash::finish() { return hex(view(sha256_.finish())); }

std::string to_hex(const FileDigest& digest) {
  return hex(view(digest.value, digest.kind == FileDigest::Kind::sha256 ? 32 : 16));
}

}  // namespace ferry::archive
