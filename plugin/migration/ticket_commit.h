#pragma once

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
  using Create = std::function<Result<>(volumes::VolumeRecord record)>;

  /// `create` makes an importing volume. The catalogue must outlive this object.
  TicketCommit(volumes::Catalogue& catalogue, Create create, std::string ticket, TicketPlan plan)
      : catalogue_(catalogue), create_(std::move(create)), ticket_(std::move(ticket)), plan_(std::move(plan)) {}

  const TicketPlan& plan() const { return plan_; }

  /// A directory for what comes of a volume, or what a process that was killed has made of it.
  Result<> prepare(const TicketVolume& volume);

  /// The one write that counts. Until it is durable nothing has happened to any volume. `outcomes`: see
  /// TicketPlan::committing.
  Result<> decide(nlohmann::json outcomes);

  /// Makes the volume of that number what has come. After an error it has to be repeated.
  Result<> commit(std::size_t number);

  /// Takes back what was done for volumes of which nothing is decided.
  Result<> undo();

 private:
  Result<> commit_new(const TicketVolume& volume, const nlohmann::json& status);
  Result<> commit_update(const TicketVolume& volume, const nlohmann::json& status);
  Result<> finish_update(const TicketVolume& volume, const nlohmann::json& status);

  volumes::Catalogue& catalogue_;
  const Create create_;
  const std::string ticket_;
  TicketPlan plan_;
};

}  // namespace ferry::migration
