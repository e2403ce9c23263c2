#include "migration/hand_off.h"

#include <array>
#include <cstddef>

namespace ferry::migration::hand_off {

namespace {

template <class Enum>
constexpr std::size_t at(Enum value) {
  return static_cast<std::size_t>(value);
}

constexpr std::size_t sources = at(Source::reclaimed) + 1;
constexpr std::size_t requests = at(Request::beat) + 1;
constexpr std::size_t destinations = at(Destination::fenced) + 1;
constexpr std::size_t events = at(Event::force) + 1;

// clang-format off
constexpr std::array<std::array<SourceStep, requests>, sources> source_table = [] {
  using enum Source;
  constexpr auto gone = Answer::gone, refused = Answer::refused;
  constexpr SourceStep holds{held, Answer::held}, gives{given, Answer::given}, has_left{left, Answer::given},
      took_back{reclaimed, Answer::reclaimed};
  return std::array<std::array<SourceStep, requests>, sources>{{
      // hold             commit            release           acknowledge       cancel            reclaim              beat
      {{holds,            {own, gone},      {released, gone}, {own, gone},      {released, gone}, {own, refused},      {own, gone}}},       // own
      {{{released, gone}, {released, gone}, {released, gone}, {released, gone}, {released, gone}, {released, refused}, {released, gone}}},  // released
      {{holds,            gives,            {released, gone}, holds,            {released, gone}, {held, refused},     holds}},             // held
      {{gives,            gives,            gives,            has_left,         {given, refused}, took_back,           gives}},             // given
      {{has_left,         has_left,         has_left,         has_left,         has_left,         took_back,           has_left}},          // left
      {{took_back,        took_back,        took_back,        took_back,        took_back,        took_back,           took_back}},         // reclaimed
  }};
}();

constexpr std::array<std::array<Destination, events>, destinations> destination_table = [] {
  using enum Destination;
  return std::array<std::array<Destination, events>, destinations>{{
      // held        given        gone      reclaimed  complete     cancel           force
      {{receiving,   dropping,    over,     over,      asking,      dropping,       asking}},       // asking
      {{receiving,   dropping,    over,     over,      prepared,    dropping,       receiving}},    // receiving
      {{prepared,    owner,       over,     over,      prepared,    withdrawing,    owner}},        // prepared
      {{withdrawing, owner,       over,     over,      withdrawing, withdrawing,    owner}},        // withdrawing
      {{dropping,    dropping,    over,     over,      dropping,    dropping,       dropping}},     // dropping
      {{owner,       settled,     settled,  fenced,    owner,       owner,          owner}},        // owner
      {{settled,     settled,     settled,  fenced,    settled,     settled,        settled}},      // settled
      {{over,        over,        over,     over,      over,        over,           over}},         // over
      {{fenced,      fenced,      fenced,   fenced,    fenced,      fenced,         fenced}},       // fenced
  }};
}();

constexpr std::array<Asks, destinations> asks_table = {{
    {true, Request::hold},          // asking
    {false, Request::hold},         // receiving
    {true, Request::commit},        // prepared
    {true, Request::release},       // withdrawing
    {true, Request::release},       // dropping
    {true, Request::acknowledge},   // owner
    {false, Request::acknowledge},  // settled
    {false, Request::release},      // over
    {false, Request::acknowledge},  // fenced
}};
// clang-format on

constexpr std::array<std::string_view, sources> source_names = {"own",   "released", "held",
                                                                "given", "left",     "reclaimed"};
constexpr std::array<std::string_view, destinations> destination_names = {
    "asking", "receiving", "prepared", "withdrawing", "dropping", "owner", "settled", "over", "fenced"};
constexpr std::array<std::string_view, 5> answer_names = {"held", "given", "gone", "reclaimed", "refused"};

}  // namespace

SourceStep step(Source state, Request request) { return source_table[at(state)][at(request)]; }
Destination step(Destination state, Event event) { return destination_table[at(state)][at(event)]; }
Asks asks(Destination state) { return asks_table[at(state)]; }

std::string_view to_string(Source state) { return source_names[at(state)]; }
std::string_view to_string(Destination state) { return destination_names[at(state)]; }
std::string_view to_string(Answer answer) { return answer_names[at(answer)]; }

}  // namespace ferry::migration::hand_off
