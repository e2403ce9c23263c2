#include "volumes/catalogue.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "volumes/names.h"

namespace ferry::volumes {

namespace fs = std::filesystem;

namespace {

constexpr int format = 1;

Result<Fd> take_lock(const Layout& layout) {
  FERRY_ASSIGN(Fd fd, open_at(AT_FDCWD, layout.lock().string(), O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock " + layout.lock().string());
    return fail(Code::busy, layout.base().string() + " is in use by another Ferry process; only one may serve it");
  }
  return fd;
}

Result<std::vector<std::string>> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) return fail(Code::io, "read directory " + directory.string() + ": " + error.message());
  return names;
}

/// Also an error (Code::corrupt) for what is no regular file, which may block for ever or be of any size.
Result<std::string> read_record(const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return fail_errno("stat " + path.string());
  if (!S_ISREG(info.st_mode)) return fail(Code::corrupt, path.string() + " is not a regular file");
  return read_file(path);
}

bool has_directory(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string trash_name() { return std::to_string(std::time(nullptr)) + "-" + random_hex(8); }

}  // namespace

Result<std::unique_ptr<Catalogue>> Catalogue::open(const Layout& layout) {
  FERRY_TRY(make_directories(layout.base()));
  FERRY_ASSIGN(Fd lock, take_lock(layout));
  for (const auto& path : {layout.volumes(), layout.incoming(), layout.trash(), layout.quarantine(), layout.orphans()})
    FERRY_TRY(make_directories(path));
  std::unique_ptr<Catalogue> catalogue(new Catalogue(layout, std::move(lock)));
  FERRY_TRY(catalogue->load());
  return catalogue;
}

Result<> Catalogue::load() {
  FERRY_TRY(load_identity());
  FERRY_ASSIGN(const auto unfinished, names_in(layout_.incoming()));
  for (const auto& name : unfinished) FERRY_TRY(remove_tree(layout_.incoming() / name));
  FERRY_ASSIGN(const auto names, names_in(layout_.volumes()));
  for (const auto& name : names) FERRY_TRY(load_volume(name));
  spdlog::info("catalogue {} has {} volumes", uuid_, records_.size());
  return {};
}

Result<> Catalogue::load_identity() {
  auto text = read_file(layout_.catalogue());
  if (!text && text.error().code == Code::not_found) {
    FERRY_ASSIGN(const auto names, names_in(layout_.volumes()));
    if (!names.empty())
      return fail(Code::corrupt, layout_.catalogue().string() + " is missing but " + layout_.volumes().string() +
                                     " is not empty; restore that file or move the volumes away");
    uuid_ = random_uuid();
    const nlohmann::json json = {{"format", format}, {"uuid", uuid_}};
    return write_file_atomically(layout_.catalogue(), json.dump(2) + "\n");
  }
  if (!text) return pass(text);
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  const bool fits = json.is_object() && json.contains("uuid") && json["uuid"].is_string() &&
                    !json["uuid"].get_ref<const std::string&>().empty() && json.contains("format") &&
                    json["format"] == format;
  if (!fits)
    return fail(Code::corrupt, layout_.catalogue().string() + " is not a catalogue of format " +
                                   std::to_string(format) + "; restore it from a backup");
  uuid_ = json["uuid"].get<std::string>();
  return {};
}

Result<> Catalogue::load_volume(const std::string& name) {
  if (!check_name(name)) {
    spdlog::warn("ignoring {} in {}: not a volume name", quote(name), layout_.volumes().string());
    return {};
  }
  auto text = read_record(layout_.record(name));
  if (!text && text.error().code == Code::io) {
    list_quarantined(name, text.error().message + "; the record was left where it is");
    return {};
  }
  auto record = text ? decode(*text, name) : Result<VolumeRecord>(pass(text));
  if (!record && record.error().code == Code::unsupported) {
    list_quarantined(name, record.error().message + "; the record was left where it is, for that version");
    return {};
  }
  if (!record) return quarantine_record(name, record.error().message);
  FERRY_TRY(finish_commit(*record));
  if (auto finished = finish_failure(*record); !finished) spdlog::warn("{}", finished.error().message);
  if ((record->state == State::ready || record->state == State::handed_off) && !has_directory(layout_.data(name))) {
    list_quarantined(name, "its data directory is missing; the record was left where it is");
    return {};
  }
  publish(std::move(*record));
  return {};
}

Result<> Catalogue::quarantine_record(const std::string& name, const std::string& reason) {
  struct stat info {};
  std::string kept = "no record is there; see " + layout_.quarantine().string();
  if (::lstat(layout_.record(name).c_str(), &info) == 0) {
    const fs::path target = layout_.quarantine() / (name.substr(0, 200) + "." + trash_name() + ".record.json");
    FERRY_TRY(rename_durably(layout_.record(name), target));
    kept = "the record is now " + target.string();
  }
  list_quarantined(name, reason + "; " + kept);
  return {};
}

// The data stays where it is: the volume is listed, so that the Engine keeps its labels, but cannot be mounted.
void Catalogue::list_quarantined(const std::string& name, const std::string& reason) {
  VolumeRecord record;
  record.name = name;
  record.state = State::quarantined;
  const std::string line = "volume " + name + " cannot be served: " + reason + "; its files are untouched in " +
                           layout_.volume(name).string();
  spdlog::error("QUARANTINE: {}", line);
  record.migration = {{"error", line}};
  publish(std::move(record));
}

// A ready record beside a staging directory is a commit that a crash interrupted: see commit_staging. The journal is
// then of what has come; beside an update's directory it is the update's, which is carried on with it.
Result<> Catalogue::finish_commit(const VolumeRecord& record) {
  if (record.state != State::ready) return {};
  if (!has_directory(layout_.data(record.name)) && has_directory(layout_.staging(record.name)))
    FERRY_TRY(rename_durably(layout_.staging(record.name), layout_.data(record.name)));
  if (has_directory(layout_.update(record.name))) return {};
  std::error_code ignored;
  fs::remove(layout_.journal(record.name), ignored);
  return {};
}

// A failed record beside staging or what it became is a deletion that was stopped or a crash interrupted: see
// drop_staging. It may take long, so that the trash does it.
Result<> Catalogue::finish_failure(const VolumeRecord& record) {
  if (record.state != State::failed) return {};
  for (const auto& left : {layout_.staging(record.name), layout_.dropped(record.name)})
    if (has_directory(left)) FERRY_TRY(rename_durably(left, layout_.trash() / ("0-" + random_hex(8))));
  return remove_tree(layout_.journal(record.name));
}

Catalogue::Snapshot Catalogue::find(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  const auto it = records_.find(name);
  return it == records_.end() ? nullptr : it->second;
}

std::size_t Catalogue::size() const {
  const std::lock_guard guard(mutex_);
  return records_.size();
}

std::vector<Catalogue::Snapshot> Catalogue::list() const {
  const std::lock_guard guard(mutex_);
  std::vector<Snapshot> all;
  all.reserve(records_.size());
  for (const auto& [name, record] : records_) all.push_back(record);
  return all;
}

void Catalogue::publish(VolumeRecord record) {
  auto snapshot = std::make_shared<const VolumeRecord>(std::move(record));
  const std::lock_guard guard(mutex_);
  records_[snapshot->name] = snapshot;
}

Result<> Catalogue::store(const VolumeRecord& record) {
  return write_file_atomically(layout_.record(record.name), encode(record));
}

Result<> Catalogue::create(VolumeRecord record) {
  const fs::path directory = layout_.incoming() / random_hex(8);
  const auto prepare = [&]() -> Result<> {
    const fs::path content = directory / (record.state == State::importing ? "staging" : "data");
    if (::mkdir(directory.c_str(), 0700) != 0) return fail_errno("mkdir " + directory.string());
    if (record.kind == Kind::volume && ::mkdir(content.c_str(), 0755) != 0)
      return fail_errno("mkdir " + content.string());
    return install(record, directory, write_new_file);
  };
  Result<> created = prepare();
  if (!created) (void)remove_tree(directory);
  return created;
}

Result<> Catalogue::adopt(VolumeRecord record, const std::string& id) {
  return install(std::move(record), layout_.orphans() / id, write_file_atomically);
}

// Everything in the directory is durable before it becomes a volume. What cannot become one durably must not keep the
// name from the next attempt.
Result<> Catalogue::install(VolumeRecord record, const fs::path& directory, WriteRecord write) {
  const auto guard = names_.lock(record.name);
  if (find(record.name)) return fail(Code::already_exists, "volume " + record.name + " exists already");
  FERRY_TRY(write(directory / Layout::record_name, encode(record), 0600));
  auto named = rename_durably(directory, layout_.volume(record.name));
  if (!named && !has_directory(directory)) {  // only a sync has failed
    auto undone = rename_durably(layout_.volume(record.name), directory);
    if (!undone) spdlog::error("volume {}: {}", record.name, undone.error().message);
  }
  if (!named) return named;
  publish(std::move(record));
  return {};
}

Result<> Catalogue::update(const std::string& name, const std::function<void(VolumeRecord&)>& change) {
  const auto guard = names_.lock(name);
  const Snapshot current = find(name);
  if (!current || current->state == State::quarantined) return fail(Code::not_found, "no such volume: " + name);
  VolumeRecord next = *current;
  change(next);
  FERRY_TRY(store(next));
  publish(std::move(next));
  return {};
}

Result<> Catalogue::commit_staging(const std::string& name, const std::function<void(VolumeRecord&)>& change) {
  const auto guard = names_.lock(name);
  const Snapshot current = find(name);
  if (!current) return fail(Code::not_found, "no such volume: " + name);
  const auto is_renamed = [&] { return has_directory(layout_.data(name)) && !has_directory(layout_.staging(name)); };
  const bool again = is_renamed();  // by an attempt of which only the sync has failed
  if (has_directory(layout_.data(name)) && !again)
    return fail(Code::already_exists,
                "volume " + name + " has a data directory already, which is in the way of the import");
  VolumeRecord next = *current;
  change(next);
  Result<> done = store(next);
  if (done) done = finish_commit(next);
  if (done && again) done = sync_directory(layout_.volume(name));
  if (!done) {  // also if store failed: it may have failed after its rename
    Result<> undone;
    if (is_renamed()) undone = rename_durably(layout_.data(name), layout_.staging(name));
    if (undone) undone = store(*current);  // else it stays ready on disk, which the next attempt or open() finishes
    if (!undone) spdlog::error("volume {}: {}", name, undone.error().message);
    return done;
  }
  publish(std::move(next));
  return {};
}

Result<> Catalogue::restart_import(const std::string& name, const std::function<void(VolumeRecord&)>& change) {
  const auto guard = names_.lock(name);
  const Snapshot current = find(name);
  if (!current || current->state != State::failed) return fail(Code::not_found, "volume " + name + " has not failed");
  for (const auto& left : {layout_.staging(name), layout_.dropped(name)})
    if (has_directory(left)) FERRY_TRY(rename_durably(left, layout_.trash() / ("0-" + random_hex(8))));
  FERRY_TRY(remove_tree(layout_.journal(name)));
  FERRY_TRY(make_directories(layout_.staging(name), 0755));
  VolumeRecord next = *current;
  change(next);
  FERRY_TRY(store(next));
  publish(std::move(next));
  return {};
}

// Data goes before the record says that there is none: a ready record without data, beside staging, becomes one that
// has it (finish_commit), and an importing one must not have any.
Result<> Catalogue::empty_for_import(const std::string& name, const std::function<void(VolumeRecord&)>& change) {
  const auto guard = names_.lock(name);
  const Snapshot current = find(name);
  if (!current || current->kind != Kind::volume) return fail(Code::not_found, "no such volume: " + name);
  if (current->state != State::ready)
    return fail(Code::busy, "volume " + name + " is " + std::string(to_string(current->state)));
  FERRY_TRY(remove_tree(layout_.journal(name)));
  FERRY_TRY(make_directories(layout_.staging(name), 0755));
  if (has_directory(layout_.data(name)))
    FERRY_TRY(rename_durably(layout_.data(name), layout_.trash() / ("0-" + random_hex(8))));
  VolumeRecord next = *current;
  change(next);
  FERRY_TRY(store(next));
  publish(std::move(next));
  return {};
}

Result<> Catalogue::prepare_update(const std::string& name) {
  const auto guard = names_.lock(name);
  if (!has_directory(layout_.data(name))) return fail(Code::not_found, "volume " + name + " has no data");
  for (const char* part : {"content", "gone"}) FERRY_TRY(make_directories(layout_.update(name) / part));
  return {};
}

Result<> Catalogue::drop_update(const std::string& name) {
  const auto guard = names_.lock(name);
  FERRY_TRY(remove_tree(layout_.journal(name)));  // first: it must not tell of what is not there
  if (!has_directory(layout_.update(name))) return {};
  return rename_durably(layout_.update(name), layout_.trash() / ("0-" + random_hex(8)));
}

Result<> Catalogue::drop_staging(const std::string& name, const std::atomic<bool>* stop) {
  {
    const auto guard = names_.lock(name);
    const Snapshot current = find(name);
    if (!current || current->state == State::ready) return fail(Code::not_found, "volume " + name + " is no import");
    if (has_directory(layout_.staging(name))) FERRY_TRY(rename_durably(layout_.staging(name), layout_.dropped(name)));
    FERRY_TRY(remove_tree(layout_.journal(name)));
  }
  return remove_tree(layout_.dropped(name), stop);
}

Result<> Catalogue::move_out(const std::string& name, const fs::path& destination) {
  const auto guard = names_.lock(name);
  if (!find(name)) return fail(Code::not_found, "no such volume: " + name);
  auto moved = rename_durably(layout_.volume(name), destination);
  if (!moved && has_directory(layout_.volume(name))) return moved;  // if only its fsync has failed, it is gone
  const std::lock_guard lock(mutex_);
  records_.erase(name);
  return moved;
}

Result<> Catalogue::remove(const std::string& name) {
  const Snapshot current = find(name);
  const bool keep = current && current->state == State::quarantined;
  if (keep) return move_out(name, layout_.quarantine() / (name.substr(0, 200) + "." + trash_name()));
  return move_out(name, layout_.trash() / trash_name());
}

Result<std::string> Catalogue::orphan(const std::string& name) {
  const std::string id = random_hex(16);
  FERRY_TRY(move_out(name, layout_.orphans() / id));
  return id;
}

Result<std::map<std::string, VolumeRecord>> Catalogue::orphans() const {
  std::map<std::string, VolumeRecord> found;
  FERRY_ASSIGN(const auto ids, names_in(layout_.orphans()));
  for (const auto& id : ids) {
    auto text = read_record(layout_.orphans() / id / Layout::record_name);
    const auto json = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
    if (!json.is_object() || !json.contains("name") || !json["name"].is_string()) continue;
    auto record = decode(*text, json["name"].get<std::string>());
    const bool usable =
        record && record->state == State::importing && has_directory(layout_.orphans() / id / "staging");
    if (usable) found.emplace(id, std::move(*record));
  }
  return found;
}

}  // namespace ferry::volumes
