#include "peer/server.h"

#include <map>
#include <sstream>

#include "base/log.h"
#include "peer/messages.h"
#include "peer/service_messages.h"
#include "transport/body.h"
#include "transport/http_server.h"

#ifndef FERRY_VERSION
#define FERRY_VERSION "unknown"
#endif

namespace ferry::peer {

namespace {

/// Requests are small; the largest names the files of one batch.
constexpr std::size_t longest_request = 4U << 20;

/// Of the client; empty: it came through a Unix socket. A socket of IPv6 shows those of IPv4 as ::ffff:a.b.c.d.
std::string address_of(const httplib::Request& request) {
  constexpr std::string_view mapped = "::ffff:";
  const std::string& address = request.remote_addr;
  const bool is_mapped = address.starts_with(mapped) && address.find('.') != std::string::npos;
  return is_mapped ? address.substr(mapped.size()) : address;
}

void answer(httplib::Response& response, const std::string& message) { response.set_content(message, json_type); }

/// What this process gives up because it ends may be asked for again.
void refuse(httplib::Response& response, const Error& error) {
  const Error told =
      error.code == Code::cancelled ? Error{Code::unavailable, "this host's Ferry is being stopped"} : error;
  response.status = status_of(told.code);
  response.set_content(encode(told), json_type);
}

void refuse(httplib::Response& response, int status, const std::string& message) {
  refuse(response, {Code::invalid_argument, message});
  response.status = status;
}

/// What keeps a session open and to oneself, or shared, while its source is read.
struct Use {
  std::shared_ptr<Session> session;
  Turns::Turn turn;
};

/// A chunk of a chunked body (RFC 9112, 7.1) that is made in place: room for its size comes first.
class Chunk {
 public:
  void begin() { bytes_.assign(head, '0'); }  // keeps its memory, which malloc would give back to the kernel each time
  std::string& bytes() { return bytes_; }
  std::size_t size() const { return bytes_.size() - head; }

  /// What goes over the wire.
  std::string_view finish() {
    std::size_t digit = head - 2;
    for (std::size_t left = size(); left != 0; left /= 16) bytes_[--digit] = "0123456789abcdef"[left % 16];
    bytes_[head - 2] = '\r';
    bytes_[head - 1] = '\n';
    bytes_ += "\r\n";
    return bytes_;
  }

