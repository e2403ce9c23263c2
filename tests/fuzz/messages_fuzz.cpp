#include <cstdlib>

#include "fuzz.h"
#include "peer/messages.h"
#include "peer/service_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::peer;
  const std::string text(ferry::test::text(data, size));
  (void)decode_hello(text);
  if (const auto description = decode_description(text); description && !decode_description(encode(*description)))
    std::abort();
  if (const auto request = decode_open_request(text); request && request->volume.find('/') != std::string::npos)
    std::abort();
  if (const auto id = decode_opened(text); id && id->find_first_not_of("0123456789abcdef") != std::string::npos)
    std::abort();
  if (const auto request = decode_describe_request(text);
      request && decode_describe_request(encode(*request))->room != request->room)
    std::abort();
  (void)decode_seal_request(text);
  (void)decode_seal(text);
  if (const auto request = decode_hand_off_request(text); request && !decode_hand_off_request(encode(*request)))
    std::abort();
  (void)decode_hand_off_answer(text);
  if (const auto request = decode_fence_request(text); request && !decode_fence_request(encode(*request))) std::abort();
  if (const auto answer = decode_fence_answer(text); answer && answer->to.find('\n') != std::string::npos) std::abort();
  if (const auto service = decode_service(text); service && !decode_service(encode(*service))) std::abort();
  if (const auto request = decode_plan_service_request(text); request && request->options.container.empty())
    std::abort();
  (void)decode_plan(text);
  if (decode_error(500, text, "a:7766").message.find('\n') != std::string::npos) std::abort();
  return 0;
}
