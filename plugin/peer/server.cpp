#include "peer/server.h"

#include <sstream>

#include "base/log.h"
#include "base/random.h"
#include "peer/messages.h"
#include "volumes/names.h"

#ifndef FERRY_VERSION
#define FERRY_VERSION "unknown"
#endif

namespace ferry::peer {

namespace {

/// A source that nobody asks for is closed; a receiver that comes back opens it anew.
constexpr std::chrono::minutes session_time{15};
constexpr std::size_t most_sessions = 256;
/// Requests are small; the largest names the files of one batch.
constexpr std::size_t longest_request = 4U << 20;

void answer(httplib::Response& response, const std::string& message) { response.set_content(message, json_type); }

void refuse(httplib::Response& response, const Error& error) {
  response.status = status_of(error.code);
  response.set_content(encode(error), json_type);
}

/// Streams a byte source as the response's body; `keep` lives as long as the stream.
void stream(httplib::Response& response, std::shared_ptr<sync::ByteSource> source, std::shared_ptr<void> keep) {
  response.set_chunked_content_provider(
      bytes_type, [source = std::move(source), keep = std::move(keep)](std::size_t, httplib::DataSink& sink) {
        constexpr std::size_t piece = 64U << 10;
        std::string bytes;
        bool more = true;
        while (more && bytes.size() < piece) more = source->next(bytes);
        if (!bytes.empty() && !sink.write(bytes.data(), bytes.size())) return false;
        if (!more) sink.done();
        return true;
      });
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

Server::Server(const migration::Sources& sources, std::string uuid, std::set<Permission> allowed)
    : sources_(sources), uuid_(std::move(uuid)), allowed_(std::move(allowed)) {}

void Server::add_routes(httplib::Server& routes) {
  routes.set_payload_max_length(longest_request);
  const std::string prefix = path_prefix;
  const std::string source = prefix + "/sources/([0-9a-f]+)";
  routes.Get(prefix + "/hello", [this](const httplib::Request&, httplib::Response& response) {
    answer(response, encode(Hello{FERRY_VERSION, uuid_}));
  });
  routes.Post(prefix + "/describe", [this](const auto& request, auto& response) { describe(request, response); });
  routes.Post(prefix + "/sources", [this](const auto& request, auto& response) { open(request, response); });
  routes.Post(source + "/manifest", [this](const auto& request, auto& response) { manifest(request, response); });
  routes.Post(source + "/content", [this](const auto& request, auto& response) { content(request, response); });
  routes.Post(source + "/seal", [this](const auto& request, auto& response) { seal(request, response); });
  routes.Delete(source, [this](const auto& request, auto& response) { close(request, response); });
}

Result<> Server::allow(Permission permission) const {
  if (allowed_.contains(permission)) return {};
  return fail(Code::denied, "this host does not let its peers read its volumes (the plugin's setting ALLOW)");
}

void Server::describe(const httplib::Request& request, httplib::Response& response) const {
  const auto described = [&]() -> Result<migration::VolumeDescription> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const OpenRequest wanted, decode_open_request(request.body));
    return sources_.describe(wanted.volume, wanted.freeze);
  }();
  if (!described) return refuse(response, described.error());
  answer(response, encode(*described));
}

void Server::open(const httplib::Request& request, httplib::Response& response) {
  const auto opened = [&]() -> Result<std::string> {
    FERRY_TRY(allow(Permission::read));
    FERRY_ASSIGN(const OpenRequest wanted, decode_open_request(request.body));
    auto session = std::make_shared<Session>();
    FERRY_ASSIGN(session->volume, sources_.open(wanted.volume, wanted.freeze));
    spdlog::info("a peer at {} reads volume {}", request.remote_addr, wanted.volume);
    return add(std::move(session));
  }();
  if (!opened) return refuse(response, opened.error());
  answer(response, encode_opened(*opened));
}

Result<std::string> Server::add(std::shared_ptr<Session> session) {
  std::vector<std::shared_ptr<Session>> expired;  // destroyed after the lock is released
  const std::lock_guard guard(mutex_);
  const auto now = SteadyClock::now();
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const bool unused = it->second.use_count() == 1 && it->second->expires < now;
    if (unused) expired.push_back(it->second);
    it = unused ? sessions_.erase(it) : std::next(it);
  }
  if (sessions_.size() >= most_sessions) return fail(Code::unavailable, "too many migrations read from this host now");
  session->expires = now + session_time;
  const std::string id = random_hex(16);
  sessions_.emplace(id, std::move(session));
  return id;
}

Result<std::shared_ptr<Server::Session>> Server::find(const httplib::Request& request) {
  const std::string id = request.matches[1];
  const std::lock_guard guard(mutex_);
  const auto it = sessions_.find(id);
  // "unavailable": the receiver opens the source anew and carries on, e.g. after this process was restarted
  if (it == sessions_.end()) return fail(Code::unavailable, "the source is not open any more");
  it->second->expires = SteadyClock::now() + session_time;
  return it->second;
}

void Server::manifest(const httplib::Request& request, httplib::Response& response) {
  const auto session = find(request);
  if (!session) return refuse(response, session.error());
  auto lock = std::make_shared<std::unique_lock<std::shared_mutex>>((*session)->mutex, std::try_to_lock);
  if (!lock->owns_lock())
    return refuse(response, {Code::unavailable, "the source is being read by an earlier request"});
  auto keep = std::make_shared<std::pair<std::shared_ptr<Session>, decltype(lock)>>(*session, std::move(lock));
  stream(response, (*session)->volume->sender.manifest(), std::move(keep));
}

void Server::content(const httplib::Request& request, httplib::Response& response) {
  const auto session = find(request);
  if (!session) return refuse(response, session.error());
  auto lock = std::make_shared<std::shared_lock<std::shared_mutex>>((*session)->mutex, std::try_to_lock);
  if (!lock->owns_lock())
    return refuse(response, {Code::unavailable, "the source is being walked by an earlier request"});
  auto content = (*session)->volume->sender.content(request.body);
  if (!content) return refuse(response, content.error());
  auto keep = std::make_shared<std::pair<std::shared_ptr<Session>, decltype(lock)>>(*session, std::move(lock));
  stream(response, std::move(*content), std::move(keep));
}

void Server::seal(const httplib::Request& request, httplib::Response& response) {
  const auto session = find(request);
  if (!session) return refuse(response, session.error());
  const std::shared_lock lock((*session)->mutex, std::try_to_lock);
  if (!lock.owns_lock())
    return refuse(response, {Code::unavailable, "the source is being walked by an earlier request"});
  const auto sealed = sources_.seal(*(*session)->volume);
  if (!sealed) return refuse(response, sealed.error());
  answer(response, encode(*sealed));
}

void Server::close(const httplib::Request& request, httplib::Response& response) {
  const std::string id = request.matches[1];
  std::shared_ptr<Session> closed;  // destroyed after the lock is released
  {
    const std::lock_guard guard(mutex_);
    if (const auto it = sessions_.find(id); it != sessions_.end()) {
      closed = it->second;
      sessions_.erase(it);
    }
  }
  answer(response, "{}");
}

}  // namespace ferry::peer