 private:
  static constexpr std::size_t head = 10;  // 8 digits, CR, LF
  std::string bytes_;
};

/// Streams a byte source as the response's body. Who has read its end finds the session free. httplib's own way to send
/// chunks copies each of them twice.
void stream(httplib::Response& response, std::shared_ptr<sync::ByteSource> source, Use use) {
  response.set_header("Transfer-Encoding", "chunked");
  response.set_content_provider(bytes_type, [source = std::move(source), use = std::move(use), chunk = Chunk()](
                                                std::size_t, httplib::DataSink& sink) mutable {
    constexpr std::size_t piece = 64U << 10;
    constexpr std::string_view end = "0\r\n\r\n";
    chunk.begin();
    bool more = true;
    while (more && chunk.size() < piece) more = source->next(chunk.bytes());
    if (chunk.size() != 0) {
      const auto bytes = chunk.finish();
      if (!sink.write(bytes.data(), bytes.size())) return false;
    }
    if (more) return true;
    source.reset();
    use.turn.reset();  // first: it belongs to the session
    use.session.reset();
    if (!sink.write(end.data(), end.size())) return false;
    sink.done();
    return true;
  });
}

/// Lets through what has no body, or one that a handler of this file reads: httplib would read others, however long.
httplib::Server::HandlerResponse refuse_unread_bodies(const httplib::Request& request, httplib::Response& response) {
  const bool read = request.method == "POST" || request.method == "DELETE";
  const bool none = (request.method == "GET" || request.method == "HEAD") && !request.has_header("Transfer-Encoding") &&
                    request.get_header_value("Content-Length") == "0";
  if (read || none) return httplib::Server::HandlerResponse::Unhandled;
  refuse(response, 405, "the peer protocol has no such request");
  return httplib::Server::HandlerResponse::Handled;
}

void answer_absent(const httplib::Request&, httplib::Response& response, const httplib::ContentReader&) {
  response.status = 404;
}

}  // namespace

Result<std::set<Permission>> parse_permissions(std::string_view text) {
  static const std::map<std::string, Permission, std::less<>> known = {{"read", Permission::read},
                                                                       {"write", Permission::write},
                                                                       {"freeze", Permission::freeze},
                                                                       {"containers", Permission::containers}};
  std::set<Permission> permissions;
  if (text == "none") return permissions;
  std::istringstream words{std::string(text)};
  for (std::string word; std::getline(words, word, ',');) {
    const auto found = known.find(word);
    if (found == known.end())
      return fail(Code::invalid_argument,
                  "ALLOW has " + quote(word) + "; use none, or some of read,write,freeze,containers");
    permissions.insert(found->second);
  }
  if (permissions.empty())
    return fail(Code::invalid_argument, "ALLOW is empty; use none, or some of read,write,freeze,containers");
  return permissions;
}

Server::Server(const migration::Sources& sources, std::string uuid, std::set<Permission> allowed,
               const ServerTimes& times)
    : sources_(sources), uuid_(std::move(uuid)), allowed_(std::move(allowed)), times_(times), sessions_(times.idle) {}

/// As httplib wants a handler.
auto Server::wrap(Handler handler) {
  return [this, handler](const httplib::Request& request, httplib::Response& response,
                         const httplib::ContentReader& read) { serve(handler, request, read, response); };
}

void Server::add_routes(httplib::Server& routes) {
  const std::string prefix = path_prefix;
  const std::string source = prefix + "/sources/([0-9a-f]+)";
  routes.set_payload_max_length(longest_request);
  routes.set_pre_routing_handler(refuse_unread_bodies);
  routes.Get(prefix + "/hello",
             [this](const httplib::Request& request, httplib::Response& response) { greet(request, response); });
  routes.Post(prefix + "/describe", wrap(&Server::describe));
  routes.Post(prefix + "/sources", wrap(&Server::open));
  routes.Post(source + "/manifest", wrap(&Server::manifest));
  routes.Post(source + "/content", wrap(&Server::content));
  routes.Post(source + "/seal", wrap(&Server::seal));
  routes.Delete(source, wrap(&Server::close));
  if (services_ != nullptr) {
    routes.Post(prefix + "/containers/describe", wrap(&Server::describe_service));
    routes.Post(prefix + "/containers/image", wrap(&Server::image));
    if (planner_ != nullptr) routes.Post(prefix + "/containers/plan", wrap(&Server::plan_service));
  }
  if (arrivals_ != nullptr) add_export_routes(routes);
  if (hand_offs_ != nullptr) add_hand_off_routes(routes);
  if (freezes_ != nullptr) add_freeze_routes(routes);
  if (forced_ != nullptr) routes.Post(prefix + "/fences/([0-9a-f]{32})/answer", wrap(&Server::note_fence));
  routes.Post(".*", answer_absent);
  routes.Delete(".*", answer_absent);
}

void Server::receive(migration::Arrivals& arrivals, TurnedLinks& links) {
  arrivals_ = &arrivals;
  links_ = &links;
}

void Server::add_export_routes(httplib::Server& routes) {
  const std::string one = std::string(path_prefix) + "/exports/([0-9a-f]{32})";
  routes.Post(one, wrap(&Server::begin_export));
  routes.Post(one + "/links", wrap(&Server::turn_link));
  routes.Delete(one, wrap(&Server::end_export));
  routes.Get(
      one, [this](const httplib::Request& request, httplib::Response& response) { export_status(request, response); });
}

void Server::add_hand_off_routes(httplib::Server& routes) {
  const std::string one = std::string(path_prefix) + "/hand-offs/([0-9a-f]{32})";
  routes.Post(one, wrap(&Server::hold));
  routes.Post(one + "/commit", wrap(&Server::commit));
  routes.Post(one + "/acknowledge", wrap(&Server::acknowledge));
  routes.Post(one + "/beat", wrap(&Server::beat));
  routes.Delete(one, wrap(&Server::release));
  routes.Post(std::string(path_prefix) + "/fences/([0-9a-f]{32})", wrap(&Server::fence));
}

void Server::add_freeze_routes(httplib::Server& routes) {
  const std::string one = std::string(path_prefix) + "/freezes/([0-9a-f]{32})";
  routes.Post(one, wrap(&Server::freeze));
  routes.Post(one + "/beat", wrap(&Server::beat_freeze));
  routes.Delete(one, wrap(&Server::thaw));
}

void Server::serve(Handler handler, const httplib::Request& request, const httplib::ContentReader& read,
                   httplib::Response& response) {
  std::string body;
  switch (transport::read_body(read, longest_request, body)) {
    case transport::Body::complete: return (this->*handler)(request, body, response);
    case transport::Body::too_large: return refuse(response, 413, "the request is larger than 4 MiB");
    case transport::Body::broken: return refuse(response, 400, "the request's body cannot be read");
  }
}

Result<> Server::allow(Permission permission) const {
  if (allowed_.contains(permission)) return {};
  const std::string what = permission == Permission::write ? "write volumes"
                           : permission == Permission::freeze
                               ? "have its volumes handed off, or what writes to them held"
                           : permission == Permission::containers ? "move services"
                                                                  : "read its volumes";
  return fail(Code::denied, "this host does not let its peers " + what + " (the plugin's setting ALLOW)");
}

/// For people.
std::string Server::who(const httplib::Request& request) const {
  if (!only_peer_.empty()) return "peer " + only_peer_;
  const std::string address = address_of(request);
  return address.empty() ? "a peer behind this host's sshd" : "peer " + address;
}

/// What writes to a volume may be made to stand still.
Result<> Server::allow_freeze() const {
  FERRY_TRY(allow(Permission::freeze));
  FERRY_ASSIGN(const bool there, sources_.has_engine());
  const bool can = there && freezes_ != nullptr;
  return can ? Result<>()
             : fail(Code::unsupported, "nothing can be made to stand still there: Ferry has no Docker Engine");
}

/// An Engine that is away may come back; what nobody has mounted can be read without it.
Result<> Server::allow_hold_of(const std::vector<std::string>& volumes) const {
  auto allowed = allow_freeze();
  if (allowed || allowed.error().code != Code::unsupported) return allowed;
  for (const auto& volume : volumes) {
    const auto idle = sources_.describe(volume, migration::Freeze::refuse, INT64_MAX);
    if (!idle && idle.error().code == Code::busy) return fail(Code::unavailable, idle.error().message);
  }
  return allowed;
}

Result<> Server::allow_reading(const std::string& volume) const {
  FERRY_TRY(allow(Permission::read));
  if (!only_ || only_->contains(volume)) return {};
  return fail(Code::denied, "volume " + quote(volume) + " is not part of the export");
}

/// As its own.
Result<> Server::allow_taking(const std::string& volume) const {
  FERRY_TRY(allow_reading(volume));
  if (!staying_.contains(volume)) return {};
  return fail(Code::denied, "volume " + quote(volume) + " stays here, and is exported as a copy");
}

/// As the Engine is to be asked for it.
Result<std::string> Server::allowed_container(const std::string& container) const {
  FERRY_TRY(allow(Permission::containers));
  if (!only_) return container;
  if (const auto known = only_container_.find(container); known != only_container_.end()) return known->second;
  return fail(Code::denied, "container " + quote(container) + " is not part of the export");
}

void Server::describe(const httplib::Request&, const std::string& body, httplib::Response& response) {
  const auto described = [&]() -> Result<migration::VolumeDescription> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const DescribeRequest wanted, decode_describe_request(body));
    FERRY_TRY(allow_reading(wanted.of.volume));
    const auto freeze = migration::holds_writers(wanted.of.freeze) ? allow_freeze() : Result<>();
    if (freeze) return sources_.describe(wanted.of.volume, wanted.of.freeze, wanted.room);
    auto idle = sources_.describe(wanted.of.volume, migration::Freeze::refuse, wanted.room);
    if (idle || idle.error().code != Code::busy) return idle;
    return fail(freeze.error().code, idle.error().message + "; " + freeze.error().message);
  }();
  if (!described) return refuse(response, described.error());
  answer(response, encode(*described));
}

