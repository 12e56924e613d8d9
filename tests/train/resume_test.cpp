#include "espalier/train/resume.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(CheckDevice, SaysNothingOfTheSameOneNorOfAVersionThatDidNotSay) {
  EXPECT_EQ(check_device({.device = "cpu", .precision = "f32"}, "x"), "");
  EXPECT_EQ(check_device({}, "x"), "");
}

TEST(CheckDevice, ARunThatMovesIsToldInWhatItGoesOn) {
  EXPECT_EQ(check_device({.device = "cuda", .precision = "tf32"}, "x"),
            "x: was written on cuda in tf32, goes on on cpu in f32: results differ from those of one device");
}

TEST(CheckDevice, RefusesAnotherPrecisionOfTheSameDevice) {
  const auto why = message_of([] { check_device({.device = "cpu", .precision = "bf16"}, "x"); });
  EXPECT_EQ(
      why,
      "x: was computed in bf16, found f32 to go on in; --precision bf16 goes on as it began, --output DIR "
      "begins elsewhere");
  EXPECT_THROW(check_device({.device = "cpu", .precision = "bf16"}, "x"), UsageError);
}

}  // namespace
}  // namespace espalier
