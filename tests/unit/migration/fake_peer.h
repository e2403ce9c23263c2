#pragma once

#include <fcntl.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "base/files.h"
#include "migration/peer.h"
#include "support/local_source.h"

namespace ferry::migration {

/// Another host in this process: what it has, and what goes wrong on the way to it. Shared by all its peers.
struct FakeHost {
  std::filesystem::path root;  ///< of the one volume that it has
  std::string uuid = "other-host";
  VolumeDescription description;
  std::function<Result<>()> on_identify = [] { return Result<>(); };
  std::function<Result<>()> on_describe = [] { return Result<>(); };
  std::function<Result<>(int attempt)> on_open = [](int) { return Result<>(); };
  std::function<Result<>(int attempt)> on_content = [](int) { return Result<>(); };
  std::function<Result<hand_off::Answer>(const std::string& id, hand_off::Request request,
                                         const HandOffRequest& wanted)>
      on_hand_off = [](const std::string&, hand_off::Request, const HandOffRequest&) -> Result<hand_off::Answer> {
    return fail(Code::unsupported, "nothing is handed off");
  };
  std::function<Result<ServiceDescription>(const std::string& container, ServiceDetail detail)> on_describe_service =
      [](const std::string&, ServiceDetail) -> Result<ServiceDescription> {
    return fail(Code::not_found, "there is no such container");
  };
  std::function<Result<>(const std::string& container, const std::function<Result<>(std::string_view)>& sink)>
      on_image = [](const std::string&, const std::function<Result<>(std::string_view)>&) {
        return Result<>(fail(Code::not_found, "there is no such image"));
      };
  std::function<Result<nlohmann::json>(const ServiceDescription& service)> on_plan_service =
      [](const ServiceDescription&) -> Result<nlohmann::json> { return fail(Code::unsupported, "nothing is planned"); };
  std::function<Result<FenceAnswer>(const FenceRequest& request)> on_fence = [](const FenceRequest&) {
    return Result<FenceAnswer>(fail(Code::unavailable, "nobody is told"));
  };
  std::function<Result<bool>(FreezeStep step, const FreezeRequest& wanted)> on_freeze =
      [](FreezeStep, const FreezeRequest&) -> Result<bool> { return fail(Code::unsupported, "nothing stands still"); };
  std::atomic<int> opened{0};

  /// Blocks like a peer that does not answer, until release() or the end of the peer that asked.
  Result<> hang(const std::atomic<bool>& aborted) {
    std::unique_lock lock(mutex);
    ++hanging;
    changed.notify_all();
    changed.wait(lock, [&] { return released || aborted; });
    --hanging;
    return released ? Result<>() : Result<>(fail(Code::unavailable, "broken off"));
  }
  void release() {
    const std::lock_guard guard(mutex);
    released = true;
    changed.notify_all();
  }
  /// Until somebody hangs.
  void wait_for_hanging() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return hanging > 0; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  int hanging = 0;
  std::atomic<bool> hang_in_open{false};
  std::atomic<bool> hang_in_content{false};
};

class FakePeer : public Peer {
 public:
  explicit FakePeer(FakeHost& host) : host_(host) {}

  Result<std::string> identify(std::chrono::milliseconds) override {
    FERRY_TRY(host_.on_identify());
    return host_.uuid;
  }
  Result<VolumeDescription> describe(const ImportRequest&, std::uint64_t, std::chrono::milliseconds) override {
    FERRY_TRY(host_.on_describe());
    return host_.description;
  }
  Result<std::unique_ptr<OpenSource>> open(const ImportRequest&) override {
    const int attempt = ++host_.opened;
    if (host_.hang_in_open) FERRY_TRY(host_.hang(aborted_));
    FERRY_TRY(host_.on_open(attempt));
    return std::unique_ptr<OpenSource>(std::make_unique<Source>(*this, attempt));
  }
  Result<hand_off::Answer> hand_off(const std::string& id, hand_off::Request request, const HandOffRequest& wanted,
                                    std::chrono::milliseconds) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_hand_off(id, request, wanted);
  }
  Result<ServiceDescription> describe_service(const std::string& container, ServiceDetail detail,
                                              std::chrono::milliseconds) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_describe_service(container, detail);
  }
  Result<> image(const std::string& container, std::size_t,
                 const std::function<Result<>(std::string_view)>& sink) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_image(container, sink);
  }
  Result<nlohmann::json> plan_service(const ServiceDescription& service, const ServiceOptions&,
                                      std::chrono::milliseconds) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_plan_service(service);
  }
  Result<bool> freeze(const std::string&, FreezeStep step, const FreezeRequest& wanted,
                      std::chrono::milliseconds) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_freeze(step, wanted);
  }
  Result<FenceAnswer> fence(const FenceRequest& request, std::chrono::milliseconds) override {
    if (aborted_) return fail(Code::cancelled, "cancelled");
    return host_.on_fence(request);
  }
  void abort() override {
    const std::lock_guard guard(host_.mutex);
    aborted_ = true;
    host_.changed.notify_all();
  }

 private:
  class Source : public OpenSource {
   public:
    Source(FakePeer& peer, int attempt)
        : local_(*open_at(AT_FDCWD, peer.host_.root.string(), O_RDONLY | O_DIRECTORY), peer.host_.uuid, {},
                 peer.host_.description.lineage) {
      local_.on_content = [&peer, attempt](std::string&) -> Result<> {
        if (peer.host_.hang_in_content) FERRY_TRY(peer.host_.hang(peer.aborted_));
        return peer.host_.on_content(attempt);
      };
    }
    Result<> manifest(const sync::ByteSink& sink) override { return local_.manifest(sink); }
    Result<> content(const std::string& wants, const sync::ByteSink& sink) override {
      return local_.content(wants, sink);
    }
    Result<sync::Seal> seal(bool unchanged) override { return local_.seal(unchanged); }

   private:
    test::LocalSource local_;
  };

  FakeHost& host_;
  std::atomic<bool> aborted_{false};
};

class FakePeers : public PeerFactory {
 public:
  explicit FakePeers(FakeHost& host) : host_(host) {}
  std::function<std::shared_ptr<Destination>()> on_destination;
  std::shared_ptr<Peer> peer(const transport::PeerAddress&) override { return std::make_shared<FakePeer>(host_); }
  std::shared_ptr<Destination> destination(const TicketRequest&, const std::string&) override {
    return on_destination();
  }

 private:
  FakeHost& host_;
};

}  // namespace ferry::migration