void Server::open(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto opened = [&]() -> Result<std::string> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const OpenRequest wanted, decode_open_request(body));
    auto session = std::make_shared<Session>();
    if (wanted.container.empty()) {
      FERRY_TRY(allow_reading(wanted.volume));
      using migration::Freezes;
      const auto held = freezes_ == nullptr ? Freezes::Held::ended : freezes_->holds(wanted.frozen, wanted.volume);
      if (!wanted.frozen.empty() && held == Freezes::Held::ended)
        return fail(Code::busy, "the freeze of volume " + wanted.volume + " has ended");
      FERRY_ASSIGN(session->volume, sources_.open(wanted.volume, wanted.freeze, held == Freezes::Held::still));
      spdlog::info("{} reads volume {}", who(request), wanted.volume);
    } else {
      FERRY_ASSIGN(const auto container, allowed_container(wanted.container));
      FERRY_ASSIGN(session->volume, sources_.open_layer(container, wanted.freeze));
      spdlog::info("{} reads the layer of container {}", who(request), wanted.container);
    }
    return sessions_.add(std::move(session));
  }();
  if (!opened) return refuse(response, opened.error());
  answer(response, encode_opened(*opened));
}

void Server::manifest(const httplib::Request& request, const std::string&, httplib::Response& response) {
  auto session = sessions_.find(request.matches[1]);
  if (!session) return refuse(response, session.error());
  auto turn = (*session)->turns.walk(after(times_.turn));
  if (!turn) return refuse(response, {Code::unavailable, "the source is being read by an earlier request"});
  heard(**session);
  auto walk = (*session)->volume->sender.manifest();
  stream(response, std::move(walk), {std::move(*session), std::move(turn)});
}

