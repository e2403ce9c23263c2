#include "sync/meanwhile.h"

#include "sync/update_fixture.h"

namespace ferry::sync {
namespace {

class Meanwhile : public MigrationTest, public testing::WithParamInterface<MeanwhileCase> {
 protected:
  void SetUp() override {
    MigrationTest::SetUp();
    fs::create_directory(source_ / "d");
    write(source_ / "d" / "file", std::string(2 * mib, 'x'));
    write(source_ / "other", std::string(100'000, 'o'));
    let_ctimes_settle();
  }
};

INSTANTIATE_TEST_SUITE_P(, Meanwhile, all_meanwhile_cases(), name_of_case);

TEST_P(Meanwhile, NothingIsSilentlyWrong) {
  const Moment moment = std::get<Moment>(GetParam());
  options_.writers = moment.writers;
  Changer changer(source_, GetParam());
  auto source = open_source();
  changer.listen_to(source);
  const auto receipt = receive(source);
  expect_honest(moment, receipt, receipt ? test::tree_difference(source_, staging_) : "");
  let_ctimes_settle();
  receive_all();
}

/// The same while an update is received: the file is patched, and others come and go.
class MeanwhileUpdating : public UpdateTest, public testing::WithParamInterface<MeanwhileCase> {
 protected:
  MeanwhileUpdating() : UpdateTest("256M") {}

  void SetUp() override {
    UpdateTest::SetUp();
    fs::create_directory(a_.data() / "d");
    write(a_.data() / "d" / "file", std::string(2 * mib, 'x'));
    write(a_.data() / "other", std::string(100'000, 'o'));
    write(a_.data() / "goes", "x");
    let_ctimes_settle();
    copy(a_, b_);
    write_at(a_.data() / "d" / "file", mib, "changed");
    write(a_.data() / "other", std::string(50'000, 'O'));
    write(a_.data() / "comes", std::string(50'000, 'c'));
    fs::remove(a_.data() / "goes");
    let_ctimes_settle();
  }
};

INSTANTIATE_TEST_SUITE_P(, MeanwhileUpdating, all_meanwhile_cases(), name_of_case);

TEST_P(MeanwhileUpdating, NothingIsSilentlyWrong) {
  const Moment moment = std::get<Moment>(GetParam());
  const test::TreeSnapshot before(b_.data());
  {
    options_.writers = moment.writers;
    Changer changer(a_.data(), GetParam());
    auto source = open(a_);
    changer.listen_to(source);
    const auto receipt = receive_update(source, b_);
    EXPECT_EQ(before.difference(test::TreeSnapshot(b_.data())), "");
    if (receipt) {
      const auto applied = apply(b_);
      ASSERT_TRUE(applied) << applied.error().message;
    }
    expect_honest(moment, receipt, receipt ? test::tree_difference(a_.data(), b_.data()) : "");
  }
  options_ = {};
  let_ctimes_settle();
  update(a_, b_);  // nothing was changed here
  let_ctimes_settle();
  update(b_, a_);
}

}  // namespace
}  // namespace ferry::sync
