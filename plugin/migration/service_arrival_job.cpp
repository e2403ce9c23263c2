#include "migration/service_arrival_job.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/migration_record.h"
#include "migration/service_config.h"
#include "migration/service_end.h"
#include "migration/service_obstacles.h"
#include "migration/ticket_kind.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds ask_time{30'000};
constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};
constexpr std::chrono::seconds patience{60};           // with an Engine that says what may be otherwise soon
constexpr std::chrono::seconds longest_creation{120};  // of a container, by an Engine that was not waited for
constexpr const char* creating_member = "creating";
constexpr std::uint64_t most_bytes = INT64_MAX;

nlohmann::json base_status(const volumes::Catalogue& catalogue, const std::string& name,
                           const ServiceMoveRequest& request) {
  const auto stored = stored_status(catalogue, name, "migration");
  return stored.is_null() ? new_migration_status("import", request.peer.text()) : stored["migration"];
}

}  // namespace

ServiceArrivalJob::ServiceArrivalJob(const ServiceArrivals::Parts& parts, std::string name, std::string id,
                                     ServiceMoveRequest request)
    : parts_(parts),
      containers_(parts.client),
      images_(parts.client),
      name_(std::move(name)),
      id_(std::move(id)),
      request_(std::move(request)),
      peer_(parts_.peers.peer(request_.peer)),
      base_(base_status(parts_.catalogue, name_, request_)),
      patient_until_(SteadyClock::now() + patience) {}

void ServiceArrivalJob::start() {
  const std::lock_guard guard(thread_mutex_);
  if (!cancelled_) thread_ = std::thread([this] { run(); });
}

void ServiceArrivalJob::stop_soon() {
  cancelled_ = true;
  peer_->abort();
  interrupt_.trip();
  trouble_.wake();
}

void ServiceArrivalJob::abandon() {
  stop_soon();
  const std::lock_guard guard(thread_mutex_);
  if (thread_.joinable()) thread_.join();
}

void ServiceArrivalJob::run() {
  auto interval = first_pause;
  while (true) {
    const auto made = make();
    if (made || cancelled_ || made.error().code == Code::cancelled) return;
    if (made.error().code != Code::unavailable) return fail_with(made.error());
    if (trouble_.set(made.error().message)) spdlog::warn("ticket {} waits: {}", name_, made.error().message);
    trouble_.wait(interval, [this] { return cancelled_.load(); });
    if (cancelled_) return;
    interval = std::min(interval * 2, longest_pause);
  }
}

/// Each step finds what an earlier attempt, or process, has made.
Result<> ServiceArrivalJob::make() {
  const std::string& container = request_.options.container;
  set_step("describe");
  FERRY_ASSIGN(const auto uuid, peer_->identify(ask_time));
  FERRY_ASSIGN(const auto service, peer_->describe_service(container, ServiceDetail::whole, ask_time));
  FERRY_TRY(check(service));
  FERRY_ASSIGN(const auto described, describe_volumes(service));
  set_step("bring image");
  FERRY_ASSIGN(const auto image, bring_image(service));
  set_step("make volumes");
  FERRY_TRY(make_volumes(service, described));
  set_step("make container");
  FERRY_ASSIGN(const auto made, make_container(service, image));
  FERRY_ASSIGN(TicketPlan plan, plan_of(service, described, made));
  plan.peer_uuid = uuid;
  FERRY_TRY(parts_.tickets.carry_on(name_, std::move(plan), status()));
  handed_on_ = true;
  return {};
}

/// The source is asked anew by each attempt, and its container may be another one by now.
Result<> ServiceArrivalJob::check(const ServiceDescription& service) {
  FERRY_TRY(check_names(service, request_.options, name_));
  const auto record = parts_.catalogue.find(name_);
  if (!record) return fail(Code::cancelled, "the ticket was removed");
  const std::string before = record->import.value("container", "");
  if (before.empty())
    FERRY_TRY(
        parts_.catalogue.update(name_, [&](volumes::VolumeRecord& next) { next.import["container"] = service.id; }));
  else if (before != service.id)
    return fail(Code::busy, "container " + service.container + " was made anew meanwhile; try again");
  FERRY_ASSIGN(const auto obstacles, parts_.planner.obstacles(service, request_.options, name_, &interrupt_));
  return refuse_blocked(obstacles);
}

