#include "migration/hand_off.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace ferry::migration::hand_off {
namespace {

constexpr Source sources[] = {Source::own,   Source::released, Source::held,
                              Source::given, Source::left,     Source::reclaimed};
constexpr Request requests[] = {Request::hold,   Request::commit,  Request::release, Request::acknowledge,
                                Request::cancel, Request::reclaim, Request::beat};
constexpr Destination destinations[] = {Destination::asking,      Destination::receiving, Destination::prepared,
                                        Destination::withdrawing, Destination::dropping,  Destination::owner,
                                        Destination::settled,     Destination::over,      Destination::fenced};
constexpr Event events[] = {Event::held,     Event::given,  Event::gone, Event::reclaimed,
                            Event::complete, Event::cancel, Event::force};

/// Of the volumes that were handed off. Once they have left, what is at the source, if anything, is something else.
bool owns(Source state) { return state == Source::own || state == Source::released || state == Source::reclaimed; }
bool owns(Destination state) { return state == Destination::owner || state == Destination::settled; }

/// ---- all pairs of states and events -----------------------------------------------------------------------------

TEST(HandOffTable, OnlyCommitGivesAndOnlyWhatIsHeld) {
  for (const Source state : sources)
    for (const Request request : requests) {
      const Source next = step(state, request).next;
      const bool had = state == Source::given || state == Source::left;
      if (next == Source::given && !had) {
        EXPECT_EQ(state, Source::held);
        EXPECT_EQ(request, Request::commit);
      }
    }
}

TEST(HandOffTable, WhatIsGivenComesBackByForceOnly) {
  for (const Source state : {Source::given, Source::left})
    for (const Request request : requests)
      if (owns(step(state, request).next)) {
        EXPECT_EQ(request, Request::reclaim) << to_string(state);
      }
}

TEST(HandOffTable, OnlyTheFirstHoldHolds) {
  for (const Source state : sources)
    for (const Request request : requests) {
      if (step(state, request).next != Source::held || state == Source::held) continue;
      EXPECT_EQ(state, Source::own);
      EXPECT_EQ(request, Request::hold);
    }
}

TEST(HandOffTable, AnAnswerSaysHowItStandsAfterwards) {
  for (const Source state : sources)
    for (const Request request : requests) {
      const auto [next, answer] = step(state, request);
      if (answer == Answer::refused) {
        EXPECT_EQ(next, state);
        continue;
      }
      EXPECT_EQ(answer == Answer::held, next == Source::held);
      EXPECT_EQ(answer == Answer::given, next == Source::given || next == Source::left);
      EXPECT_EQ(answer == Answer::gone, next == Source::own || next == Source::released);
      EXPECT_EQ(answer == Answer::reclaimed, next == Source::reclaimed);
    }
}

TEST(HandOffTable, TheDestinationOwnsOnlyWhatItHasCompletelyAndWasGiven) {
  for (const Destination state : destinations)
    for (const Event event : events) {
      if (!owns(step(state, event)) || owns(state)) continue;
      EXPECT_TRUE(event == Event::given || event == Event::force);
      EXPECT_TRUE(state == Destination::prepared || state == Destination::withdrawing) << to_string(state);
    }
}

TEST(HandOffTable, WhatIsOverStaysSo) {
  for (const Destination state : {Destination::over, Destination::fenced}) {
    EXPECT_FALSE(asks(state).any);
    for (const Event event : events) EXPECT_EQ(step(state, event), state);
  }
}

TEST(HandOffTable, AnOwnerStopsOwningOnlyWhenItWasTakenBack) {
  for (const Destination state : {Destination::owner, Destination::settled})
    for (const Event event : events) EXPECT_EQ(owns(step(state, event)), event != Event::reclaimed);
}

/// ---- two hosts and a network that loses, delays and repeats -----------------------------------------------------

/// Both ends, and what is under way. A request stays, so that it can come in late, or again, or never, until the
/// process that would receive it has gone: both ends speak TCP. The destination reads the answer of its last request
/// only, since it closes the connection of one that it does not wait for any longer (peer/connection.cpp).
struct World {
  Source source = Source::own;
  Destination destination = Destination::asking;
  std::set<Request> to_source;
  std::set<Request> awaited;               ///< of those the one that is waited for
  std::optional<Answer> to_destination{};  ///< to the last request
  Request answered = Request::hold;        ///< which that was
  bool forced = false;                     ///< the source's user has taken the volumes back by force
  bool forced_there = false;               ///< the destination's user did not wait for the source
  bool removed = false;                    ///< the source's has removed what was left of them

