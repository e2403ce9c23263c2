#include "sync/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/files.h"
#include "sync/wire.h"

namespace ferry::sync {

namespace fs = std::filesystem;

namespace {

constexpr std::uint8_t kind_end = 255;
constexpr std::size_t piece = 1U << 20;

fs::path unfinished(const fs::path& path) { return path.string() + ".new"; }

}  // namespace

Result<StateWriter> StateWriter::create(const fs::path& path) {
  FERRY_ASSIGN(Fd file, open_at(AT_FDCWD, unfinished(path).string(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return StateWriter(path, std::move(file));
}

Result<> StateWriter::record(std::string_view body) {
  digest_ = chain(digest_, count_++, body.size(), digest_of(body));
  append_record(pending_, body);
  return pending_.size() < piece ? Result<>() : flush();
}

Result<> StateWriter::add(std::string_view records) {
  RecordDecoder decoder(longest_manifest_record, [this](std::string_view body) { return record(body); });
  return decoder.feed(records);
}

Result<> StateWriter::manifest(const Manifest& manifest) {
  std::string bytes;
  append_header(bytes, manifest.info);
  for (const auto& entry : manifest.entries) {
    append_entry(bytes, entry);
    if (bytes.size() < piece / 4) continue;
    FERRY_TRY(add(bytes));
    bytes.clear();
  }
  append_trailer(bytes, manifest.info, manifest.entries.size());
  return add(bytes);
}

Result<> StateWriter::flush() {
  FERRY_TRY(write_all(file_.get(), pending_, path_.string()));
  pending_.clear();
  return {};
}

Result<> StateWriter::finish(Durable durable) {
  std::string end;
  Writer writer(end);
  writer.byte(kind_end);
  writer.number(count_);
  writer.digest(digest_);
  append_record(pending_, end);
  FERRY_TRY(flush());
  if (durable == Durable::yes && ::fsync(file_.get()) != 0) return fail_errno("sync " + path_.string());
  if (std::rename(unfinished(path_).c_str(), path_.c_str()) != 0) return fail_errno("rename to " + path_.string());
  return durable == Durable::yes ? sync_directory(path_.parent_path()) : Result<>();
}

Result<> read_state(const fs::path& path, const std::function<Result<>(std::string_view body)>& handler) {
  FERRY_ASSIGN(const Fd file, open_at(AT_FDCWD, path.string(), O_RDONLY | O_NOFOLLOW));
  Digest digest{};
  std::uint64_t count = 0;
  bool complete = false;
  RecordDecoder decoder(longest_manifest_record, [&](std::string_view body) -> Result<> {
    if (complete) return fail(Code::corrupt, path.string() + " goes on after its end");
    Reader reader(body);
    if (reader.byte() == kind_end) {
      complete = reader.number() == count && reader.digest() == digest && reader.at_end();
      return complete ? Result<>() : fail(Code::corrupt, path.string() + " is damaged");
    }
    digest = chain(digest, count++, body.size(), digest_of(body));
    return handler(body);
  });
  std::string buffer(piece, '\0');
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path.string());
    if (got == 0) break;
    FERRY_TRY(decoder.feed(std::string_view(buffer).substr(0, static_cast<std::size_t>(got))));
  }
  if (!complete) return fail(Code::corrupt, path.string() + " is incomplete");
  return {};
}

}  // namespace ferry::sync
