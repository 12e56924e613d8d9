#include "espalier/profile/floor.h"

#include <gtest/gtest.h>

#include <map>

#include "espalier/graph/kernels.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

/// A million bytes a second, and of operations so many that one layer of the perceptron is bound by them.
const CardPeaks slow{"slow", 1e6, 7e5, 1.4e6, 2.8e6};

/// 16 inputs, 8 hidden units after relu, 10 classes, batches of 2.
StepFloor perceptron(const std::string& precision) {
  const ModelOptions options{.type = "mlp", .input = {4, 4, 1}, .classes = 10, .hidden = {8}};
  const MetaDevice shapes_alone;
  return step_floor(*make_model(options, 0), {.model = options, .batch = 2}, precision, slow);
}

TEST(Floor, OfAPerceptronIsWhatAHandComputes) {
  const StepFloor floor = perceptron("f32");
  struct Row {
    const char* kernel;
    int64_t calls, macs, bytes;
    double milliseconds;
  };
  // fc1: x 2x16, w 8x16, y 2x8: 176 numbers, 256 MACs; fc2: x 2x8, w 10x8, y 2x10: 116 numbers, 160 MACs.
  const double fc1 = 1e3 * 2 * 256 / 7e5, fc2 = 0.464;
  const std::vector<Row> rows{{"linear_forward", 2, 416, 704 + 464, fc1 + fc2},
                              {"activation_bias_backward", 2, 0, 3 * 64 + 80, 0.272},
                              {"linear_backward_weights", 2, 416, 704 + 464, fc1 + fc2},
                              {"linear_backward_data", 1, 160, 464, fc2},
                              {"softmax_cross_entropy", 1, 0, 160, 0.160},
                              {"scale_by", 1, 0, 160, 0.160},
                              {"adam_update", 1, 0, 7 * 4 * (128 + 8 + 80 + 10), 6.328}};
  ASSERT_EQ(floor.kernels.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const KernelFloor& found = floor.kernels[i];
    EXPECT_EQ(found.kernel, rows[i].kernel);
    EXPECT_EQ(found.calls, rows[i].calls) << found.kernel;
    EXPECT_EQ(found.macs, rows[i].macs) << found.kernel;
    EXPECT_EQ(found.bytes, rows[i].bytes) << found.kernel;
    EXPECT_NEAR(found.milliseconds, rows[i].milliseconds, 1e-9) << found.kernel;
  }
  const KernelFloor all = floor.total();
  EXPECT_EQ(all.calls, 10);
  EXPECT_EQ(all.bytes, 704 * 2 + 464 * 3 + 272 + 320 + 6328);
  EXPECT_NEAR(floor.images_per_second(), 2e3 / (2 * fc1 + 3 * fc2 + 0.272 + 0.320 + 6.328), 1e-6);
  EXPECT_EQ(floor.left_out, std::vector<std::string>{});
}

TEST(Floor, OfBf16HasActivationsOfTwoBytesAndWeightsOfFour) {
  const StepFloor floor = perceptron("bf16");
  EXPECT_EQ(floor.kernels[0].bytes, 2 * (32 + 16) + 4 * 128 + 2 * (16 + 20) + 4 * 80);
  EXPECT_EQ(floor.kernels.back().bytes, perceptron("f32").kernels.back().bytes) << "the update is in f32";
}

TEST(Floor, Tf32HasTheBytesOfF32AndOperationsOfItsOwn) {
  const StepFloor f32 = perceptron("f32"), tf32 = perceptron("tf32");
  EXPECT_EQ(tf32.total().bytes, f32.total().bytes);
  EXPECT_NEAR(tf32.kernels[0].milliseconds, 0.704 + 0.464, 1e-9) << "bound by memory";
}

TEST(Floor, RefusesAPrecisionThatIsNone) { EXPECT_THROW(perceptron("f16"), Error); }

TEST(Floor, CountsTheMultiplicationsOfTheNetworkInAllDirections) {
  const ModelOptions options{.type = "vgg19", .input = {32, 32, 3}, .classes = 100};
  const MetaDevice shapes_alone;
  const auto model = make_model(options, 0);
  const StepFloor floor = step_floor(*model, {.model = options, .batch = 128}, "tf32");
  const int64_t first = int64_t{32} * 32 * 64 * 27;  // whose gradient of the images nobody wants
  EXPECT_EQ(floor.total().macs, 128 * (3 * int64_t{511'428'608} - first));
  // At its best an H100 would take as long for only these.
  EXPECT_GE(floor.total().milliseconds, 2e3 * static_cast<double>(floor.total().macs) / 495e12);
}

TEST(Floor, AGradientThatIsAddedIsReadAsWell) {
  const ModelOptions options{.type = "resnet20", .input = {8, 8, 3}, .width = 0.25};
  const MetaDevice shapes_alone;
  const auto model = make_model(options, 0);
  const Network network(*model, options.input);
  std::map<std::string, int64_t> bytes;
  for_each_kernel(network.graph, {.batch = 2, .device = Device::meta},
                  [&](const GraphNode& node, const std::vector<KernelCall>& calls) {
                    for (const KernelCall& call : calls)
                      bytes[network.graph.layer_of(node) + " " + call.kernel] = call.bytes;
                  });
  const int64_t map = 4 * 2 * 8 * 8 * 4, weight = 4 * (4 * 3 * 3 * 4);
  EXPECT_EQ(bytes["layer1.0.conv2 conv2d_backward_data"], 2 * map + weight);
  EXPECT_EQ(bytes["layer1.0.conv1 conv2d_backward_data"], 3 * map + weight) << "after the residual's";
  EXPECT_EQ(bytes["bn1 channel_statistics"], map) << "a pass of its own on a card";
}

TEST(Floor, TableHasEachPrecisionAndTheImagesASecond) {
  const std::string table = floor_table({perceptron("f32"), perceptron("bf16")});
  for (const char* text : {"linear_backward_weights", "f32 ms", "bf16 ms", "a step", "images/s in bf16"})
    EXPECT_TRUE(contains(table, text)) << table;
}

}  // namespace
}  // namespace espalier