  auto key() const {
    return std::tie(source, destination, to_source, awaited, to_destination, answered, forced, forced_there, removed);
  }
  bool operator<(const World& other) const { return key() < other.key(); }
};

bool source_owns(const World& world) { return owns(world.source) && !world.removed; }

std::string describe(const World& world) {
  std::string text = "source " + std::string(to_string(world.source)) + ", destination " +
                     std::string(to_string(world.destination)) + ", to the source:";
  for (const Request request : world.to_source) text += " " + std::to_string(static_cast<int>(request));
  text += ", to the destination: ";
  text += world.to_destination ? to_string(*world.to_destination) : "nothing";
  if (world.removed) text += ", removed at the source";
  return text;
}

Event event_of(Answer answer) {
  switch (answer) {
    case Answer::held: return Event::held;
    case Answer::given: return Event::given;
    case Answer::reclaimed: return Event::reclaimed;
    default: return Event::gone;
  }
}

/// A refusal is an error at the destination, after which it asks again.
void take(World& world, Request request, Answer answer) {
  const Asks wanted = asks(world.destination);
  if (!wanted.any || wanted.request != request || answer == Answer::refused) return;
  world.destination = step(world.destination, event_of(answer));
}

/// Nobody holds what is not there.
void serve(World& world, Request request) {
  const bool missing = world.removed && request == Request::hold;
  const auto [next, answer] = missing ? SourceStep{world.source, Answer::refused} : step(world.source, request);
  world.source = next;
  if (world.awaited.erase(request) == 0) return;
  world.to_destination = answer;
  world.answered = request;
}

/// Whom the volumes were taken from by force is told of a higher epoch than it has (HandOffs::fence).
void fence(World& world) {
  if (world.forced) world.destination = step(world.destination, Event::reclaimed);
  const bool given = world.source == Source::given || world.source == Source::left;
  if (world.forced_there && !given && !world.removed) world.source = Source::left;
}

enum class Force { none, at_source, at_destination };

/// Everything that can happen next.
std::vector<World> next(const World& now, Force force) {
  std::vector<World> worlds;
  const auto add = [&](auto change) {
    World world = now;
    change(world);
    worlds.push_back(std::move(world));
  };
  if (const Asks wanted = asks(now.destination); wanted.any)
    add([&](World& world) {
      world.to_source.insert(wanted.request);
      world.awaited = {wanted.request};
      world.to_destination.reset();
    });
  for (const Request request : now.to_source) add([&](World& world) { serve(world, request); });
  if (now.to_destination)
    add([](World& world) {
      take(world, world.answered, *world.to_destination);
      world.to_destination.reset();
    });
  add([](World& world) { world.destination = step(world.destination, Event::complete); });
  add([](World& world) { world.destination = step(world.destination, Event::cancel); });
  // The destination's user does not wait for a source that is away, nor does one that cannot withdraw; and may remove
  // the ticket of what has come.
  if (now.destination == Destination::dropping) add([](World& world) { world.destination = Destination::over; });
  if (now.destination == Destination::owner) add([](World& world) { world.destination = Destination::settled; });
  const auto crash_of_destination = [](World& world) {
    if (world.destination == Destination::withdrawing) world.destination = Destination::prepared;
    world.awaited.clear();
    world.to_destination.reset();
  };
  add(crash_of_destination);
  add([](World& world) {
    if (world.destination == Destination::withdrawing) world.destination = Destination::prepared;
  });
  add([](World& world) {  // the source's process
    if (world.source == Source::released) world.source = Source::own;
    world.to_source.clear();
    world.awaited.clear();
  });
  add([](World& world) { world.source = step(world.source, Request::cancel).next; });  // its user, or the hold ran out
  if (now.source == Source::left)
    add([](World& world) {  // its user removes what is left of the volumes, of which nothing tells any more then
      world.source = Source::own;
      world.removed = true;
    });
  if (force == Force::at_destination)
    add([](World& world) {
      const Destination forced = step(world.destination, Event::force);
      world.forced_there = world.forced_there || forced != world.destination;
      world.destination = forced;
    });
  if (force == Force::at_source)
    add([](World& world) {
      const auto [next, answer] = step(world.source, Request::reclaim);
      world.source = next;
      world.forced = world.forced || answer == Answer::reclaimed;
    });
  add(fence);
  return worlds;
}

std::set<World> reachable(Force force) {
  std::set<World> known;
  std::deque<World> left = {World()};
  while (!left.empty()) {
    const World world = std::move(left.front());
    left.pop_front();
    if (!known.insert(world).second) continue;
    for (auto& one : next(world, force)) left.push_back(std::move(one));
  }
  return known;
}

/// The network works again, nobody does anything else, and a hold of which nothing is heard runs out.
World come_to_rest(World world) {
  for (int i = 0; i < 20; ++i) {
    if (world.destination == Destination::withdrawing) world.destination = Destination::prepared;
    const Asks wanted = asks(world.destination);
    if (wanted.any) {
      const auto [next, answer] = step(world.source, wanted.request);
      world.source = next;
      take(world, wanted.request, answer);
    } else if (world.destination == Destination::receiving) {
      world.destination = step(world.destination, Event::complete);
    } else if (world.source == Source::held) {
      world.source = step(world.source, Request::cancel).next;
    }
    fence(world);
  }
  return world;
}

TEST(HandOffModel, ThereAreNeverTwoOwners) {
  const auto worlds = reachable(Force::none);
  EXPECT_GT(worlds.size(), 300U);
  for (const World& world : worlds) ASSERT_FALSE(source_owns(world) && owns(world.destination)) << describe(world);
}

TEST(HandOffModel, OnceTheyCanTalkThereIsOneOwner) {
  for (const World& world : reachable(Force::none)) {
    const World rest = come_to_rest(world);
    ASSERT_NE(source_owns(rest), owns(rest.destination)) << describe(world) << "; then " << describe(rest);
  }
}

TEST(HandOffModel, ByForceTheSourceOwnsAndOnContactTheOtherSideIsFenced) {
  std::size_t forced = 0;
  for (const World& world : reachable(Force::at_source)) {
    if (!world.forced) {
      ASSERT_FALSE(source_owns(world) && owns(world.destination)) << describe(world);
      continue;
    }
    ++forced;
    ASSERT_TRUE(source_owns(world)) << describe(world);
    ASSERT_FALSE(owns(come_to_rest(world).destination)) << describe(world);
  }
  EXPECT_GT(forced, 100U);
}

TEST(HandOffModel, ByForceTheDestinationOwnsAndOnContactTheSourceIsFenced) {
  std::size_t two = 0;
  for (const World& world : reachable(Force::at_destination)) {
    if (!world.forced_there) {
      ASSERT_FALSE(source_owns(world) && owns(world.destination)) << describe(world);
      continue;
    }
    two += source_owns(world) ? 1 : 0;
    ASSERT_TRUE(owns(world.destination)) << describe(world);
    const World rest = come_to_rest(world);
    ASSERT_TRUE(owns(rest.destination) && !source_owns(rest)) << describe(world) << "; then " << describe(rest);
  }
  EXPECT_GT(two, 100U) << "until they have contact";
}

TEST(HandOffModel, EveryStateCanBeReached) {
  std::set<Source> seen_sources;
  std::set<Destination> seen_destinations;
  for (const World& world : reachable(Force::at_source)) {
    seen_sources.insert(world.source);
    seen_destinations.insert(world.destination);
  }
  EXPECT_EQ(seen_sources.size(), std::size(sources));
  EXPECT_EQ(seen_destinations.size(), std::size(destinations));
}

}  // namespace
}  // namespace ferry::migration::hand_off
