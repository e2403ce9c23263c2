#include "migration/service_departures.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "migration/migration_record.h"
#include "migration/ticket_kind.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

using hand_off::Answer;
using hand_off::Request;
using hand_off::Source;

constexpr std::size_t most_unwanted = 1000;
/// In a ticket's `import`: realtime_ns() once its container was seen not to run any more.
constexpr const char* stopped_member = "stopped_ns";

/// Throws nlohmann::json::exception.
std::string id_of(const volumes::VolumeRecord& ticket) { return ticket.import.at("departed").get<std::string>(); }

bool is_over(Source state) { return state == Source::own || state == Source::released || state == Source::reclaimed; }

}  // namespace

/// Nobody else changes the container of that hand-off meanwhile.
class ServiceDepartures::Busy {
 public:
  Busy(ServiceDepartures& all, std::string id) : all_(all), id_(std::move(id)) {
    const std::lock_guard guard(all_.mutex_);
    admitted_ = all_.busy_.insert(id_).second;
  }
  ~Busy() {
    if (!admitted_) return;
    const std::lock_guard guard(all_.mutex_);
    all_.busy_.erase(id_);
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  bool admitted() const { return admitted_; }

 private:
  ServiceDepartures& all_;
  const std::string id_;
  bool admitted_ = false;
};

std::string ServiceDepartures::ticket_of(const std::string& id) { return std::string(volumes::service_prefix) + id; }

void ServiceDepartures::start() {
  looking_ = std::make_unique<Periodic>(parts_.look, [this] { look(); });
}

void ServiceDepartures::stop() {
  stopping_.trip();
  looking_.reset();
}

/// What is durable before anything happens to the container.
Result<HeldContainer> ServiceDepartures::note(const std::string& id, const HandOffRequest& request,
                                              ContainerHolds::Claim& claim) {
  try {
    if (const auto known = parts_.catalogue.find(ticket_of(id))) {
      auto container = held_container_of(known->import.at("container"));
      FERRY_ASSIGN(claim, parts_.containers.claim(container));
      return container;
    }
    if (auto claimed = parts_.containers.claim(request.container, &stopping_))
      claim = std::move(*claimed);
    else if (claimed.error().code != Code::not_found)  // that note() says better
      return tl::unexpected(claimed.error());
    FERRY_ASSIGN(HeldContainer container, parts_.containers.note(request.container, &stopping_));
    FERRY_TRY(check_departure(container.id, container.name));
    auto ticket =
        new_ticket(ticket_of(id), {{"departed", id}, {"container", to_json(container)}, {"to", request.host}}, nullptr);
    if (!request.export_id.empty()) ticket.import["of_export"] = request.export_id;
    ticket.import["request"] = to_json(request);
    FERRY_TRY(parts_.catalogue.create(std::move(ticket)));
    parts_.created();
    return container;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, "the record of " + ticket_of(id) + " cannot be read: " + error.what());
  }
}

Result<> ServiceDepartures::check_departure(const std::string& container, const std::string& name) const {
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::departed_service)) continue;
    if (record->import.value("container", nlohmann::json::object()).value("id", "") != container) continue;
    const Source state = parts_.hand_offs.state_of(record->import.value("departed", ""));
    if (record->state == volumes::State::done || state == Source::left)
      return fail(Code::busy, "container " + name + " was handed off to " + record->import.value("to", "another host") +
                                  " already, which has it now; if that is not so any more, remove ticket " +
                                  record->name + " first");
    const bool comes_back = is_over(state);
    return fail(comes_back ? Code::unavailable : Code::busy,
                "container " + name + (comes_back ? " is being brought back" : " is being moved already") +
                    ": ticket " + record->name);
  }
  return {};
}

Result<Answer> ServiceDepartures::hold(const std::string& id, const HandOffRequest& request) {
  const Busy busy(*this, id);
  if (!busy.admitted()) return fail(Code::unavailable, "container " + request.container + " is being stopped");
  const Source state = parts_.hand_offs.state_of(id);
  if (hand_off::step(state, Request::hold).next != Source::held || state == Source::held)
    return parts_.hand_offs.hold(id, request);
  const auto check_wanted = [&]() -> Result<> {
    if (!is_unwanted(id) && !is_unwanted(request.after) && !is_unwanted(request.export_id)) return {};
    return fail(Code::denied, "the move of container " + request.container +
                                  " was cancelled at its source, or somebody has started the container there");
  };
  FERRY_TRY(check_wanted());
  if (!has(id)) FERRY_TRY(parts_.hand_offs.check_service(request));
  ContainerHolds::Claim claim;
  FERRY_ASSIGN(const auto container, note(id, request, claim));
  spdlog::info("container {} is stopped for {}: ticket {}", container.name, request.host, ticket_of(id));
  FERRY_TRY(parts_.containers.hold(container, &stopping_));
  FERRY_TRY(check_wanted());  // that may have taken minutes
  FERRY_TRY(parts_.catalogue.update(
      ticket_of(id), [](volumes::VolumeRecord& record) { record.import[stopped_member] = realtime_ns(); }));
  return parts_.hand_offs.hold(id, request);
}

