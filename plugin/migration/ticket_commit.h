#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "migration/ticket_plan.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What a ticket does to the catalogue: makes room for its volumes, decides by one durable write of its record that
/// they become what has come, makes them so, or takes everything back. Not thread-safe.
class TicketCommit {
 public:
  /// In the `import` of a ready volume's record: the ticket that it was made for, and that its content does not matter.
  static constexpr const char* made_for = "made_for";

  using Create = std::function<Result<>(volumes::VolumeRecord record)>;

  /// `create` makes an importing volume. The catalogue must outlive this object.
  TicketCommit(volumes::Catalogue& catalogue, Create create, std::string ticket, TicketPlan plan)
      : catalogue_(catalogue), create_(std::move(create)), ticket_(std::move(ticket)), plan_(std::move(plan)) {}

  const TicketPlan& plan() const { return plan_; }

  /// A directory for what comes of a volume, or what a process that was killed has made of it.
  Result<> prepare(const TicketVolume& volume);

  /// Of a service: TicketService::came, durably, before the pieces are put into their places.
  Result<> note_pieces(const std::vector<std::uint64_t>& came);
  /// Of a move that its source has ended: as before anything was held, for a hand-off of another ID.
  Result<> begin_again(const std::string& hand_off);
  /// That it has failed, so that another process takes back what was made, too.
  Result<> note_failure(const std::string& why);

  /// Of a hand-off, before the source is asked to give: all of it is here, durably. After an error it may be on disk
  /// nevertheless, until take_back() has succeeded.
  Result<> be_prepared(nlohmann::json outcomes);

  /// Whether that is still so.
  Result<> check_prepared() const;

  /// The one write that counts. Until it is durable nothing has happened to any volume. `outcomes`: see
  /// TicketPlan::committing. After an error it may be on disk nevertheless, until take_back() has succeeded.
  Result<> decide(nlohmann::json outcomes);

  /// After an error of be_prepared() or decide(): makes sure that nothing of it is on disk, durably.
  Result<> take_back();

  /// Of a hand-off, once every volume is what has come.
  Result<> be_owner();

  /// Of a decision that an earlier process has made: it may not be durable, if that was killed meanwhile.
  Result<> confirm();

  /// Makes the volume of that number what has come. After an error it has to be repeated.
  Result<> commit(std::size_t number);

  /// Takes back what was done for volumes of which nothing is decided. Does nothing if that is not durable.
  Result<> undo();

 private:
  Result<> store(const TicketPlan& plan);
  bool is_on_disk() const;
  void be_imported(volumes::VolumeRecord& record, const TicketVolume& volume) const;
  Result<std::vector<bool>> planned() const;
  /// Whether it becomes this host's own.
  bool moves(const TicketVolume& volume) const { return plan_.is_move() && !volume.is_copy; }
  std::uint64_t epoch_of(const TicketVolume& volume) const;
  std::filesystem::path plan_of(const TicketVolume& volume) const;
  Result<> commit_new(const TicketVolume& volume, const nlohmann::json& status);
  Result<> commit_update(std::size_t number);
  Result<> apply(const TicketVolume& volume);
  Result<> check_ours(const volumes::VolumeRecord& record, const TicketVolume& volume) const;
  bool is_applied(const TicketVolume& volume) const;
  Result<> finish_update(const TicketVolume& volume, const nlohmann::json& status);

  volumes::Catalogue& catalogue_;
  const Create create_;
  const std::string ticket_;
  TicketPlan plan_;
  bool uncertain_ = false;  // the record on disk may say that it is decided
};

}  // namespace ferry::migration
