#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/containers.h"
#include "migration/service.h"
#include "migration/sources.h"

namespace ferry::migration {

/// The services of this host, as sources of migrations. Thread-safe.
class Services {
 public:
  /// The references must outlive this object.
  Services(engine::Client& client, const Sources& sources) : containers_(client), sources_(sources) {}

  /// Code::not_found: there is no such container; unavailable: the Docker Engine cannot be asked.
  /// `interrupt` ends it with Code::cancelled; none: engine::Client::stop().
  Result<ServiceDescription> describe(const std::string& container, ServiceDetail detail,
                                      engine::Interrupt* interrupt = nullptr) const;

 private:
  Result<> describe_volume(ServiceMount& mount) const;
  Result<> find_dependents(const engine::Container& container, const std::vector<engine::ListedContainer>& all,
                           ServiceDescription& service, engine::Interrupt* interrupt) const;
  Result<> count_layer(ServiceDescription& service, engine::Interrupt* interrupt) const;

  const engine::Containers containers_;
  const Sources& sources_;
};

}  // namespace ferry::migration