Result<Answer> ServiceDepartures::ask(const std::string& id, Request request) {
  const auto ticket = parts_.catalogue.find(ticket_of(id));
  if (ticket && request == Request::commit && parts_.hand_offs.state_of(id) == Source::held) {
    const auto container = held_container_of(ticket->import["container"]);
    FERRY_ASSIGN(const bool held, parts_.containers.is_held(container, &stopping_));
    if (!held) {
      spdlog::error("ticket {} is given up: container {} was started meanwhile", ticket->name, container.name);
      note_unwanted(id);
    }
    if (is_unwanted(id) || is_unwanted(ticket->import.value("of_export", "")))
      return parts_.hand_offs.ask(id, Request::cancel);
  }
  return parts_.hand_offs.ask(id, request);
}

void ServiceDepartures::look() {
  std::vector<volumes::Catalogue::Snapshot> open;
  for (auto& record : parts_.catalogue.list())
    if (is_ticket(*record, TicketKind::departed_service) && record->state != volumes::State::done)
      open.push_back(std::move(record));
  // None waits for another one's container to start.
  for (const auto& record : open) end_if_silent(*record);
  for (const auto& record : open) {
    try {
      look_at(*record);
    } catch (const nlohmann::json::exception& error) {
      spdlog::error("ticket {} cannot be read: {}", record->name, error.what());
    }
  }
}

void ServiceDepartures::end_if_silent(const volumes::VolumeRecord& ticket) {
  const std::string id = ticket.import.value("departed", "");
  const auto silence = parts_.hand_offs.silence(id);
  if (!silence || *silence <= parts_.longest_silence) return;
  const Busy busy(*this, id);
  if (!busy.admitted()) return;
  spdlog::warn("ticket {}: nothing was heard of {} for too long; its container is brought back", ticket.name,
               ticket.import.value("to", "its destination"));
  (void)parts_.hand_offs.ask(id, Request::cancel);  // after an error the next look tries again
}

void ServiceDepartures::look_at(const volumes::VolumeRecord& ticket) {
  const std::string id = id_of(ticket);
  const Busy busy(*this, id);
  if (!busy.admitted()) return;
  const Source state = parts_.hand_offs.state_of(id);
  if (state == Source::left) {
    auto stored = parts_.catalogue.update(ticket.name,
                                          [](volumes::VolumeRecord& record) { record.state = volumes::State::done; });
    if (!stored) spdlog::error("{}", stored.error().message);
  }
  if (!is_over(state)) return;
  const auto back = bring_back(ticket);
  set_trouble(id, back ? "" : back.error().message);
}

Result<> ServiceDepartures::bring_back(const volumes::VolumeRecord& ticket) {
  const auto container = held_container_of(ticket.import.at("container"));
  FERRY_ASSIGN(const auto claim, parts_.containers.claim(container));
  if (!ticket.import.contains(stopped_member)) FERRY_TRY(parts_.containers.finish(container, &stopping_));
  FERRY_TRY(parts_.containers.release(container, &stopping_));
  spdlog::info("container {} is back as it was before ticket {}", container.name, ticket.name);
  auto removed = parts_.remove(ticket.name);
  return removed || removed.error().code == Code::not_found ? Result<>() : removed;
}

/// What this host's user, or whoever started the container, wants to run here must not be stopped again at once.
void ServiceDepartures::note_unwanted(const std::string& id) {
  const std::lock_guard storing(storing_);
  std::string lines;
  {
    const std::lock_guard guard(mutex_);
    unwanted_.push_back(id);
    if (unwanted_.size() > most_unwanted) unwanted_.pop_front();
    for (const auto& one : unwanted_) lines += one + "\n";
  }
  if (auto stored = write_file_atomically(parts_.catalogue.layout().unwanted(), lines); !stored)
    spdlog::error("that {} is not wanted any more is forgotten at a restart: {}", ticket_of(id),
                  stored.error().message);
}

/// What an earlier process has noted.
void ServiceDepartures::read_unwanted() {
  const auto lines = read_file(parts_.catalogue.layout().unwanted());
  if (!lines) {
    if (lines.error().code != Code::not_found) spdlog::error("{}", lines.error().message);
    return;
  }
  const std::lock_guard guard(mutex_);
  std::istringstream stream(*lines);
  for (std::string id; std::getline(stream, id);) unwanted_.push_back(id);
}

bool ServiceDepartures::is_unwanted(const std::string& id) const {
  if (id.empty()) return false;
  const std::lock_guard guard(mutex_);
  return std::find(unwanted_.begin(), unwanted_.end(), id) != unwanted_.end();
}

void ServiceDepartures::set_trouble(const std::string& id, const std::string& text) {
  const std::lock_guard guard(mutex_);
  auto& trouble = trouble_[id];
  if (!text.empty() && trouble != text) spdlog::error("ticket {}: {}; tried again", ticket_of(id), text);
  trouble = text;
  if (text.empty()) trouble_.erase(id);
}

