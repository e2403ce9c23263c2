#include "sync/two_file_systems.h"

namespace ferry::sync {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// What could never be carried out is found before it is decided upon: then the volume stays what it is.
class UndecidedUpdates : public TwoFileSystems {
 protected:
  void begin(const FileSystem& of_a, const FileSystem& of_b) {
    use(of_a, of_b);
    start_again();
    write(a_.data() / "file", "content");
    fs::create_directories(a_.data() / "directory" / "sub");
    write(a_.data() / "directory" / "sub" / "file", "content");
    let_ctimes_settle();
  }

  void copy_it() {
    copy(a_, b_);
    let_ctimes_settle();
  }

  void expect_refusal(Code code, const testing::Matcher<std::string>& message) {
    let_ctimes_settle();
    auto source = open(a_);
    const auto receipt = receive_update(source, b_, Replace::allowed);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, code) << to_string(receipt.error().code) << ", " << receipt.error().message;
    EXPECT_THAT(receipt.error().message, message);
    EXPECT_FALSE(fs::exists(UpdatePaths(b_.update()).plan));
  }
};

TEST_F(UndecidedUpdates, AnXattrThatIsTooLargeWhereAnotherFileHasMoreOfThem) {
  begin(xfs(), large_ext4());
  write(a_.data() / "many", "x");
  test::set_many_xattrs(a_.data() / "many");
  copy_it();
  write(a_.data() / "a-file", "new content");
  for (const auto& path : {"file", "directory/sub"}) {
    for (const char* name : {"user.b", "security.b"}) {
      test::set_xattr(a_.data() / path, name, std::string(4100, 'v'));
      expect_refusal(Code::unsupported, AllOf(HasSubstr(path), HasSubstr(name)));
      ASSERT_EQ(::removexattr((a_.data() / path).c_str(), name), 0);
    }
  }
  let_ctimes_settle();
  update(a_, b_, Replace::allowed);
}

}  // namespace
}  // namespace ferry::sync
