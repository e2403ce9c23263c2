#include "peer/client.h"

#include <mutex>
#include <set>
#include <vector>

#include "base/log.h"
#include "migration/frozen_copy.h"
#include "peer/connection.h"
#include "peer/messages.h"
#include "peer/offer.h"
#include "peer/service_messages.h"
#include "transport/ssh_transport.h"
#include "transport/tls_transport.h"

namespace ferry::peer {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds connect_time{5000};
constexpr milliseconds content_time{30'000};
constexpr milliseconds image_time{600'000};  // an Engine packs it, twice
/// The sender first writes back its whole file system (syncfs), and a walk may meet slow disks. A peer that vanished
/// is noticed earlier, by TCP's keepalive.
constexpr milliseconds walk_time{600'000};
constexpr milliseconds goodbye_time{1000};

class RemoteSource : public migration::OpenSource {
 public:
  RemoteSource(std::shared_ptr<Connection> connection, const std::string& id)
      : connection_(std::move(connection)), path_("/sources/" + id) {}

  ~RemoteSource() override {
    (void)connection_->ask({"DELETE", path_, "", goodbye_time, goodbye_time, after(goodbye_time)});
  }

  Result<> manifest(const sync::ByteSink& sink) override {
    return connection_->stream({"POST", path_ + "/manifest", "", connect_time, walk_time}, sink);
  }

  Result<> content(const std::string& wants, const sync::ByteSink& sink) override {
    return connection_->stream({"POST", path_ + "/content", wants, connect_time, content_time}, sink);
  }

  Result<sync::Seal> seal(bool unchanged) override {
    const std::string body = encode(SealRequest{unchanged});
    FERRY_ASSIGN(const auto answer, connection_->ask({"POST", path_ + "/seal", body, connect_time, walk_time}));
    return decode_seal(answer);
  }

 private:
  const std::shared_ptr<Connection> connection_;
  const std::string path_;
};

/// Of this host: what another one may have taken over by force.
struct Fenced {
  std::string uuid;  ///< of the catalogue
  migration::HandOffs& volumes;
};

std::optional<Fenced> fenced(const ExportEnds& ends) {
  return ends.may_fence ? std::optional<Fenced>({ends.uuid, ends.hand_offs}) : std::nullopt;
}

/// An error is worth another try, at the next greeting.
Result<> carry_out(migration::FenceRequest fence, Connection& connection, const Fenced& here,
                   const transport::Transport& transport, Deadline deadline) {
  fence.peer = transport.address();
  fence.host = fence.name.empty() ? transport.peer() : fence.name + " (" + transport.peer() + ")";
  FERRY_ASSIGN(const auto answer, here.volumes.fence(fence));
  const auto left = left_until(deadline);
  FERRY_TRY(connection.ask(
      {"POST", "/fences/" + fence.id + "/answer", encode(FenceReport{fence.volume, answer}), left, left, deadline}));
  return {};
}

/// The UUID of the peer's catalogue. What it has taken over by force from this host is fenced before.
Result<std::string> greet(Connection& connection, const std::optional<Fenced>& here,
                          const transport::Transport& transport, milliseconds timeout) {
  const Deadline deadline = after(timeout);
  const std::string path = "/hello" + (here ? "?host=" + here->uuid : "");
  FERRY_ASSIGN(const auto answer, connection.ask({"GET", path, "", timeout, timeout, deadline}));
  FERRY_ASSIGN(const Hello hello, decode_hello(answer));
  for (const auto& fence : hello.fences) {
    if (!here || SteadyClock::now() > deadline) break;  // what is left is heard of again
    if (auto done = carry_out(fence, connection, *here, transport, deadline); !done)
      spdlog::warn("{} has taken over volume {} by force: {}", transport.peer(), fence.volume, done.error().message);
  }
  return hello.uuid;
}

class RemotePeer : public migration::Peer {
 public:
  /// `here`: of this host, for what the peer has to tell it; none: it is not told.
  RemotePeer(std::shared_ptr<transport::Transport> transport, std::optional<Fenced> here)
      : transport_(std::move(transport)), here_(std::move(here)) {}

  Result<std::string> identify(milliseconds timeout) override { return greet(*control(), here_, *transport_, timeout); }

  Result<migration::VolumeDescription> describe(const migration::ImportRequest& request, std::uint64_t room,
                                                milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    const std::string body = encode(DescribeRequest{{request.volume, request.terms.freeze}, room});
    FERRY_ASSIGN(const auto answer, control()->ask({"POST", "/describe", body, timeout, timeout, deadline}));
    return decode_description(answer);
  }

  Result<std::unique_ptr<migration::OpenSource>> open(const migration::ImportRequest& request) override {
    auto connection = connect();
    const std::string body =
        encode(OpenRequest{request.volume, request.terms.freeze, request.container, request.frozen});
    FERRY_ASSIGN(const auto answer, connection->ask({"POST", "/sources", body, connect_time, content_time}));
    FERRY_ASSIGN(const auto id, decode_opened(answer));
    return std::unique_ptr<migration::OpenSource>(std::make_unique<RemoteSource>(std::move(connection), id));
  }

  Result<migration::ServiceDescription> describe_service(const std::string& container, migration::ServiceDetail detail,
                                                         milliseconds timeout) override {
    FERRY_ASSIGN(const auto answer,
                 ask_about_services("describe", encode(DescribeServiceRequest{container, detail}), timeout));
    return decode_service(answer);
  }

  Result<> image(const std::string& container, std::size_t known,
                 const std::function<Result<>(std::string_view)>& sink) override {
    const std::string body = encode(ImageRequest{container, known});
    return connect()->stream({"POST", "/containers/image", body, connect_time, image_time}, sink);
  }

  Result<nlohmann::json> plan_service(const migration::ServiceDescription& service,
                                      const migration::ServiceOptions& options, milliseconds timeout) override {
    FERRY_ASSIGN(const auto answer, ask_about_services("plan", encode(PlanServiceRequest{service, options}), timeout));
    return decode_plan(answer);
  }

  Result<migration::hand_off::Answer> hand_off(const std::string& id, migration::hand_off::Request request,
                                               const migration::HandOffRequest& wanted, milliseconds timeout) override {
    using migration::hand_off::Request;
    const std::string path = "/hand-offs/" + id;
    Connection::Call call{"POST", path, "", std::min(timeout, connect_time), timeout, after(timeout)};
    if (request == Request::hold) call.body = encode(wanted);
    if (request == Request::release) call.method = "DELETE";
    if (request == Request::commit) call.path += "/commit";
    if (request == Request::acknowledge) call.path += "/acknowledge";
    if (request == Request::beat) call.path += "/beat";
    FERRY_ASSIGN(const auto answer, control()->ask(call));
    return decode_hand_off_answer(answer);
  }

  Result<bool> freeze(const std::string& id, migration::FreezeStep step, const migration::FreezeRequest& wanted,
                      milliseconds timeout) override {
    using migration::FreezeStep;
    Connection::Call call{"POST", "/freezes/" + id, "", std::min(timeout, connect_time), timeout, after(timeout)};
    if (step == FreezeStep::begin) call.body = encode(wanted);
    if (step == FreezeStep::beat) call.path += "/beat";
    if (step == FreezeStep::end) call.method = "DELETE";
    FERRY_ASSIGN(const auto answer, control()->ask(call));
    if (step == FreezeStep::begin) return decode_held(answer);
    return step == FreezeStep::end ? decode_lasted(answer) : Result<bool>(true);
  }

  Result<migration::FenceAnswer> fence(const migration::FenceRequest& request, milliseconds timeout) override {
    FERRY_ASSIGN(const auto answer, control()->ask({"POST", "/fences/" + request.id, encode(request),
                                                    std::min(timeout, connect_time), timeout, after(timeout)}));
    return decode_fence_answer(answer);
  }

  void abort() override {
    const std::lock_guard guard(mutex_);
    aborted_ = true;
    for (const auto& known : connections_)
      if (const auto connection = known.lock()) connection->abort();
  }

 private:
  Result<std::string> ask_about_services(const std::string& what, const std::string& body, milliseconds timeout) {
    return control()->ask(
        {"POST", "/containers/" + what, body, std::min(timeout, connect_time), timeout, after(timeout)});
  }

  /// For questions before a volume is opened, so that they need not connect each time.
  std::shared_ptr<Connection> control() {
    const std::lock_guard guard(mutex_);
    if (!control_) control_ = add_connection();
    return control_;
  }

  std::shared_ptr<Connection> connect() {
    const std::lock_guard guard(mutex_);
    return add_connection();
  }

  std::shared_ptr<Connection> add_connection() {
    auto connection = std::make_shared<Connection>(transport_);
    if (aborted_) connection->abort();
    std::erase_if(connections_, [](const auto& known) { return known.expired(); });
    connections_.push_back(connection);
    return connection;
  }

  const std::shared_ptr<transport::Transport> transport_;
  const std::optional<Fenced> here_;
  std::mutex mutex_;
  bool aborted_ = false;                                // protected by mutex_
  std::shared_ptr<Connection> control_;                 // protected by mutex_
  std::vector<std::weak_ptr<Connection>> connections_;  // protected by mutex_
};

class RemoteDestination : public migration::Destination {
 public:
  RemoteDestination(const std::shared_ptr<transport::Transport>& transport, const std::string& id,
                    const ExportEnds& ends, Offer::Offered offered)
      : path_("/exports/" + id),
        transport_(transport),
        here_(fenced(ends)),
        control_(transport),
        farewell_(transport),
        offer_(transport, id, ends.here, ends.uuid, std::move(offered)) {}

  Result<> begin(const migration::TicketRequest& request, milliseconds timeout) override {
    const Deadline deadline = after(timeout);
    FERRY_TRY(greet(control_, here_, *transport_, timeout));
    // What it would refuse is told at once, and not once for each link.
    if (auto there = status(left_until(deadline)); !there && there.error().code != Code::not_found) return pass(there);
    FERRY_TRY(offer());
    FERRY_TRY(ask(control_, "POST", encode_export_request(request), left_until(deadline)));
    return {};
  }

  Result<nlohmann::json> status(milliseconds timeout) override {
    FERRY_ASSIGN(const auto answer, ask(control_, "GET", "", timeout));
    return decode_status(answer);
  }

  Result<> offer() override {
    if (offering_) return {};
    FERRY_TRY(offer_.start());
    offering_ = true;
    return {};
  }

  Result<> end(milliseconds timeout) override {
    FERRY_TRY(ask(farewell_, "DELETE", "", timeout));
    return {};
  }

  std::string trouble() const override { return offer_.trouble(); }

  void abort() override {
    control_.abort();
    offer_.stop();
  }

 private:
  Result<std::string> ask(Connection& connection, const char* method, std::string body, milliseconds timeout) {
    return connection.ask({method, path_, std::move(body), std::min(timeout, connect_time), timeout, after(timeout)});
  }

  const std::string path_;
  const std::shared_ptr<transport::Transport> transport_;
  const std::optional<Fenced> here_;
  Connection control_;
  Connection farewell_;
  Offer offer_;
  bool offering_ = false;
};

class Factory : public migration::PeerFactory {
 public:
  Factory(const transport::KeyFile& keys, std::filesystem::path ssh_directory, std::optional<ExportEnds> exports)
      : keys_(keys), ssh_directory_(std::move(ssh_directory)), exports_(std::move(exports)) {}

  std::shared_ptr<migration::Peer> peer(const transport::PeerAddress& address) override {
    // A host that exports to this one can be told by this one directly.
    const bool is_told = exports_ && address.way != transport::PeerAddress::Way::turned;
    return std::make_shared<RemotePeer>(transport(address), is_told ? fenced(*exports_) : std::nullopt);
  }

  std::shared_ptr<migration::Destination> destination(const migration::TicketRequest& request,
                                                      const std::string& id) override {
    Offer::Offered offered;
    for (const auto& volume : request.volumes) {
      offered.volumes.insert(volume.source);
      if (volume.stays) offered.staying.insert(volume.source);
    }
    if (migration::holds_writers(request.terms.freeze)) {
      offered.freezes = exports_->freezes;
      offered.freeze = migration::freeze_request(request.terms, {});
    }
    if (request.move) offered.hand_offs = &exports_->hand_offs;
    if (request.service) {
      offered.container = request.service->container;
      offered.container_id = request.container;
      offered.services = exports_->services;
      offered.departures = exports_->departures;
    }
    return std::make_shared<RemoteDestination>(transport(request.peer), id, *exports_, std::move(offered));
  }

 private:
  std::shared_ptr<transport::Transport> transport(const transport::PeerAddress& address) {
    switch (address.way) {
      case transport::PeerAddress::Way::ssh: return transport::make_ssh_transport(address, keys_, ssh_directory_);
      case transport::PeerAddress::Way::turned: return make_turned_transport(exports_->links, address);
      case transport::PeerAddress::Way::tls: break;
    }
    return transport::make_tls_transport(address.endpoint, keys_);
  }

  const transport::KeyFile& keys_;
  const std::filesystem::path ssh_directory_;
  const std::optional<ExportEnds> exports_;
};

}  // namespace

std::unique_ptr<migration::PeerFactory> make_peer_factory(const transport::KeyFile& keys,
                                                          std::filesystem::path ssh_directory,
                                                          std::optional<ExportEnds> exports) {
  return std::make_unique<Factory>(keys, std::move(ssh_directory), std::move(exports));
}

}  // namespace ferry::peer
