#include "espalier/core/compute_device.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier::compute_device_test {
namespace {

TEST(ComputeDevice, IsTheCpuUnlessAnotherWasChosen) {
  EXPECT_EQ(compute_device(), Device::cpu);
  choose_device("cpu");
  EXPECT_EQ(compute_device(), Device::cpu);
  EXPECT_EQ(card_text(), "");
}

TEST(ComputeDevice, RefusesWhatIsNone) {
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"})
    EXPECT_THROW(choose_device(text), UsageError) << text;
  EXPECT_EQ(compute_device(), Device::cpu);
}

TEST(ComputeDevice, TheCpuIsExact) {
  choose_precision("f32");
  EXPECT_STREQ(precision_name(), "f32");
  EXPECT_THROW(choose_precision("tf32"), UsageError);
  EXPECT_THROW(choose_precision("bf16"), UsageError);
}

TEST(ComputeDevice, SaysWhyThePrecisionIsNotToBeHad) {
  const auto why = [](const std::string& text) {
    return message_of([&] { choose_precision(text, "x.json: /precision"); });
  };
  EXPECT_EQ(why("tf32"),
            "x.json: /precision: found 'tf32', but the CPU computes only in f32; --device cuda is a card");
  EXPECT_EQ(why("tf23"),
            "x.json: /precision: found 'tf23', expected f32, tf32 or bf16, did you mean 'tf32'?");
}

#ifndef ESPALIER_CUDA
TEST(ComputeDevice, ABuildWithoutCudaHasNoCards) {
  EXPECT_THROW(choose_device("cuda"), UsageError);
  EXPECT_THROW(choose_device("cuda:1"), UsageError);
  choose_device("auto");
  EXPECT_EQ(compute_device(), Device::cpu);
}
#endif

}  // namespace
}  // namespace espalier::compute_device_test
