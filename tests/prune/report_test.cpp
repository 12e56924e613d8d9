#include "espalier/prune/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "prune/small_net.h"

namespace espalier {
namespace {

LayerRow layer(const std::string& name, const Shape& shape, int64_t biases, int64_t zeros, int64_t macs) {
  LayerRow row{.name = name, .type = "linear", .shape = shape};
  row.weights = shape.elements();
  row.weight_zeros = zeros;
  row.parameters = row.weights + biases;
  row.nonzeros = row.parameters - zeros;
  row.macs = macs;
  return row;
}

NetworkTotals totals(const std::vector<LayerRow>& layers) {
  NetworkTotals sum;
  for (const LayerRow& row : layers) {
    sum.parameters += row.parameters;
    sum.nonzeros += row.nonzeros;
    sum.weights += row.weights;
    sum.weight_zeros += row.weight_zeros;
    sum.macs += row.macs;
  }
  sum.bytes = 4 * sum.parameters;
  return sum;
}

const std::vector<LayerRow> mlp = {layer("fc1", {256, 784}, 256, 60211, 200704),
                                   layer("fc2", {128, 256}, 128, 0, 32768),
                                   layer("fc3", {10, 128}, 10, 1, 1280)};

TEST(Report, OfANetwork) {
  EXPECT_EQ(network_table(mlp, totals(mlp)),
            "layer  shape    parameters  non-zeros  sparsity     MACs\n"
            "fc1    256x784     200,960    140,749   30.00 %  200,704\n"
            "fc2    128x256      32,896     32,896    0.00 %   32,768\n"
            "fc3    10x128        1,290      1,289    0.08 %    1,280\n"
            "total              235,146    174,934   25.65 %  234,752\n"
            "940,584 bytes as dense f32\n");
}

TEST(Report, OfSparsity) {
  EXPECT_EQ(sparsity_table(mlp, totals(mlp)),
            "layer  shape    weights   zeros  sparsity\n"
            "fc1    256x784  200,704  60,211   30.00 %  ###.......\n"
            "fc2    128x256   32,768       0    0.00 %  ..........\n"
            "fc3    10x128     1,280       1    0.08 %  ..........\n"
            "total           234,752  60,212   25.65 %  ###.......\n");
}

TEST(Report, OnlyAllIsAHundredPerCentAndOnlyNoneIsZero) {
  const std::vector<LayerRow> layers = {layer("a", {1000, 1000}, 0, 1, 0),
                                        layer("b", {1000, 1000}, 0, 999999, 0),
                                        layer("c", {1000, 1000}, 0, 1000000, 0)};
  const std::string text = sparsity_table(layers, totals(layers));
  EXPECT_NE(text.find("        1    0.01 %"), std::string::npos) << text;
  EXPECT_NE(text.find("  999,999   99.99 %"), std::string::npos) << text;
  EXPECT_NE(text.find("1,000,000  100.00 %"), std::string::npos) << text;
}

TEST(Report, ANormHasNoSparsity) {
  LayerRow norm{.name = "bn1", .type = "batch_norm", .shape = {64}};
  norm.parameters = norm.nonzeros = 128;
  const std::vector<LayerRow> layers = {norm};
  EXPECT_NE(
      network_table(layers, totals(layers)).find("bn1    64            128        128         -     0\n"),
      std::string::npos)
      << network_table(layers, totals(layers));
  EXPECT_EQ(sparsity_table(layers, totals(layers)).find("bn1"), std::string::npos);
}

TEST(Report, OfChannelsThatWentAndAreHeld) {
  PruneResult result{.layers = {{"conv1", 64, 56, 0}, {"conv2", 128, 0, 0}},
                     .held = {{"conv1", 64, 8, 2}},
                     .before = {.macs = 9000, .parameters = 4000, .bytes = 16000},
                     .after = {.macs = 3000, .parameters = 1000, .bytes = 4000},
                     .cuts = {},
                     .proof = CutProof{1.2e-6, 4.5, 3.0, false}};
  const std::string table =
      "channels of  before  after\n"
      "conv1            64      8  ####............................\n"
      "conv2           128    128  ################################\n"
      "total           192    136  #######################.........\n"
      "conv1 is held at 8 of 64 channels; the selection would have left 2\n"
      "MACs 9,000 -> 3,000 (3.00x fewer)\n"
      "parameters 4,000 -> 1,000 (4.00x fewer)\n"
      "bytes 16,000 -> 4,000 (4.00x fewer)\n"
      "verified: cut and masked network differ by 1.2e-06 at most, the largest output is 4.5\n";
  EXPECT_EQ(channel_table(result), table);
  result.latency_ms = 1.49;
  EXPECT_EQ(speed_line(result), "MACs 9,000 -> 3,000 (3.00x fewer), latency 1.49 ms");
  result.latency_before_ms = 1.833;
  const std::string faster =
      "\nMACs 9,000 -> 3,000 (3.00x fewer), latency 1.83 -> 1.49 ms (1.23x)\nparameters";
  EXPECT_NE(channel_table(result).find(faster), std::string::npos);
  result.latency_ms = 0;
  EXPECT_EQ(speed_line(result), "MACs 9,000 -> 3,000 (3.00x fewer)");
  result.proof->by_the_batch = true;
  const std::string by_the_batch = table.substr(0, table.size() - 1) + " (by the batch's own statistics)\n";
  EXPECT_EQ(channel_table(result), by_the_batch);
  result.proof->spread = 0;
  EXPECT_EQ(
      channel_table(result),
      by_the_batch + "but outputs of two images differ by 0 at most: so dead a network proves nothing\n");
}

TEST(Report, OfCutsOneAfterAnother) {
  PruneResult result{.layers = {},
                     .held = {},
                     .before = {.macs = 9000, .parameters = 4000, .bytes = 16000},
                     .after = {.macs = 6000, .parameters = 2000, .bytes = 8000},
                     .cuts = {}};
  EXPECT_EQ(channel_line(result), "1.50x fewer MACs, 2.00x fewer parameters");
  result.held = {{"conv1", 64, 8, 2}, {"conv2", 32, 16, 2}};
  result.latency_ms = 1.25;
  result.proof = CutProof{1.2e-6, 4.5, 3.0, false};
  EXPECT_EQ(channel_line(result),
            "1.50x fewer MACs, 2.00x fewer parameters, 1.25 ms; cut and masked differ by 1.2e-06 of 4.5; "
            "held: conv1 (8), conv2 (16)");
}

/// Of two layers, the second of which a limit held.
PruneResult explained_result(size_t second_class) {
  PruneResult result{
      .layers = {{.name = "conv1", .units = 1200, .pruned = 900, .already = 300},
                 {.name = "fc", .units = 50, .pruned = 10, .already = 0}},
      .scores = {{.min = 0.25, .median = 1, .max = 2.5, .highest_gone = 0.75, .lowest_kept = 0.875},
                 {.min = 0.125,
                  .median = 0.5,
                  .max = 12345.678,
                  .highest_gone = 0.625,
                  .lowest_kept = 0.5,
                  .ranked = second_class}},
      .held = {{.layer = "fc", .units = 50, .kept = 40, .wanted = 20}}};
  return result;
}

TEST(Report, OfScores) {
  EXPECT_EQ(
      scores_table(explained_result(0), "weights"),
      "layer  weights  gone before  go now    share    min  median        max  went up to  stay from  limit\n"
      "conv1    1,200          300     600  75.00 %   0.25       1        2.5        0.75      0.875\n"
      "fc          50                   10  20.00 %  0.125     0.5  1.235e+04       0.625        0.5  held "
      "at 40\n"
      "total    1,250          300     610  72.80 %  0.125          1.235e+04        0.75        0.5\n");
  const std::string apart = scores_table(explained_result(1), "weights");
  EXPECT_TRUE(apart.ends_with("total    1,250          300     610  72.80 %\n")) << apart;
  std::istringstream lines(scores_table(explained_result(0), "weights", 60));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60u) << line;
}

TEST(Report, OfScoresHasTheNumbersOfClasses) {
  PruneResult result = explained_result(1);
  EXPECT_FALSE(has_classes(result)) << "each layer is ranked by itself";
  result.layers.push_back({.name = "last", .units = 5, .pruned = 5, .already = 5});
  result.scores.push_back({.ranked = 1});  // nothing of it is left
  EXPECT_TRUE(has_classes(result));
  const std::string text = scores_table(result, "weights");
  EXPECT_NE(text.find("stay from  class  limit\n"), text.npos) << text;
  EXPECT_NE(text.find("last         5            5       0  100.00 %"), text.npos) << text;
  EXPECT_NE(text.find("  2\ntotal"), text.npos) << text;
}

TEST(Report, OfWidths) {
  SmallNet net;
  EXPECT_EQ(width_table(cut_widths(net)), "");
  net.conv("a", 1, 2);
  net.norm("n", 2);
  net.conv("b", 2, 1);
  net.history = {{"a.weight", 0, 8, {0, 1}},
                 {"a.bias", 0, 8, {0, 1}},
                 {"n.weight", 0, 8, {0, 1}},
                 {"b.weight", 3, 8, {0, 1}}};
  EXPECT_EQ(width_table(cut_widths(net)),
            "channels of  before  after\n"
            "a                 8      2  ########........................\n");
  EXPECT_EQ(width_table(cut_widths(net), 60),
            "channels of  before  after\n"
            "a                 8      2  ####............\n");
}

TEST(Report, OfTheLargestNetworkFitsEightyColumns) {  // ResNet-50's names, shapes and totals
  const std::vector<LayerRow> layers = {layer("conv1", {64, 3, 7, 7}, 0, 9000, 118013952),
                                        layer("layer4.2.conv2", {512, 512, 3, 3}, 0, 2359295, 115605504),
                                        layer("layer4.0.downsample.0", {2048, 1024, 1, 1}, 0, 2, 102760448)};
  NetworkTotals whole = totals(layers);
  whole.parameters = whole.nonzeros = 25557032;
  whole.weights = 25502912;
  whole.weight_zeros = 12751456;
  whole.macs = 4089184256;
  for (const std::string& text : {network_table(layers, whole, 80), sparsity_table(layers, whole, 80)}) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

}  // namespace
}  // namespace espalier
