#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "archive/compression.h"
#include "base/result.h"
#include "transport/peer_address.h"

namespace ferry::migration {

/// Where an archive is: a file behind an sshd, or in the directory that the plugin has mounted for archives.
struct ArchiveAddress {
  enum class Way { sftp, file };

  Way way = Way::file;
  transport::PeerAddress host;  ///< of sftp
  std::string path;             ///< absolute; of file: below the mounted directory

  /// "sftp://USER@HOST:PORT/PATH" or "file:///PATH"; parse_archive_address reads it back.
  std::string text() const;
  bool operator==(const ArchiveAddress&) const = default;
};

/// Whether a value of from or to is meant to be one.
bool is_archive_address(std::string_view text);

/// Code::invalid_argument: one sentence on what would be right.
Result<ArchiveAddress> parse_archive_address(std::string_view text);

/// How an archive that is written there is to be compressed, by its name: .tar, .tar.zst (.tzst) or .tar.gz (.tgz).
/// Code::invalid_argument otherwise.
Result<archive::Compression> compression_of(const ArchiveAddress& address);

/// Code::already_exists, and what to do about it.
tl::unexpected<Error> exists_already(const ArchiveAddress& address);

/// As a record keeps it, in an object with other members.
void add_to_json(nlohmann::json& json, const ArchiveAddress& address);
/// Throws nlohmann::json::exception.
ArchiveAddress archive_address_of(const nlohmann::json& json);

}  // namespace ferry::migration
