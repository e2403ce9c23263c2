#include "sync/estimate.h"

#include <fcntl.h>

#include <optional>

#include "base/files.h"
#include "base/random.h"
#include "base/time.h"
#include "sync/metadata.h"
#include "sync/staging.h"

namespace ferry::sync {

namespace {

constexpr std::uint64_t sample_bytes = 16U << 20;
constexpr std::size_t sample_wants = 4096;

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

/// Bytes that come at most for one want after the other, in order; the holes of a file are taken to be at its end.
class MostBytes {
 public:
  explicit MostBytes(const std::vector<Entry>& entries) : entries_(entries) {}

  std::uint64_t next(const FileExtent& want) {
    const Entry& entry = entries_[want.entry];
    if (want.entry != of_) left_ = entry.data();
    of_ = want.entry;
    const Extent extent = extent_of(entry.size, want.extent);
    const std::uint64_t bytes = std::min(left_, extent.end - extent.begin);
    left_ -= bytes;
    return bytes;
  }

 private:
  const std::vector<Entry>& entries_;
  std::optional<std::uint32_t> of_;
  std::uint64_t left_ = 0;
};

/// Bytes per second of a first piece of what is wanted: with a limit, of what may come in a second, but for the last
/// extent of it.
Result<double> sample(Source& source, const std::vector<FileExtent>& wants, const std::vector<Entry>& entries,
                      std::uint64_t limit, Pace& pace) {
  const std::uint64_t enough = limit != 0 ? std::min(limit, sample_bytes) : sample_bytes;
  std::size_t count = 0;
  MostBytes most(entries);
  for (std::uint64_t bytes = 0; count < wants.size() && count < sample_wants && bytes < enough; ++count)
    bytes += most.next(wants[count]);
  std::string request;
  append_wants(request, random_number(), wants_of(std::span(wants).first(count)));
  std::uint64_t came = 0;
  const auto began = SteadyClock::now();
  FERRY_TRY(source.content(request, [&](std::string_view bytes) -> Result<> {
    came += bytes.size();
    pace.spend(bytes.size());
    return {};
  }));
  return static_cast<double>(came) / std::max(seconds_since(began), 1e-6);
}

}  // namespace

Result<Estimate> estimate(Source& source, const ReceiverOptions& options, const std::filesystem::path& scratch,
                          const std::atomic<bool>& cancelled) {
  const auto began = SteadyClock::now();
  Pace pace(options.limit, cancelled);
  ManifestDecoder decoder;
  FERRY_TRY(source.manifest([&](std::string_view bytes) -> Result<> {
    if (cancelled) return fail(Code::cancelled, "cancelled");
    pace.spend(bytes.size());
    return decoder.feed(bytes);
  }));
  FERRY_ASSIGN(const Manifest manifest, decoder.finish());
  FERRY_TRY(check_features(scratch, manifest.entries));
  FERRY_ASSIGN(const auto journal, Journal::open(scratch / "journal"));
  FERRY_TRY(make_directories(scratch / "content"));
  FERRY_ASSIGN(const Fd content, open_at(AT_FDCWD, (scratch / "content").string(), O_RDONLY | O_DIRECTORY));
  Estimate result;
  std::vector<FileExtent> wants;
  if (options.update) {
    const UpdateOf& update = *options.update;
    FERRY_ASSIGN(const Version version, Version::look(update.data, options.baseline, update.host));
    Changes changes(version, manifest, content.get(), UpdatePaths(scratch).plan, update.replace, *journal,
                    Target::Cache::reliable, cancelled);
    FERRY_ASSIGN(wants, changes.prepare());
    FERRY_TRY(check_room(content.get(), scratch.string(), changes.room()));
    FERRY_TRY(changes.finish({}));
    FERRY_TRY(changes.check_changeable());
    result.names_to_remove = changes.removals();
  } else {
    FERRY_TRY(check_room(content.get(), scratch.string(), room_of(manifest.entries)));
    for (std::uint32_t index = 0; index < manifest.entries.size(); ++index)
      if (manifest.entries[index].type == Type::regular)
        for (std::uint32_t extent = 0; extent < extent_count(manifest.entries[index].size); ++extent)
          wants.push_back({index, extent});
  }
  for (const auto& entry : manifest.entries) {
    if (entry.type != Type::regular) continue;
    ++result.files_total;
    result.bytes_total += entry.data();
  }
  MostBytes most(manifest.entries);
  for (std::size_t i = 0; i < wants.size(); ++i) {
    result.bytes_to_send += most.next(wants[i]);
    if (i == 0 || wants[i].entry != wants[i - 1].entry) ++result.files_to_send;
  }
  result.seconds = seconds_since(began);
  if (wants.empty()) return result;
  FERRY_ASSIGN(const double rate, sample(source, wants, manifest.entries, options.limit, pace));
  if (rate > 0) result.seconds += static_cast<double>(result.bytes_to_send) / rate;
  return result;
}

}  // namespace ferry::sync
