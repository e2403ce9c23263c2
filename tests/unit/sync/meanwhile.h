#pragma once

#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/full_tree.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {

constexpr std::uint64_t mib = 1U << 20;

/// What may become of a file between the manifest and its content.
struct SourceChange {
  const char* name;
  void (*make)(const fs::path& directory, int round);
};

inline void grow(const fs::path& path, const std::string& more) { std::ofstream(path, std::ios::app) << more; }

inline const std::vector<SourceChange> changes = {
    {"Vanishes", [](const fs::path& d, int) { fs::remove(d / "file"); }},
    {"Appears", [](const fs::path& d, int round) { test::write_text(d / ("new" + std::to_string(round)), "new"); }},
    {"GrowsALittle", [](const fs::path& d, int) { grow(d / "file", "more"); }},
    {"GrowsMuch", [](const fs::path& d, int) { grow(d / "file", std::string(5 * mib, 'm')); }},
    {"Shrinks", [](const fs::path& d,
                   int round) { fs::resize_file(d / "file", static_cast<std::uintmax_t>(900'000 - 100'000 * round)); }},
    {"ShrinksToNothing",
     [](const fs::path& d, int round) {
       test::write_text(d / "file", "grown again");
       fs::resize_file(d / "file", static_cast<std::uintmax_t>(round % 2));
     }},
    {"KeepsItsSize", [](const fs::path& d,
                        int round) { test::write_text(d / "file", std::string(2 * mib, static_cast<char>(round))); }},
    {"IsReplaced",
     [](const fs::path& d, int round) {
       test::write_text(d / "replacement", std::string(2 * mib, static_cast<char>(round)));
       fs::rename(d / "replacement", d / "file");
     }},
    {"BecomesADirectory",
     [](const fs::path& d, int round) {
       fs::remove_all(d / "file");
       if (round % 2 == 0) return test::write_text(d / "file", "file again");
       fs::create_directory(d / "file");
       test::write_text(d / "file" / "below", "x");
     }},
    {"BecomesASymlink",
     [](const fs::path& d, int round) {
       fs::remove(d / "file");
       round % 2 == 0 ? test::write_text(d / "file", "file again") : fs::create_symlink("elsewhere", d / "file");
     }},
    {"BecomesAFifo",
     [](const fs::path& d, int round) {
       fs::remove(d / "file");
       if (round % 2 == 0) return test::write_text(d / "file", "file again");
       ASSERT_EQ(::mkfifo((d / "file").c_str(), 0600), 0);
     }},
    {"GetsAnotherName",
     [](const fs::path& d, int round) {
       if (fs::exists(d / "file")) fs::rename(d / "file", d / ("moved" + std::to_string(round)));
     }},
    {"GetsASecondName",
     [](const fs::path& d, int round) { fs::create_hard_link(d / "file", d / ("name" + std::to_string(round))); }},
    {"GetsAnotherMode",
     [](const fs::path& d, int round) { fs::permissions(d / "file", static_cast<fs::perms>(0600 + round)); }},
    {"GetsAnXattr",
     [](const fs::path& d, int round) { test::set_xattr(d / "file", "user.round", std::to_string(round)); }},
    {"LosesItsDirectory", [](const fs::path& d, int) { fs::remove_all(d); }},
    {"MovesWithItsDirectory",
     [](const fs::path& d, int round) {
       if (fs::exists(d)) fs::rename(d, d.string() + std::to_string(round));
     }},
};

struct Moment {
  bool in_content;   ///< after the first piece of it, else before any
  bool every_round;  ///< else only in the first
  Writers writers;
};

inline void PrintTo(const SourceChange& change, std::ostream* out) { *out << change.name; }

inline std::string name_of(const Moment& moment) {
  return std::string(moment.in_content ? "InContent" : "BeforeContent") +
         (moment.every_round ? "AlwaysWith" : "OnceWith") + (moment.writers == Writers::none ? "NoWriters" : "Writers");
}

inline void PrintTo(const Moment& moment, std::ostream* out) { *out << name_of(moment); }

using MeanwhileCase = std::tuple<SourceChange, Moment>;

inline std::string name_of_case(const testing::TestParamInfo<MeanwhileCase>& info) {
  return std::get<0>(info.param).name + name_of(std::get<1>(info.param));
}

inline auto all_meanwhile_cases() {
  return testing::Combine(testing::ValuesIn(changes),
                          testing::Values(Moment{false, false, Writers::none}, Moment{true, false, Writers::none},
                                          Moment{false, true, Writers::none}, Moment{true, true, Writers::none},
                                          Moment{false, true, Writers::allowed}, Moment{true, true, Writers::allowed}));
}

/// Makes the change when hooks tell it to, once in a round.
class Changer {
 public:
  Changer(fs::path root, MeanwhileCase what) : root_(std::move(root)), what_(std::move(what)) {}

  void listen_to(test::LocalSource& source) {
    source.after_manifest = [this] {
      ++round_;
      if (!std::get<Moment>(what_).in_content) change();
    };
    source.on_content = [this](std::string&) -> Result<> {
      const std::lock_guard guard(mutex_);
      if (std::get<Moment>(what_).in_content) change();
      return {};
    };
  }

 private:
  void change() {
    const auto& [change, moment] = what_;
    if (round_ == last_round_ || (round_ > 1 && !moment.every_round)) return;
    last_round_ = round_;
    if (fs::exists(root_ / "d")) change.make(root_ / "d", round_);
  }

  const fs::path root_;
  const MeanwhileCase what_;
  std::mutex mutex_;
  int round_ = 0;
  int last_round_ = 0;
};

/// An attempt may have failed, or be wrong, only in a way that it says.
inline void expect_honest(const Moment& moment, const Result<Receipt>& receipt, const std::string& difference) {
  if (!receipt) {
    EXPECT_EQ(receipt.error().code, Code::busy) << receipt.error().message;
    EXPECT_TRUE(moment.every_round) << receipt.error().message;
    EXPECT_EQ(moment.writers, Writers::none) << receipt.error().message;
  } else if (!difference.empty()) {
    EXPECT_EQ(moment.writers, Writers::allowed);
    EXPECT_TRUE(moment.every_round);
    EXPECT_GT(receipt->changed, 0U);
    EXPECT_EQ(receipt->consistency, "live");
    EXPECT_THAT(receipt->warnings, testing::Not(testing::IsEmpty())) << difference;
  }
}

}  // namespace ferry::sync
