#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "support/intercepted_calls.h"
#include "support/temporary_directory.h"
#include "volumes/catalogue.h"

namespace ferry::volumes {

namespace fs = std::filesystem;

inline VolumeRecord record_of(const std::string& name, State state = State::ready) {
  VolumeRecord record;
  record.name = name;
  record.created = "2026-11-22T17:05:09Z";
  record.lineage = random_uuid();
  record.state = state;
  return record;
}

class CatalogueTest : public testing::Test {
 protected:
  void open() {
    catalogue_.reset();  // the lock
    auto opened = Catalogue::open(layout_);
    ASSERT_TRUE(opened) << opened.error().message;
    catalogue_ = std::move(*opened);
  }
  Error open_error() {
    catalogue_.reset();
    auto opened = Catalogue::open(layout_);
    if (opened) return {Code::io, "opened"};
    return opened.error();
  }
  State state(const std::string& name) { return catalogue_->find(name)->state; }
  std::string error(const std::string& name) { return catalogue_->find(name)->migration["error"].get<std::string>(); }
  static std::vector<std::string> names_in(const fs::path& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
    return names;
  }
  static void write(const fs::path& path, const std::string& text) { ASSERT_TRUE(write_file_atomically(path, text)); }

  /// Creates a volume again and again until it succeeds, while calls fail with EIO, later ones each time. `fails` tells
  /// which: it has the number of calls it has counted so far, and that from which on they fail. Each failure has to
  /// leave nothing.
  void create_despite(const std::function<bool(const test::Call& call, int& number, int failing)>& fails) {
    for (int failing = 0;; ++failing) {
      int number = 0;
      Result<> created;
      {
        const test::InterceptedCalls intercepted(
            [&](const test::Call& call) { return fails(call, number, failing) ? EIO : 0; });
        created = catalogue_->create(record_of("one"));
      }
      if (created) break;
      EXPECT_EQ(catalogue_->find("one"), nullptr) << "call " << failing;
      EXPECT_THAT(names_in(layout_.incoming()), testing::IsEmpty()) << "call " << failing;
      EXPECT_THAT(names_in(layout_.volumes()), testing::IsEmpty()) << "call " << failing;
      ASSERT_LT(failing, 100);
    }
  }

  test::TemporaryDirectory directory_;
  Layout layout_{directory_.path()};
  std::unique_ptr<Catalogue> catalogue_;
};

}  // namespace ferry::volumes
