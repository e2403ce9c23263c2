#include "sync/receiver.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"
#include "base/periodic.h"
#include "base/random.h"
#include "base/time.h"
#include "sync/content.h"
#include "sync/file_writer.h"
#include "sync/metadata.h"
#include "sync/plan.h"
#include "sync/staging.h"
#include "sync/sync_file_system.h"

namespace ferry::sync {

namespace {

constexpr std::uint64_t batch_bytes = 64U << 20;
constexpr std::size_t batch_files = 4096;
constexpr std::size_t batch_held = 1024;  // each has a descriptor

/// What has come is made durable when one of these is reached, all the while, so that a disk is busy from the start, no
/// great amount is left for the end, and a machine that goes down loses little. If less comes in all: a tenth of that,
/// but so much at least that it is worth it.
constexpr std::chrono::seconds durable_interval{5};
constexpr std::uint64_t durable_bytes = 64U << 20;
constexpr std::uint64_t least_durable_bytes = 8U << 20;
constexpr std::uint64_t durable_files = 4096;
constexpr std::uint64_t least_durable_files = 512;
/// Twice what stable_before() takes off.
constexpr std::chrono::milliseconds settling{40};
constexpr std::chrono::milliseconds durable_check{100};

/// Deals out wants in batches, in order. Thread-safe.
class Batches {
 public:
  /// The references must outlive this object.
  Batches(const std::vector<FileExtent>& wants, const std::vector<Entry>& entries, const Target& target,
          const Candidates& candidates)
      : wants_(wants),
        entries_(entries),
        old_(target.old()),
        unverified_(target.unverified()),
        candidates_(candidates) {}

  std::span<const FileExtent> next() {
    const std::lock_guard guard(mutex_);
    const std::size_t begin = at_;
    std::size_t held = 0;
    for (std::uint64_t bytes = 0;
         at_ < wants_.size() && at_ - begin < batch_files && bytes < batch_bytes && held < batch_held; ++at_) {
      bytes += weight(wants_[at_]);
      held += is_held(wants_[at_]) ? 1 : 0;
    }
    return std::span(wants_).subspan(begin, at_ - begin);
  }

  /// Nothing more is dealt out, because a batch failed.
  void stop() {
    const std::lock_guard guard(mutex_);
    at_ = wants_.size();
  }

 private:
  bool is_held(const FileExtent& want) const {
    return (old_ != nullptr && old_->patched[want.entry]) || candidates_.contains(want.entry) ||
           unverified_.contains(want.entry);
  }

  /// Of what is held each page has its digest in the request, whatever of it is to be sent.
  std::uint64_t weight(const FileExtent& want) const {
    const Extent extent = extent_of(entries_[want.entry].size, want.extent);
    const std::uint64_t bytes = extent.end - extent.begin;
    return is_held(want) ? bytes : std::min(entries_[want.entry].data(), bytes);
  }

  const std::vector<FileExtent>& wants_;
  const std::vector<Entry>& entries_;
  const OldTree* const old_;
  const std::set<std::uint32_t>& unverified_;
  const Candidates& candidates_;
  std::mutex mutex_;
  std::size_t at_ = 0;  // protected by mutex_
};

/// Tells when it is time to make durable what has come. Not thread-safe.
class DurabilityClock {
 public:
  explicit DurabilityClock(const Progress& progress)
      : progress_(progress),
        most_bytes_(std::clamp(progress.bytes_total / 10, least_durable_bytes, durable_bytes)),
        most_files_(std::clamp(progress.files_total / 10, least_durable_files, durable_files)) {
    restart();
  }

  bool is_due() const {
    return SteadyClock::now() >= due_ || progress_.bytes_done - bytes_ >= most_bytes_ ||
           progress_.files_done - files_ >= most_files_;
  }

  /// To be called before it is done.
  void restart() {
    due_ = after(durable_interval);
    bytes_ = progress_.bytes_done;
    files_ = progress_.files_done;
  }