bool ServiceArrivalJob::is_made_here(const std::string& volume) const {
  const auto record = parts_.catalogue.find(volume);
  return record && record->import.is_object() && record->import.value(TicketCommit::made_for, "") == name_;
}

Result<ServiceArrivalJob::Descriptions> ServiceArrivalJob::describe_volumes(const ServiceDescription& service) {
  Descriptions all;
  for (const auto* mount : travelling_volumes(service, request_.options)) {
    ImportRequest request{request_.peer, mount->at.name, request_.terms};
    request.terms.freeze = Freeze::none;
    FERRY_ASSIGN(all[mount->at.name], peer_->describe(request, most_bytes, ask_time));
  }
  return all;
}

/// Plain ones, so that the Engine can make a container with them, and fill them from its image as it does.
Result<> ServiceArrivalJob::make_volumes(const ServiceDescription& service, const Descriptions& described) {
  for (const auto* mount : travelling_volumes(service, request_.options)) {
    if (mount->anonymous) continue;
    const std::string name = name_there(*mount, request_.options);
    if (is_made_here(name)) continue;  // by an earlier attempt
    if (parts_.catalogue.find(name)) return fail(Code::already_exists, "there is another volume " + name + " here now");
    const VolumeDescription& source = described.at(mount->at.name);
    volumes::VolumeRecord record;
    record.name = name;
    record.created = now_rfc3339();
    record.lineage = random_uuid();
    record.options = source.options;
    record.labels = source.labels;
    record.labels_pending = true;
    record.import = {{TicketCommit::made_for, name_}};
    FERRY_TRY(soon(parts_.tickets.make_volume(name_, std::move(record))));
  }
  return {};
}

/// What the container is to be made of: the image, if it is here, else from its registry, else from the source.
Result<std::string> ServiceArrivalJob::bring_image(const ServiceDescription& service) {
  FERRY_ASSIGN(auto there, parts_.planner.image_for(service, &interrupt_));
  if (!there.empty()) return name_image(service, there);  // maybe an earlier attempt has brought it
  for (const auto& digest : service.image.digests) {
    const auto pulled = images_.pull(digest, &interrupt_);
    if (!pulled && pulled.error().code == Code::cancelled) return tl::unexpected(pulled.error());
    if (pulled) break;
    spdlog::info("ticket {}: image {} is not pulled, but brought from the source: {}", name_, digest,
                 pulled.error().message);
  }
  FERRY_ASSIGN(there, parts_.planner.image_for(service, &interrupt_));
  if (there.empty()) {
    FERRY_TRY(load_image(service));
    FERRY_ASSIGN(there, parts_.planner.image_for(service, &interrupt_));
  }
  if (there.empty())
    return fail(Code::unsupported,
                "image " + service.image_name +
                    " was brought, and the Engine has it as another one; load it here yourself: docker "
                    "save IMAGE | ssh HOST docker load");
  return name_image(service, there);
}

/// From the source, without the layers that are here: unless they have gone meanwhile, or this Engine wants them all.
Result<> ServiceArrivalJob::load_image(const ServiceDescription& service) {
  const auto load = [&](std::size_t known) {
    return images_.load(
        [&](const engine::Images::Sink& sink) { return peer_->image(request_.options.container, known, sink); },
        &interrupt_);
  };
  FERRY_ASSIGN(const auto facts, containers_.facts(&interrupt_));
  std::size_t known = 0;
  if (!facts.containerd_store) {
    FERRY_ASSIGN(known, images_.count_known(service.image.layers, &interrupt_));
  }
  auto loaded = load(known);
  if (!loaded && known != 0 && loaded.error().code == Code::io) {
    spdlog::warn("ticket {}: image {} is brought with all of its layers: {}", name_, service.image_name,
                 loaded.error().message);
    loaded = load(0);
  }
  if (loaded || loaded.error().code != Code::io) return loaded;
  FERRY_TRY(containers_.facts(&interrupt_));  // one that has died meanwhile is waited for
  return loaded;
}