void Server::content(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  auto session = sessions_.find(request.matches[1]);
  if (!session) return refuse(response, session.error());
  auto turn = (*session)->turns.read(after(times_.turn));
  if (!turn) return refuse(response, {Code::unavailable, "the source is being walked by an earlier request"});
  heard(**session);
  auto content = (*session)->volume->sender.content(body);
  if (!content) return refuse(response, content.error());
  stream(response, std::move(*content), {std::move(*session), std::move(turn)});
}

void Server::seal(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto session = sessions_.find(request.matches[1]);
  if (!session) return refuse(response, session.error());
  const auto wanted = decode_seal_request(body);
  if (!wanted) return refuse(response, wanted.error());
  const auto turn = (*session)->turns.read(after(times_.turn));
  if (!turn) return refuse(response, {Code::unavailable, "the source is being walked by an earlier request"});
  const auto sealed = sources_.seal(*(*session)->volume, wanted->unchanged);
  if (!sealed) return refuse(response, sealed.error());
  answer(response, encode(*sealed));
}

void Server::close(const httplib::Request& request, const std::string&, httplib::Response& response) {
  sessions_.close(request.matches[1]);
  answer(response, "{}");
}

Result<> Server::allow_hand_off(const std::string& id) const {
  FERRY_TRY(allow(Permission::freeze));
  if (!hand_off_peer_ || id == hand_off_id_) return {};
  if (departures_ != nullptr && departures_->is_of_export(id, hand_off_id_)) return {};
  return fail(Code::denied, "that hand-off is not part of the export");
}

/// Who asks for it, and where that host listens.
template <class Request>
void Server::note_who(const httplib::Request& request, Request& wanted) const {
  const std::string from = hand_off_peer_ ? hand_off_peer_->text() : address_of(request);
  wanted.peer = hand_off_peer_;
  if (!wanted.peer && !from.empty() && wanted.port != 0) wanted.peer = transport::PeerAddress(from, wanted.port);
  const std::string unnamed = from.empty() ? "a host behind this one's sshd" : from;
  wanted.host = wanted.name.empty() ? unnamed : wanted.name + " (" + (from.empty() ? "by ssh" : from) + ")";
}

void Server::hold(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto held = [&]() -> Result<migration::hand_off::Answer> {
    FERRY_TRY(allow_hand_off(request.matches[1]));
    FERRY_ASSIGN(migration::HandOffRequest wanted, decode_hand_off_request(body));
    if (departures_ != nullptr && hand_off_peer_ && wanted.container.empty())
      return fail(Code::denied, "a service is exported, and its volumes are not handed off without it");
    wanted.export_id = hand_off_id_;
    for (const auto& volume : wanted.volumes) FERRY_TRY(allow_taking(volume.source));
    note_who(request, wanted);
    if (wanted.container.empty()) return hand_offs_->hold(request.matches[1], wanted);
    FERRY_ASSIGN(wanted.container, allowed_container(wanted.container));
    if (departures_ == nullptr) return fail(Code::unsupported, "this host moves no services");
    return departures_->hold(request.matches[1], wanted);
  }();
  if (!held) return refuse(response, held.error());
  answer(response, encode(*held));
}

