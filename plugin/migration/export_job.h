#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "migration/options.h"
#include "migration/peer.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What an export's record keeps, so that another process carries on.
struct ExportPlan {
  TicketRequest request;
  std::string id;      ///< 32 hex digits: under which the destination knows it
  bool begun = false;  ///< the destination has taken it on
  bool told = false;   ///< and has forgotten it, after its end
};

nlohmann::json to_json(const ExportPlan& plan);
Result<ExportPlan> export_plan(const nlohmann::json& json);  ///< Code::corrupt unless to_json() made it

/// The Status of an export that has just been asked for.
nlohmann::json new_export_status(const ExportPlan& plan);

/// Lets the destination read what is exported to it, and asks it how far it has come, in a thread of its own, until
/// that says that it is done or has failed; then has it forget the export. Thread-safe.
class ExportJob {
 public:
  /// This host's end of a hand-off, which is what counts.
  struct HandOff {
    std::function<bool()> is_given;   ///< whether the volumes are the destination's
    std::function<bool()> is_taken;   ///< whether they were, and were taken back by force
    std::function<void()> take_back;  ///< they are this host's, if they are not
  };

  /// The ticket's record must be in the catalogue, which must outlive this object. If that has an outcome, it only has
  /// to be forgotten at the destination.
  ExportJob(volumes::Catalogue& catalogue, std::string name, ExportPlan plan, std::shared_ptr<Destination> destination,
            HandOff hand_off);
  ExportJob(const ExportJob&) = delete;
  ExportJob& operator=(const ExportJob&) = delete;
  ~ExportJob() { abandon(); }

  /// Once; does nothing after abandon().
  void start();

  /// Ends it without an outcome, so that a later process carries on. stop_soon() only begins to.
  void stop_soon();
  void abandon();

  bool has_outcome() const;
  const ExportPlan& plan() const { return plan_; }  ///< as it was asked for

  /// Before abandon(): ends it at the destination. One that cannot be reached gives it up a day after it has last
  /// heard of this host; but of a hand-off the ticket is to stay until it has, since nobody else can tell it.
  /// Code::busy: so it is, or it cannot be cancelled any more.
  Result<> withdraw();

  nlohmann::json status() const;  ///< all of the ticket's Status

 private:
  void run();
  Result<> follow(Destination& destination);
  Result<> until_answered(const std::function<Result<>()>& ask);
  Result<> begin(Destination& destination);
  void end(const Result<>& done);
  bool tell_end(Destination& destination);
  bool pause(std::chrono::milliseconds duration);
  void note(const Error& error);
  void show(const nlohmann::json& there);
  Result<> store(const std::function<void(volumes::VolumeRecord&)>& change);
  std::shared_ptr<Destination> destination() const;

  volumes::Catalogue& catalogue_;
  const std::string name_;
  ExportPlan plan_;  // of the thread, but for what is constant of it
  const HandOff hand_off_;
  const nlohmann::json first_;  // Status before the destination has said anything
  std::atomic<bool> stopping_{false};
  std::atomic<bool> given_up_{false};  // by the user, but the destination has to be told
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Destination> destination_;  // protected by mutex_; none once nothing is to be said to it any more
  bool has_outcome_;                          // protected by mutex_
  std::string trouble_;                       // protected by mutex_: what it waits for
  nlohmann::json shown_;                      // protected by mutex_: Status, but for trouble_
  std::mutex thread_mutex_;
  std::thread thread_;  // protected by thread_mutex_
};

}  // namespace ferry::migration