Result<> ServiceDepartures::cancel(const std::string& name) {
  const auto ticket = parts_.catalogue.find(name);
  if (!ticket || ticket->state == volumes::State::done) return {};
  const std::string id = id_of(*ticket);
  note_unwanted(id);
  const Busy busy(*this, id);
  if (!busy.admitted()) return fail(Code::busy, "ticket " + name + " is at work on its container; try again");
  FERRY_ASSIGN(const Answer answer, parts_.hand_offs.ask(id, Request::cancel));
  if (answer == Answer::given || answer == Answer::refused)
    return fail(Code::busy, "the service of ticket " + name +
                                " is the other host's already, which has not confirmed yet that it knows; the ticket "
                                "can be removed once it has");
  return bring_back(*ticket);
}

Result<ServiceDepartures::Departed> ServiceDepartures::departed(const std::string& name) const {
  const auto asked = parts_.catalogue.find(name);
  const std::string export_id =
      asked && is_ticket(*asked, TicketKind::exported) ? asked->import.value("export", "") : std::string();
  for (const auto& record : parts_.catalogue.list()) {
    if (!is_ticket(*record, TicketKind::departed_service)) continue;
    try {
      const std::string id = record->import.value("departed", "");
      const bool is_of_it =
          !export_id.empty() && (id == export_id || record->import.value("of_export", "") == export_id);
      if (record->name != name && !is_of_it) continue;
      if (parts_.hand_offs.state_of(id) != Source::left)
        return fail(Code::busy, "the service of ticket " + record->name +
                                    " has not left yet; remove that ticket, and it runs here again");
      if (!record->import.contains("request"))
        return fail(Code::unsupported, "ticket " + record->name +
                                           " is of an earlier version, which has not noted what is needed to bring "
                                           "the service back");
      const auto request = hand_off_request_of(record->import["request"]);
      const auto container = held_container_of(record->import.at("container"));
      return Departed{record->name,    id,
                      container,       request.as.empty() ? container.name : request.as,
                      request.layer,   request.host,
                      request.uuid,    request.peer,
                      request.volumes, record->import.value(stopped_member, std::int64_t{0})};
    } catch (const nlohmann::json::exception& error) {
      return fail(Code::corrupt, "ticket " + record->name + " cannot be read: " + error.what());
    }
  }
  return fail(Code::not_found, "there is no ticket " + name + " of a service that has left");
}

void ServiceDepartures::forget(const std::string& container) const {
  for (const auto& record : parts_.catalogue.list()) {
    const bool is_of_it = is_ticket(*record, TicketKind::departed_service) && record->import.contains("container") &&
                          record->import["container"].value("id", "") == container;
    if (!is_of_it || parts_.hand_offs.state_of(record->import.value("departed", "")) != Source::left) continue;
    if (auto removed = parts_.remove(record->name); !removed) spdlog::error("{}", removed.error().message);
  }
}

bool ServiceDepartures::is_of_export(const std::string& id, const std::string& export_id) const {
  if (id == export_id) return true;
  if (const auto ticket = parts_.catalogue.find(ticket_of(id)))
    return ticket->import.value("of_export", "") == export_id;
  const Source state = parts_.hand_offs.state_of(id);
  return state != Source::held && state != Source::given;
}

Result<> ServiceDepartures::cancel_export(const std::string& id) {
  if (parts_.hand_offs.is_given(id))
    return fail(Code::busy,
                "the service is the other host's already; the ticket ends as soon as that has confirmed it");
  note_unwanted(id);
  for (const auto& one : parts_.hand_offs.ids_of_export(id)) {
    if (has(one)) {
      FERRY_TRY(cancel(ticket_of(one)));
    } else {
      FERRY_TRY(parts_.hand_offs.ask(one, Request::cancel));
    }
  }
  return {};
}

nlohmann::json ServiceDepartures::status(const volumes::VolumeRecord& ticket) const {
  const std::string id = id_of(ticket);
  const Source state = parts_.hand_offs.state_of(id);
  std::string trouble;
  {
    const std::lock_guard guard(mutex_);
    const auto found = trouble_.find(id);
    if (found != trouble_.end()) trouble = found->second;
  }
  const auto container = held_container_of(ticket.import.at("container"));
  return {{"state", state == Source::left ? "done" : "exporting"},
          {"migration",
           {{"id", id},
            {"role", "hand-off"},
            {"peer", ticket.import.value("to", "")},
            {"phase", is_over(state) ? "thaw" : std::string(to_string(state))},
            {"started", ticket.created},
            {"error", trouble.empty() ? nlohmann::json(nullptr) : nlohmann::json(trouble)},
            {"warnings", nlohmann::json::array()}}},
          {"service",
           {{"container", container.name},
            {"was_running", container.was_running},
            {"restart", container.restart_policy},
            {"undo", state == Source::left
                         ? nlohmann::json("docker volume create -d ferry -o reclaim=" + ticket.name + " NAME")
                         : nlohmann::json("docker volume rm " + ticket.name)}}},
          {"volumes", nlohmann::json::array()}};
}

}  // namespace ferry::migration
