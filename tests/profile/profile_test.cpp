#include "espalier/profile/profile.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "espalier/core/isa.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(Profile, HasARowForEachKernelOfAStep) {
  const auto model = make_model({.type = "lenet5"}, 0);
  const Profile of_training = profile(*model, {28, 28, 1}, 4, true, 1.0),
                of_inference = profile(*model, {28, 28, 1}, 4, false, 1.0);
  EXPECT_EQ(of_training.kernels.size(), 3 * 4 - 1 + 4 + 2 * 2u);  // no gradient of images; biases; pooling
  EXPECT_EQ(of_inference.kernels.size(), 4 + 2u);
  int64_t macs = 0;
  for (const KernelTime& kernel : of_inference.kernels) macs += kernel.macs;
  EXPECT_EQ(macs, 4 * 2293000);
  EXPECT_GT(of_training.peak_gflops, 0.0);
  EXPECT_GT(of_training.peak_gigabytes, 0.0);
  const std::string table = profile_table(of_training, 1.0);
  for (const char* text : {"conv2d_backward_weights", "GFLOP/s", "GB/s"})
    EXPECT_TRUE(contains(table, text)) << table;
}

/// "layer kernel" of each row
std::vector<std::string> rows_of(const Profile& profile) {
  std::vector<std::string> rows;
  for (const KernelTime& kernel : profile.kernels) rows.push_back(kernel.layer + " " + kernel.kernel);
  return rows;
}
int64_t bytes_of(const Profile& profile, const std::string& row) {
  for (const KernelTime& kernel : profile.kernels)
    if (kernel.layer + " " + kernel.kernel == row) return kernel.bytes;
  return -1;
}

TEST(Profile, NormsAreFoldedInInferenceAndPassesOfTheirOwnInTraining) {
  ModelOptions options{.type = "resnet20", .input = {8, 8, 3}, .width = 0.25};
  const auto model = make_model(options, 0);
  const Profile of_inference = profile(*model, options.input, 2, false, 1.0);
  for (const std::string& row : rows_of(of_inference))
    EXPECT_TRUE(contains(row, "_forward") && !contains(row, "scale_shift")) << row;
  const Profile of_training = profile(*model, options.input, 2, true, 1.0);
  const std::vector<std::string> rows = rows_of(of_training);
  EXPECT_EQ(std::vector(rows.begin(), rows.begin() + 5),
            (std::vector<std::string>{"conv1 conv2d_forward", "conv1 conv2d_backward_weights",
                                      "bn1 scale_shift_forward", "bn1 batch_norm_backward",
                                      "layer1.0.conv1 conv2d_forward"}));
  const int64_t map = 4 * 2 * 8 * 8 * 4;  // bytes of a batch's map of 4 channels
  EXPECT_EQ(bytes_of(of_training, "bn1 scale_shift_forward"), 2 * map);
  EXPECT_EQ(bytes_of(of_training, "bn1 batch_norm_backward"), 5 * map);
  EXPECT_EQ(bytes_of(of_training, "layer1.0.bn2 scale_shift_forward"), 3 * map);
  EXPECT_EQ(bytes_of(of_training, "layer1.0.bn2 batch_norm_backward"), 7 * map);
  EXPECT_EQ(bytes_of(of_training, " global_average_pool_backward"), 4 * 2 * (2 * 2 * 16 + 16));
}

TEST(Profile, GeluIsAPassOfItsOwnInTraining) {
  const ModelOptions options{.type = "mlp", .input = {4, 4, 1}, .hidden = {8}, .activation = "gelu"};
  const auto model = make_model(options, 0);
  EXPECT_EQ(rows_of(profile(*model, options.input, 2, true, 1.0)),
            (std::vector<std::string>{"fc1 linear_forward", "fc1 activation_forward",
                                      "fc1 activation_bias_backward", "fc1 linear_backward_weights",
                                      "fc2 linear_forward", "fc2 activation_bias_backward",
                                      "fc2 linear_backward_weights", "fc2 linear_backward_data"}));
  EXPECT_EQ(rows_of(profile(*model, options.input, 2, false, 1.0)),
            (std::vector<std::string>{"fc1 linear_forward", "fc2 linear_forward"}));
}

TEST(Profile, CountsTheProductsOfAttention) {
  const ModelOptions options{.type = "vit", .input = {8, 8, 3}, .dim = 12, .depth = 1};
  const auto model = make_model(options, 0);
  int64_t macs = 0;
  for (const KernelTime& kernel : profile(*model, options.input, 2, false, 1.0).kernels) macs += kernel.macs;
  EXPECT_EQ(macs, 2 * Network(*model, options.input).totals.macs);
  const std::vector<std::string> rows = rows_of(profile(*model, options.input, 2, true, 1.0));
  for (const char* row : {" matmul", " matmul_backward_a", " matmul_backward_b", " softmax_forward",
                          " softmax_backward", " permute_backward", "blocks.0.norm1 layer_norm_forward",
                          "blocks.0.norm2 layer_norm_backward", "blocks.0.mlp.fc1 linear_backward_data"})
    EXPECT_GT(std::ranges::count(rows, row), 0) << row;
}

TEST(Profile, SaysWhatServesALinearLayer) {
  const ModelOptions options{.type = "mlp", .input = {4, 4, 1}, .hidden = {8}};
  const auto model = make_model(options, 0);
  const auto forward = [&](int64_t batch, bool training) {
    return profile(*model, options.input, batch, training, 1.0).kernels[0].algorithm;
  };
  EXPECT_EQ(forward(1, false), "rows");
  EXPECT_EQ(forward(64, false), isa() == Isa::baseline ? forward(64, true) : "pointwise");
  EXPECT_TRUE(forward(64, true).starts_with("product (")) << forward(64, true);
}

}  // namespace
}  // namespace espalier
