#include "espalier/run/resume.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

RunPosition computed(const std::string& device, const std::string& precision) {
  RunPosition position;
  position.device = device;
  position.precision = precision;
  return position;
}

TEST(CheckDevice, SaysNothingOfTheSameOneNorOfAVersionThatDidNotSay) {
  EXPECT_EQ(check_device(computed("cpu", "f32"), "x"), "");
  EXPECT_EQ(check_device({}, "x"), "");
}

TEST(CheckDevice, ARunThatMovesIsToldInWhatItGoesOn) {
  EXPECT_EQ(check_device(computed("cuda", "tf32"), "x"),
            "x: was written on cuda in tf32, goes on on cpu in f32: results differ from those of one device");
}

TEST(CheckDevice, RefusesAnotherPrecisionOfTheSameDevice) {
  const auto why = message_of([] { check_device(computed("cpu", "bf16"), "x"); });
  EXPECT_EQ(
      why,
      "x: was computed in bf16, found f32 to go on in; --precision bf16 goes on as it began, --output DIR "
      "begins elsewhere");
  EXPECT_THROW(check_device(computed("cpu", "bf16"), "x"), UsageError);
}

}  // namespace
}  // namespace espalier