void Server::hand_off(const httplib::Request& request, migration::hand_off::Request wanted,
                      httplib::Response& response) {
  if (auto allowed = allow_hand_off(request.matches[1]); !allowed) return refuse(response, allowed.error());
  const std::string id = request.matches[1];
  const auto stands = departures_ != nullptr ? departures_->ask(id, wanted) : hand_offs_->ask(id, wanted);
  if (!stands) return refuse(response, stands.error());
  answer(response, encode(*stands));
}

void Server::commit(const httplib::Request& request, const std::string&, httplib::Response& response) {
  hand_off(request, migration::hand_off::Request::commit, response);
}

void Server::release(const httplib::Request& request, const std::string&, httplib::Response& response) {
  hand_off(request, migration::hand_off::Request::release, response);
}

void Server::acknowledge(const httplib::Request& request, const std::string&, httplib::Response& response) {
  hand_off(request, migration::hand_off::Request::acknowledge, response);
}

void Server::beat(const httplib::Request& request, const std::string&, httplib::Response& response) {
  hand_off(request, migration::hand_off::Request::beat, response);
}

void Server::freeze(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto frozen = [&]() -> Result<bool> {
    FERRY_ASSIGN(auto wanted, decode_freeze_request(body));
    for (const auto& volume : wanted.volumes) {
      FERRY_TRY(allow_reading(volume));
      FERRY_TRY(sources_.describe(volume, migration::Freeze::none, INT64_MAX));  // nothing is held for what is not read
    }
    if (wanted.kind == migration::FreezeKind::watch) return watch(request.matches[1], wanted);
    FERRY_TRY(allow_hold_of(wanted.volumes));
    FERRY_TRY(limit(wanted));
    spdlog::info("{} has what writes to {} volumes stand still", who(request), wanted.volumes.size());
    return freezes_->freeze(request.matches[1], wanted);
  }();
  if (!frozen) return refuse(response, frozen.error());
  answer(response, encode_held(*frozen));
}

/// Of an export its user says how, and for how long, what writes may be held, and not the destination.
Result<> Server::limit(migration::FreezeRequest& wanted) const {
  if (!only_freeze_) return {};
  if (wanted.kind != only_freeze_->kind)
    return fail(Code::denied, std::string("the export is one with freeze=") + to_string(only_freeze_->kind));
  wanted.longest = std::min(wanted.longest, only_freeze_->longest);
  return {};
}

/// Which holds nothing, so that it is part of reading.
Result<bool> Server::watch(const std::string& id, const migration::FreezeRequest& request) const {
  FERRY_ASSIGN(const bool there, sources_.has_engine());
  if (!there) return fail(Code::unsupported, "there is no Docker Engine that tells who writes to volumes");
  return freezes_->freeze(id, request);
}

void Server::beat_freeze(const httplib::Request& request, const std::string&, httplib::Response& response) {
  const auto beaten = freezes_->beat(request.matches[1]);
  if (!beaten) return refuse(response, beaten.error());
  answer(response, "{}");
}

void Server::thaw(const httplib::Request& request, const std::string&, httplib::Response& response) {
  answer(response, encode_lasted(freezes_->thaw(request.matches[1])));
}

void Server::fence(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto fenced = [&]() -> Result<migration::FenceAnswer> {
    FERRY_TRY(allow_hand_off(request.matches[1]));
    FERRY_ASSIGN(migration::FenceRequest wanted, decode_fence_request(body));
    if (only_) FERRY_TRY(allow_taking(wanted.volume));
    wanted.id = request.matches[1];
    note_who(request, wanted);
    return hand_offs_->fence(wanted);
  }();
  if (!fenced) return refuse(response, fenced.error());
  answer(response, encode(*fenced));
}

void Server::greet(const httplib::Request& request, httplib::Response& response) {
  Hello hello{FERRY_VERSION, uuid_, {}};
  const std::string host = request.get_param_value("host");
  if (forced_ != nullptr && !host.empty()) hello.fences = forced_->untold(host);
  answer(response, encode(hello));
}

void Server::note_fence(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto report = decode_fence_report(body);
  if (!report) return refuse(response, report.error());
  const bool may_fence = report->answer.stand == migration::FenceAnswer::Stand::newer;  // this host's own
  if (const auto allowed = may_fence ? allow(Permission::freeze) : Result<>(); !allowed)
    return refuse(response, allowed.error());
  forced_->note(request.matches[1], report->volume, report->answer);
  answer(response, "{}");
}