/// As the container names it, unless it names it by what it is.
Result<std::string> ServiceArrivalJob::name_image(const ServiceDescription& service, const std::string& image) {
  const std::string& name = service.image_name;
  if (name == image || name.find('@') != std::string::npos || service.image.id.find(name) != std::string::npos)
    return image;
  FERRY_TRY(images_.tag(image, name, &interrupt_));
  return name;
}

Result<engine::Container> ServiceArrivalJob::make_container(const ServiceDescription& service,
                                                            const std::string& image) {
  const std::string first_name = ServiceEnd::first_name(id_);
  auto known = containers_.container(first_name, &interrupt_);
  if (!known && known.error().code != Code::not_found) return pass(known);
  FERRY_ASSIGN(const auto driver, soon(parts_.tickets.driver_of(name_)));
  FERRY_ASSIGN(const auto api, parts_.client.version());
  FERRY_ASSIGN(const auto creation, creation_of(service, request_.options, {image, driver, api}));
  std::string id = known ? known->id : "";
  if (!known) {
    FERRY_TRY(note_creating(realtime_ns()));
    auto created = containers_.create(first_name, creation.body, &interrupt_);
    if (!created && created.error().code == Code::already_exists)
      return fail(Code::unavailable, "the Engine is still making the container that an earlier attempt has asked for");
    if (!created && created.error().code != Code::unavailable && created.error().code != Code::cancelled)
      FERRY_TRY(note_creating(0));
    if (!created) return tl::unexpected(soon(std::move(created)).error());
    for (const auto& warning : created->warnings) spdlog::warn("ticket {}: Docker Engine: {}", name_, warning);
    id = created->id;
  }
  FERRY_TRY(note_creating(0));
  for (auto [network, body] : creation.other_networks) {
    if (known && known->networks.contains(network)) continue;
    body["Container"] = id;
    FERRY_TRY(containers_.join(network, body, &interrupt_));
  }
  return containers_.container(id, &interrupt_);
}

/// With the names that the Engine has given to anonymous volumes.
Result<TicketPlan> ServiceArrivalJob::plan_of(const ServiceDescription& service, const Descriptions& described,
                                              const engine::Container& made) {
  TicketPlan plan;
  plan.request.peer = request_.peer;
  plan.request.terms = request_.terms;
  plan.request.move = true;
  plan.hand_off = id_;
  for (const auto* mount : travelling_volumes(service, request_.options)) {
    TicketVolume volume;
    volume.source = described.at(mount->at.name);
    volume.target = name_there(*mount, request_.options);
    if (mount->anonymous) {
      const auto there = std::find_if(made.mounts.begin(), made.mounts.end(), [&](const engine::MountPoint& at) {
        return at.destination == mount->at.destination;
      });
      if (there == made.mounts.end() || there->type != "volume" || !volumes::is_anonymous(there->name))
        return fail(Code::corrupt, "the Engine has made no anonymous volume at " + mount->at.destination);
      volume.target = there->name;
      const auto here = parts_.catalogue.find(volume.target);
      const bool is_new = here && here->state == volumes::State::ready && here->import.is_null();
      if (!is_new && !is_made_here(volume.target))
        return fail(Code::corrupt, "volume " + volume.target + " was not made for this service");
      // What the Engine labels them with depends on its version, and cannot be changed while a container has them.
      FERRY_ASSIGN(const auto shown, parts_.client.volume(volume.target));
      volume.source.labels = shown.labels;
      volume.source.options = shown.options;
      if (!is_made_here(volume.target))
        FERRY_TRY(parts_.catalogue.update(volume.target, [&](volumes::VolumeRecord& record) {
          record.import = {{TicketCommit::made_for, name_}};
        }));
    }
    if (is_made_here(volume.target)) volume.action = "create";
    volume.is_copy = is_copied(*mount, request_.options);
    plan.request.volumes.push_back({volume.source.volume, volume.target});
    plan.volumes.push_back(std::move(volume));
  }
  TicketService moved;
  moved.options = request_.options;
  moved.container = service.id;
  moved.made = made.id;
  if (request_.options.layer) moved.store = made.store;
  plan.service = std::move(moved);
  return plan;
}

