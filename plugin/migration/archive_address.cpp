#include "migration/archive_address.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"

namespace ferry::migration {

namespace {

constexpr std::string_view sftp_scheme = "sftp://";
constexpr std::string_view file_scheme = "file://";
constexpr std::size_t longest_path = 4000;

constexpr std::array<std::pair<std::string_view, archive::Compression>, 5> endings = {
    {{".tar", archive::Compression::none},
     {".tar.zst", archive::Compression::zstd},
     {".tzst", archive::Compression::zstd},
     {".tar.gz", archive::Compression::gzip},
     {".tgz", archive::Compression::gzip}}};

tl::unexpected<Error> refuse(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<std::string> parse_path(std::string_view text) {
  if (text.size() < 2 || text.front() != '/' || text.back() == '/')
    return refuse("the path of the archive is missing; it is absolute, and a file's, such as /backups/pg.tar.zst");
  const bool printable_only = std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < ' '; });
  if (!printable_only || text.size() > longest_path) return refuse(quote(text) + " is not a path for an archive");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    if (text.substr(begin, end - begin) == "..") return refuse("the path of an archive has no ..: " + quote(text));
    begin = end + 1;
  }
  return std::string(text);
}

Result<ArchiveAddress> parse_sftp(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos)
    return refuse("the path of the archive is missing; use sftp://[USER@]HOST[:PORT]/PATH");
  // A password with slashes in it looks like a port and a path, which would be stored and shown.
  const auto host = text.substr(0, slash);
  if (host.find(':') != std::string_view::npos && host.find('@') == std::string_view::npos &&
      text.find('@', slash) != std::string_view::npos)
    return refuse(
        "there is an @ behind the first slash; use sftp://[USER@]HOST[:PORT]/PATH, without a password (with "
        "an @ in PATH, write USER@, too)");
  ArchiveAddress address;
  address.way = ArchiveAddress::Way::sftp;
  FERRY_ASSIGN(address.host, transport::parse_peer_address("ssh://" + std::string(text.substr(0, slash))));
  FERRY_ASSIGN(address.path, parse_path(text.substr(slash)));
  return address;
}

}  // namespace

std::string ArchiveAddress::text() const {
  if (way == Way::file) return std::string(file_scheme) + path;
  return std::string(sftp_scheme) + host.user + "@" + host.endpoint.text() + path;
}

bool is_archive_address(std::string_view text) {
  return text.starts_with(sftp_scheme) || text.starts_with(file_scheme);
}

Result<ArchiveAddress> parse_archive_address(std::string_view text) {
  if (text.starts_with(sftp_scheme)) return parse_sftp(text.substr(sftp_scheme.size()));
  if (!text.starts_with(file_scheme)) return refuse("it is neither sftp://… nor file://…");
  ArchiveAddress address;
  FERRY_ASSIGN(address.path, parse_path(text.substr(file_scheme.size())));
  return address;
}

Result<archive::Compression> compression_of(const ArchiveAddress& address) {
  const std::string name = address.path.substr(address.path.rfind('/') + 1);
  for (const auto& [ending, compression] : endings)
    if (name.size() > ending.size() && name.ends_with(ending)) return compression;
  return refuse("the archive's name says how it is compressed: use .tar, .tar.zst or .tar.gz");
}

tl::unexpected<Error> exists_already(const ArchiveAddress& address) {
  return fail(Code::already_exists,
              address.text() + " exists already; use another name, or -o replace=true to lose what it is");
}

void add_to_json(nlohmann::json& json, const ArchiveAddress& address) { json["archive"] = address.text(); }

ArchiveAddress archive_address_of(const nlohmann::json& json) {
  auto address = parse_archive_address(json.at("archive").get<std::string>());
  if (!address) throw nlohmann::json::other_error::create(501, address.error().message, &json);
  return std::move(*address);
}

}  // namespace ferry::migration