void Server::describe_service(const httplib::Request&, const std::string& body, httplib::Response& response) {
  const auto described = [&]() -> Result<migration::ServiceDescription> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const auto wanted, decode_describe_service_request(body));
    FERRY_ASSIGN(const auto container, allowed_container(wanted.container));
    if (wanted.detail == migration::ServiceDetail::whole) FERRY_TRY(allow(Permission::freeze));
    FERRY_ASSIGN(auto service, services_->describe(container, wanted.detail));
    if (departures_ == nullptr) return service;
    const auto departed = departures_->check_departure(service.id, service.container);
    if (!departed && departed.error().code == Code::busy) service.obstacles.push_back({departed.error().message, ""});
    return service;
  }();
  if (!described) return refuse(response, described.error());
  answer(response, encode(*described));
}

void Server::image(const httplib::Request&, const std::string& body, httplib::Response& response) {
  std::size_t known = 0;
  const auto found = [&]() -> Result<engine::Image> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const auto wanted, decode_image_request(body));
    FERRY_ASSIGN(const auto container, allowed_container(wanted.container));
    known = wanted.known;
    return services_->image_of(container);
  }();
  if (!found) return refuse(response, found.error());
  response.set_header("Transfer-Encoding", "chunked");
  response.set_content_provider(bytes_type, [this, image = *found, known](std::size_t, httplib::DataSink& sink) {
    Chunk chunk;
    const auto saved = services_->save_image(
        image, known,
        [&](std::string_view piece) -> Result<> {
          chunk.begin();
          chunk.bytes() += piece;
          const auto bytes = chunk.finish();
          return sink.write(bytes.data(), bytes.size()) ? Result<>() : fail(Code::unavailable, "the peer is gone");
        },
        &packing_);
    // Nothing but a broken answer can say so now.
    if (!saved) spdlog::error("image {} was not sent to its end: {}", image.id, saved.error().message);
    constexpr std::string_view end = "0\r\n\r\n";
    if (!saved || !sink.write(end.data(), end.size())) return false;
    sink.done();
    return true;
  });
}

void Server::plan_service(const httplib::Request&, const std::string& body, httplib::Response& response) {
  const auto planned = [&]() -> Result<nlohmann::json> {
    FERRY_TRY(allow(Permission::containers));
    FERRY_TRY(allow(Permission::write));
    FERRY_ASSIGN(const auto wanted, decode_plan_service_request(body));
    return planner_->plan(wanted.service, wanted.options);
  }();
  if (!planned) return refuse(response, planned.error());
  answer(response, encode_plan(*planned));
}

/// Whoever reads a volume that is held for it is still there.
void Server::heard(const Session& session) {
  if (hand_offs_ != nullptr) hand_offs_->heard(session.volume->volume);
}

void Server::begin_export(const httplib::Request& request, const std::string& body, httplib::Response& response) {
  const auto begun = [&]() -> Result<> {
    FERRY_TRY(allow(Permission::write));
    FERRY_ASSIGN(migration::TicketRequest wanted, decode_export_request(body));
    if (wanted.service) FERRY_TRY(allow(Permission::containers));
    const std::string address = address_of(request);
    wanted.peer =
        transport::PeerAddress::turned(request.matches[1], address.empty() ? "a host behind this one's sshd" : address);
    return arrivals_->begin(request.matches[1], wanted);
  }();
  if (!begun) return refuse(response, begun.error());
  answer(response, "{}");
}

void Server::turn_link(const httplib::Request& request, const std::string&, httplib::Response& response) {
  if (auto allowed = allow(Permission::write); !allowed) return refuse(response, allowed.error());
  answer(response, "{}");
  transport::HttpServer::hand_over_current_connection(
      [this, id = request.matches[1].str()](transport::Link link) { links_->add(id, std::move(link)); });
}

void Server::export_status(const httplib::Request& request, httplib::Response& response) {
  if (auto allowed = allow(Permission::write); !allowed) return refuse(response, allowed.error());
  const auto status = arrivals_->status(request.matches[1]);
  if (!status) return refuse(response, status.error());
  answer(response, encode_status(*status));
}

void Server::end_export(const httplib::Request& request, const std::string&, httplib::Response& response) {
  if (auto allowed = allow(Permission::write); !allowed) return refuse(response, allowed.error());
  const auto ended = arrivals_->end(request.matches[1]);
  if (!ended) return refuse(response, ended.error());
  answer(response, "{}");
}

}  // namespace ferry::peer