/// Of an Engine that has the plugin disabled for a moment, since the last process of it crashed, everything can be
/// expected. After a while it is an error like any other.
template <class T>
Result<T> ServiceArrivalJob::soon(Result<T> done) const {
  const bool may_pass =
      !done && (done.error().code == Code::busy || done.error().code == Code::io ||
                (done.error().code == Code::not_found && done.error().message.find("plugin") != std::string::npos));
  if (may_pass && SteadyClock::now() < patient_until_) return fail(Code::unavailable, done.error().message);
  return done;
}

/// The Engine lists a container only when it has filled its volumes, and goes on when nobody waits for that any more.
Result<> ServiceArrivalJob::note_creating(std::int64_t since_ns) const {
  return parts_.catalogue.update(name_, [&](volumes::VolumeRecord& record) {
    if (since_ns != 0)
      record.import[creating_member] = since_ns;
    else
      record.import.erase(creating_member);
  });
}

bool ServiceArrivalJob::may_be_creating() const {
  const auto record = parts_.catalogue.find(name_);
  if (!record || !record->import.is_object()) return false;
  const auto since = record->import.value(creating_member, std::int64_t{0});
  return since != 0 && realtime_ns() - since < std::chrono::nanoseconds(longest_creation).count();
}

Result<> ServiceArrivalJob::undo() {
  if (handed_on_) return {};
  const engine::Containers containers(parts_.client);  // also after stop_soon()
  const std::string container = ServiceEnd::first_name(id_);
  auto known = containers.container(container);
  if (!known && known.error().code != Code::not_found) return pass(known);
  if (!known && may_be_creating())
    return fail(Code::unavailable,
                "the Docker Engine may still be making container " + container + ", which has to go again");
  FERRY_TRY(containers.remove(container, engine::Containers::Anonymous::go));
  if (known) (void)note_creating(0);  // else it is looked for once more than needed
  Result<> all;
  for (const auto& record : parts_.catalogue.list())
    if (is_made_here(record->name))
      if (auto removed = give_back(*record); !removed && all) all = removed;
  return all;
}

/// Somebody else's container may have it by now, since it is a plain one.
Result<> ServiceArrivalJob::give_back(const volumes::VolumeRecord& volume) const {
  FERRY_ASSIGN(const auto mounted, parts_.tickets.is_mounted(volume.name));
  if (mounted != engine::Mounted::yes) return parts_.catalogue.remove(volume.name);
  spdlog::error("ticket {}: volume {} is mounted by another container, so it is left", name_, volume.name);
  return parts_.catalogue.update(volume.name, [](volumes::VolumeRecord& record) { record.import = nullptr; });
}

void ServiceArrivalJob::fail_with(const Error& error) {
  spdlog::error("ticket {} failed: {}", name_, error.message);
  // Half a service must not stay; who ends this before takes it back from the record.
  for (auto undone = undo(); !undone; undone = undo()) {
    trouble_.set(error.message + "; what was made here cannot be taken back yet: " + undone.error().message);
    trouble_.wait(longest_pause, [this] { return cancelled_.load(); });
    if (cancelled_) return;
  }
  auto status = this->status();
  status["state"] = "failed";
  auto& migration = status["migration"];
  migration["phase"] = "failed";
  migration["finished"] = now_rfc3339();
  migration["error"] = error.message;
  auto stored = parts_.catalogue.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::failed;
    record.migration = status;
  });
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name_, stored.error().message);
  const std::lock_guard guard(mutex_);
  outcome_ = std::move(status);
}

void ServiceArrivalJob::set_step(const char* step) {
  const std::lock_guard guard(mutex_);
  steps_.begin(step);
}

nlohmann::json ServiceArrivalJob::status() const {
  const std::string trouble = trouble_.text();
  const std::lock_guard guard(mutex_);
  if (!outcome_.is_null()) return outcome_;
  auto migration = base_;
  migration["phase"] = "prepare";
  migration["error"] = trouble.empty() ? nlohmann::json(nullptr) : nlohmann::json(trouble);
  return {{"state", "importing"},
          {"migration", std::move(migration)},
          {"volumes", nlohmann::json::array()},
          {"service", steps_.status(request_.options)}};
}

}  // namespace ferry::migration
