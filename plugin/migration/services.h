#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/containers.h"
#include "engine/images.h"
#include "migration/service.h"
#include "migration/sources.h"

namespace ferry::migration {

/// The services of this host, as sources of migrations. Thread-safe.
class Services {
 public:
  /// The references must outlive this object.
  Services(engine::Client& client, const Sources& sources) : containers_(client), images_(client), sources_(sources) {}

  /// Code::not_found: there is no such container; unavailable: the Docker Engine cannot be asked.
  /// `interrupt` ends it with Code::cancelled; none: engine::Client::stop().
  Result<ServiceDescription> describe(const std::string& container, ServiceDetail detail,
                                      engine::Interrupt* interrupt = nullptr) const;
  /// Its image. Code::not_found.
  Result<engine::Image> image_of(const std::string& container) const;
  /// See engine::Images::save.
  Result<> save_image(const engine::Image& image, std::size_t known, const engine::Images::Sink& sink,
                      engine::Interrupt* interrupt = nullptr) const {
    return images_.save(image, known, sink, interrupt);
  }

 private:
  Result<> describe_volume(ServiceMount& mount) const;
  Result<> find_dependents(const engine::Container& container, const std::vector<engine::ListedContainer>& all,
                           ServiceDescription& service, engine::Interrupt* interrupt) const;
  Result<> count_layer(ServiceDescription& service, engine::Interrupt* interrupt) const;

  const engine::Containers containers_;
  const engine::Images images_;
  const Sources& sources_;
};

}  // namespace ferry::migration