 private:
  const Progress& progress_;
  const std::uint64_t most_bytes_;
  const std::uint64_t most_files_;
  Deadline due_;
  std::uint64_t bytes_ = 0;
  std::uint64_t files_ = 0;
};

bool is_file(const Entry& entry) { return entry.type == Type::regular; }

/// Digest of everything that equal trees have in common: no inode numbers, ctimes or allocation. Of no meaning if it
/// was cancelled.
Digest tree_digest(const Manifest& manifest, const std::vector<Digest>& files, const std::atomic<bool>& cancelled) {
  Digest digest{};
  std::string bytes;
  for (std::size_t i = 0; i < manifest.entries.size() && !cancelled; ++i) {
    bytes.clear();
    append_entry(bytes, manifest.entries[i], Local{});
    Writer(bytes).digest(files[i]);
    digest = chain(digest, i, bytes.size(), digest_of(bytes));
  }
  return digest;
}

}  // namespace

Receiver::Receiver(Source& source, std::filesystem::path staging, std::filesystem::path journal,
                   ReceiverOptions options, Progress& progress, const std::atomic<bool>& cancelled)
    : source_(source),
      staging_(std::move(staging)),
      journal_(std::move(journal)),
      options_(std::move(options)),
      progress_(progress),
      cancelled_(cancelled),
      pace_(options_.limit, cancelled) {}

void Receiver::count_received(std::size_t bytes) {
  progress_.bytes_sent += bytes;
  pace_.spend(bytes);
}

Result<> Receiver::check_cancelled() const {
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  return {};
}

Result<Receipt> Receiver::run() {
  const auto content = options_.update ? UpdatePaths(staging_).content : staging_;
  FERRY_ASSIGN(root_, open_at(AT_FDCWD, content.string(), O_RDONLY | O_DIRECTORY));
  FERRY_ASSIGN(const auto names, names_in(root_.get()));
  FERRY_ASSIGN(const auto journal,
               Journal::open(journal_, names.empty() ? Journal::Begin::anew : Journal::Begin::again));
  cache_ = journal->trusts_cache() ? Target::Cache::reliable : Target::Cache::may_lie;
  if (journal->has_claims()) (void)::syncfs(root_.get());  // what cannot be written is found not to be there
  if (options_.update)                                     // while the sender walks
    looking_ = std::async(std::launch::async | std::launch::deferred, [this] {
      return Version::look(options_.update->data, options_.baseline, options_.update->host);
    });
  auto receipt = receive(*journal);
  // The next attempt's descriptor may not be told any more of what could not be written.
  if (!receipt) (void)(writes_ ? make_durable(*journal, Last::yes) : journal->end());
  FERRY_TRY(journal->check());
  return receipt;
}

Result<Receipt> Receiver::receive(Journal& journal) {
  Digest before{};
  for (unsigned number = 1;; ++number) {
    progress_.round = number;
    auto result = round(journal);
    FERRY_TRY(journal.check());
    const bool again = !result && result.error().code == Code::busy;  // more content came than was announced
    if (again && number < options_.rounds) continue;
    if (!result) return pass(result);
    Round& done = *result;
    // What is equal twice is of one moment in between, whatever ctimes tell.
    const bool unsettled = done.digest != std::exchange(before, done.digest) && add_unsettled(done);
    const bool still = done.seal.changed == 0 && done.torn.empty() && done.lost.empty() && !unsettled;
    if (!still && number < options_.rounds) {
      if (unsettled) std::this_thread::sleep_for(settling);
      continue;
    }
    if (!still && options_.writers == Writers::none)
      return fail(Code::busy,
                  "the source volume changed while it was read, " + std::to_string(options_.rounds) +
                      " times in a row; stop what writes to it, or pass -o freeze=none for a copy that may be torn");
    progress_.phase = "commit";
    FERRY_TRY(make_durable(journal, Last::yes));
    Receipt made = receipt(done, number);
    FERRY_TRY(check_cancelled());
    FERRY_TRY(done.target->conclude(done.digests, done.torn));
    const bool overwrites = done.target->overwrites();
    done.target.reset();  // it refers to the version
    if (overwrites) made.before = release_version();
    return made;
  }
}

/// Whether anything was changed so shortly before the walk that it may have been changed again since without its ctime
/// showing it: the next round finds it settled, or equal. Such files count as torn.
bool Receiver::add_unsettled(Round& round) {
  const auto& manifest = *round.manifest;
  if (manifest.info.stable_before_ns == 0) return false;  // no ctime there shows anything
  bool any = false;
  for (std::uint32_t index = 0; index < manifest.entries.size(); ++index) {
    const Entry& entry = manifest.entries[index];
    if (entry.type == Type::hard_link || is_stable(entry.ctime_ns, manifest.info.stable_before_ns)) continue;
    any = true;
    if (entry.type == Type::regular && !round.lost.contains(index)) round.torn.insert(index);
  }
  return any;
}

Result<std::unique_ptr<Target>> Receiver::make_target(const Manifest& manifest, Journal& journal) {
  if (!options_.update)
    return std::make_unique<Staging>(root_.get(), options_.baseline, manifest, journal, cache_, cancelled_);
  if (!version_) {
    FERRY_ASSIGN(version_, looking_.get());
  }
  return std::make_unique<Changes>(*version_, manifest, root_.get(), UpdatePaths(staging_).plan,
                                   options_.update->replace, journal, cache_, cancelled_);
}

std::shared_ptr<const Version> Receiver::release_version() {
  auto version = std::make_shared<Version>(std::move(*version_));
  version->shrink();
  return version;
}

Result<Receiver::Round> Receiver::round(Journal& journal) {
  Round round;
  progress_.phase = "manifest";
  FERRY_ASSIGN(auto manifest, receive_manifest());
  round.manifest = std::make_unique<Manifest>(std::move(manifest));
  FERRY_TRY(check_features(journal_.parent_path(), round.manifest->entries));
  progress_.phase = "diff";
  FERRY_ASSIGN(round.target, make_target(*round.manifest, journal));
  FERRY_ASSIGN(const auto least, round.target->least_room());
  FERRY_TRY(check_room(least));
  writes_ = true;
  FERRY_ASSIGN(const auto wants, round.target->prepare());
  FERRY_TRY(check_room(round.target->room()));
  if (round.target->forgot()) FERRY_TRY(make_durable(journal));
  FERRY_TRY(round.target->make_large_files());
  find_candidates(round, wants);
  progress_.phase = "content";
  FERRY_TRY(fetch(journal, round, wants));
  progress_.phase = "seal";
  FERRY_TRY(round.target->finish(round.lost));
  // While the sender looks once more.
  auto digest = std::async(std::launch::async | std::launch::deferred,
                           [&] { return tree_digest(*round.manifest, round.digests, cancelled_); });
  FERRY_ASSIGN(round.seal, source_.seal(round.target->changes_nothing()));
  round.digest = digest.get();
  FERRY_TRY(check_cancelled());
  return round;
}

void Receiver::find_candidates(Round& round, const std::vector<FileExtent>& wants) const {
  round.candidates.emplace(round.manifest->entries);
  round.target->suggest(wants, *round.candidates);
  if (!options_.neighbours.empty()) {
    Search search(wants, round.manifest->entries, round.target->old(), least_indexed, Search::By::name,
                  *round.candidates);
    for (const auto& neighbour : options_.neighbours)
      if (!search.empty() && !cancelled_) search.look_in(neighbour);
  }
  round.candidates->sort();
}

/// It may have waited long for the peer.
Result<> Receiver::check_identity(const ManifestInfo& info) const {
  const Identity& expected = options_.expected;
  if (!expected.host.empty() && info.host != expected.host)
    return fail(Code::not_found, "the peer is another Ferry now than the one that was asked for the volume");
  if (!expected.lineage.empty() && info.lineage != expected.lineage)
    return fail(Code::not_found, "the peer's volume was removed, and another one has its name now");
  return {};
}

Result<Manifest> Receiver::receive_manifest() {
  ManifestDecoder decoder;
  FERRY_TRY(source_.manifest([&](std::string_view bytes) -> Result<> {
    FERRY_TRY(check_cancelled());
    count_received(bytes.size());
    return decoder.feed(bytes);
  }));
  FERRY_ASSIGN(Manifest manifest, decoder.finish());
  FERRY_TRY(check_identity(manifest.info));
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  for (const auto& entry : manifest.entries) {
    bytes += entry.data();
    files += is_file(entry) ? 1 : 0;
  }
  progress_.bytes_total = bytes;
  progress_.files_total = files;
  return manifest;
}

Result<> Receiver::check_room(const Target::Room& wanted) const {
  return sync::check_room(root_.get(), staging_.string(), wanted);
}

/// Takes from the journal what is there, and counts it as done.
void Receiver::collect_known(Round& round, const Journal& journal, const std::vector<FileExtent>& wants,
                             Assembly& assembly) {
  const auto& entries = round.manifest->entries;
  progress_.bytes_done = 0;
  progress_.files_done = 0;
  std::size_t next = 0;
  for (std::uint32_t index = 0; index < entries.size() && !cancelled_; ++index) {
    const std::size_t first = next;
    while (next < wants.size() && wants[next].entry == index) ++next;
    if (!is_file(entries[index])) continue;
    const auto missing = static_cast<std::uint32_t>(next - first);
    if (missing == 1 && extent_count(entries[index].size) == 1) continue;  // all of it
    if (missing != 0) {
      const auto known = journal.find(Directories::path(entries, index)).value_or(FileProgress{});
      assembly.expect(index, {missing, known.bytes, known.digest});
      progress_.bytes_done += known.bytes;
    } else {
      round.digests[index] = round.target->known_digest(index);
      progress_.bytes_done += entries[index].data();
      ++progress_.files_done;
    }
  }
}

Result<> Receiver::fetch(Journal& journal, Round& round, const std::vector<FileExtent>& wants) {
  round.digests.assign(round.manifest->entries.size(), Digest{});
  Assembly assembly(round.digests);
  collect_known(round, journal, wants, assembly);
  FERRY_TRY(check_cancelled());
  const Target& target = *round.target;
  const FileWriter::Shared shared{*round.manifest,     target.shape(),    target.root(),    target.old(),
                                  target.unverified(), *round.candidates, options_.writers, journal,
                                  progress_,           cancelled_,        assembly};
  Batches batches(wants, round.manifest->entries, target, *round.candidates);
  std::mutex mutex;
  Result<> outcome;  // protected by mutex: the first error
  const auto failed = [&](Result<> reason) {
    batches.stop();
    const std::lock_guard guard(mutex);
    if (outcome) outcome = std::move(reason);
  };
  const auto work = [&] {
    FileWriter writer(shared);
    for (auto batch = batches.next(); !batch.empty(); batch = batches.next())
      if (auto done = fetch_batch(batch, writer, round.manifest->entries); !done) failed(std::move(done));
  };
  {
    const Periodic durable(durable_check, [&, clock = DurabilityClock(progress_)]() mutable {
      if (!clock.is_due()) return;
      clock.restart();
      if (auto synced = make_durable(journal); !synced) failed(std::move(synced));
    });
    std::vector<std::thread> workers;
    for (unsigned i = 1; i < options_.connections; ++i) workers.emplace_back(work);
    work();
    for (auto& worker : workers) worker.join();
  }
  if (!outcome) return pass(outcome);
  round.torn = assembly.torn();
  round.lost = assembly.lost();
  return {};
}

Result<> Receiver::fetch_batch(std::span<const FileExtent> batch, FileWriter& writer,
                               const std::vector<Entry>& entries) {
  auto wants = wants_of(batch);
  const std::uint64_t seed = random_number();
  FERRY_TRY(writer.begin(seed, wants));
  std::string request;
  append_wants(request, seed, wants, options_.compression);
  FrameDecoder decoder(entries, wants, writer);
  FERRY_TRY(source_.content(request, [&](std::string_view bytes) -> Result<> {
    count_received(bytes.size());
    return decoder.feed(bytes);
  }));
  return decoder.finish();
}

/// Linux tells a writeback error once (syncfs(2)): the next call would succeed over lost pages.
Result<> Receiver::make_durable(Journal& journal, Last last) const {
  if (last == Last::no) FERRY_TRY(check_cancelled());
  const std::uint64_t position = journal.position();
  const auto error = sync_file_system(root_.get(), cancelled_);
  if (!error) return check_cancelled();
  if (*error != 0) {
    const auto failed = fail_errno("sync " + staging_.string(), *error);
    journal.distrust(failed.value());
    return failed;
  }
  return last == Last::yes ? journal.end() : journal.mark_durable(position);
}

/// What the user should know of the last round, the most important first.
std::vector<std::string> Receiver::warnings(const Round& round) {
  constexpr std::size_t most = 20;
  std::vector<std::string> all;
  auto add = [&all, left = std::size_t{0}](std::string text) mutable {
    if (all.size() < most) return all.push_back(std::move(text));
    all.back() = "and " + std::to_string((left += left == 0 ? 2 : 1)) + " more";  // instead of the last one, too
  };
  const auto& entries = round.manifest->entries;
  const auto name = [&entries](std::uint32_t index) { return quote(Directories::path(entries, index)); };
  if (!round.seal.warning.empty()) add(round.seal.warning);
  if (round.seal.changed > round.seal.examples.size())
    add(std::to_string(round.seal.changed) + " entries changed while the volume was read: the copy may be torn");
  for (const auto& warning : round.manifest->info.warnings) add(warning);
  for (const auto index : round.torn) add("changed while it was read: " + name(index));
  for (const auto index : round.lost) add("vanished while it was read: " + name(index));
  for (const auto index : round.seal.examples)
    if (index < entries.size() && !round.torn.contains(index) && !round.lost.contains(index))
      add("changed after it was looked at: " + name(index));
  for (std::uint32_t index = 0; index < entries.size() && !round.lost.empty(); ++index)
    if (entries[index].type == Type::hard_link && round.lost.contains(entries[index].link))
      add("left out, because " + name(entries[index].link) + ", the same file, vanished: " + name(index));
  return all;
}

Receipt Receiver::receipt(const Round& round, std::uint64_t rounds) {
  Receipt receipt;
  receipt.digest = to_hex(round.digest);
  receipt.rounds = rounds;
  receipt.changed = std::max<std::uint64_t>(round.seal.changed, round.torn.size() + round.lost.size());
  receipt.consistency = receipt.changed == 0 ? round.seal.consistency : "live";
  for (std::uint32_t index = 0; index < round.manifest->entries.size(); ++index) {
    const Entry& entry = round.manifest->entries[index];
    if (!is_file(entry) || round.lost.contains(index)) continue;
    ++receipt.files;
    receipt.bytes += entry.data();
  }
  receipt.warnings = warnings(round);
  return receipt;
}

}  // namespace ferry::sync
