#include "espalier/core/reason.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "espalier/util/error.h"

namespace espalier::reason_test {
namespace {

TEST(Reason, IsInWordsForPeople) {
  const auto missing = std::make_error_code(std::errc::no_such_file_or_directory);
  EXPECT_EQ(reason_of(UsageError("x.json: is empty")), "x.json: is empty");
  EXPECT_EQ(reason_of(std::bad_alloc()), "out of memory");
  EXPECT_EQ(reason_of(std::filesystem::filesystem_error("cannot stat", "a\x1b[2J", missing)),
            "a\\x1b[2J: No such file or directory");
  EXPECT_EQ(reason_of(std::system_error(missing, "thread")), "No such file or directory");
  EXPECT_EQ(reason_of(std::bad_array_new_length()), "out of memory");
  EXPECT_EQ(reason_of(std::out_of_range("map::at")), "a mistake in this program (map::at)");
}

}  // namespace
}  // namespace espalier::reason_test
