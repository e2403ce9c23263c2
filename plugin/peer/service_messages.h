#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "migration/service.h"

/// The peer protocol's messages about services, as messages.h has the others.
namespace ferry::peer {

struct DescribeServiceRequest {
  std::string container;
  migration::ServiceDetail detail = migration::ServiceDetail::quick;
};
std::string encode(const DescribeServiceRequest& request);
Result<DescribeServiceRequest> decode_describe_service_request(const std::string& text);

struct ImageRequest {
  std::string container;
  std::uint64_t known = 0;  ///< of how many of the image's lowest layers the content is not needed
};
std::string encode(const ImageRequest& request);
Result<ImageRequest> decode_image_request(const std::string& text);

std::string encode(const migration::ServiceDescription& service);
Result<migration::ServiceDescription> decode_service(const std::string& text);

struct PlanServiceRequest {
  migration::ServiceDescription service;
  migration::ServiceOptions options;
};
std::string encode(const PlanServiceRequest& request);
Result<PlanServiceRequest> decode_plan_service_request(const std::string& text);

/// What migration::ServicePlanner makes, to be shown elsewhere. Its sentences are cut and made printable.
std::string encode_plan(const nlohmann::json& plan);
Result<nlohmann::json> decode_plan(const std::string& text);

}  // namespace ferry::peer
