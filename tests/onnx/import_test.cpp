// Files as exporters write them, and files that nobody should: what becomes of each.
#include "espalier/onnx/import.h"

#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, TakesANormalisationOnlyWhereItIsOne) {
  for (const bool by_channel : {true, false}) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.floats("m", by_channel ? Sizes{1, 3, 1, 1} : Sizes{1, 1, 1, 1},
                   by_channel ? Floats{1, 2, 3} : Floats{2});
    builder.floats("s", {1, 1, 1, 1}, {4});
    builder.node("Sub", {"x", "m"}, "a");
    builder.node("Div", {"a", "s"}, "b");
    builder.node("GlobalAveragePool", {"b"}, "p");
    builder.node("Flatten", {"p"}, "y");
    builder.output("y");
    const OnnxNetwork network = import(builder);
    EXPECT_EQ(network.mean, by_channel ? (Doubles{1, 2, 3}) : (Doubles{2, 2, 2}));
    EXPECT_EQ(network.std, (Doubles{4, 4, 4}));
    EXPECT_TRUE(network.normalized_images);
    EXPECT_EQ(network.graph.nodes.size(), 1);
  }
  OnnxBuilder of_rows({0, 3, 2, 2});
  of_rows.floats("m", {1, 1, 2, 1}, {1, 2});
  of_rows.floats("s", {}, {4});
  of_rows.node("Sub", {"x", "m"}, "a");
  of_rows.node("Div", {"a", "s"}, "b");
  of_rows.node("GlobalAveragePool", {"b"}, "p");
  of_rows.node("Flatten", {"p"}, "y");
  of_rows.output("y");
  EXPECT_TRUE(contains(refused(of_rows), "adds a constant of 2 numbers"));
}

TEST_F(ImportOnnx, TakesWhatOldExportersWrite) {
  OnnxBuilder builder({0, 1, 1, 1});
  builder.floats("c.weight", {1, 1, 1, 1}, {2});
  *builder.graph().add_input() = builder.graph().input(0);  // an initializer as an input, too
  builder.graph().mutable_input(1)->set_name("c.weight");
  builder.node("Conv", {"x", "c.weight"}, "a");
  for (const char* name : {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"})
    builder.floats(name, {1}, {1});
  auto& norm =
      builder.node("BatchNormalization", {"a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"},
                   "b", {{"epsilon", 0.0f}, {"training_mode", int64_t{1}}});
  for (const char* name : {"m", "v"}) norm.add_output(name);  // saved in training mode
  builder.node("Dropout", {"b"}, "d", {{"ratio", 0.5f}}).add_output("mask");
  builder.node("Flatten", {"d"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {2, 1, 1, 1}, {1, 2}, {1, 1, 1}), (Floats{2, 4}));
  const OnnxNetwork network = import(builder, {1, 1, 1});
  EXPECT_EQ(network.tensors.back().first, "bn.num_batches_tracked");
  EXPECT_EQ(network.graph.nodes[1].op, "batch_norm");
}

TEST_F(ImportOnnx, TakesRowsWhereTheImagesAreSaid) {
  OnnxBuilder builder({0, 12});
  Floats weight(12, 0.0f);
  weight[4] = 1;  // the first pixel of channel 1, of [C,H,W]
  builder.floats("fc.weight", {12, 1}, weight);
  builder.node("MatMul", {"x", "fc.weight"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder),
                       "takes rows of 12 numbers: --input HEIGHTxWIDTHxCHANNELS says of which images"));
  EXPECT_TRUE(contains(refused(builder, {2, 2, 4}), "takes rows of 12 numbers, found images of [2, 2, 4]"));
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels, {2, 2, 3}), Floats{10});
}

TEST_F(ImportOnnx, TakesImagesWithChannelsLast) {
  OnnxBuilder builder({0, 2, 2, 3});
  builder.node("Transpose", {"x"}, "t", {{"perm", Sizes{0, 3, 1, 2}}});
  builder.node("GlobalAveragePool", {"t"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  EXPECT_EQ(ops(builder), Names{"global_average_pool"});
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), (Floats{1.5, 11.5, 21.5}));
}

TEST_F(ImportOnnx, LeavesSizesToWhoKnowsThem) {
  OnnxBuilder builder({0, 0, 0, 0});
  builder.node("GlobalAveragePool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder),
                       "leaves the sizes of its images open: --input HEIGHTxWIDTHxCHANNELS says them"));
  EXPECT_EQ(import(builder, {8, 6, 3}).graph.image(), (Shape{8, 6, 3}));
}

// --- what is refused

TEST_F(ImportOnnx, NamesAllOpsThatAreNotKnown) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Resize", {"x"}, "a").set_name("/up/Resize");
  builder.node("Reul", {"a"}, "b");
  builder.node("Resize", {"b"}, "c").set_name("/up2/Resize");
  auto& own = builder.node("Fancy", {"c"}, "y");
  own.set_domain("com.x");
  builder.output("y");
  EXPECT_EQ(refused(builder),
            file.string() +
                ": 3 ops are not known: Resize ('/up/Resize', '/up2/Resize'), Reul ('b'), did you "
                "mean 'Relu'?, com.x.Fancy ('y')");
}

TEST_F(ImportOnnx, SaysWhereItsNamesAreWrong) {
  const auto message = [&](auto change) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.node("Relu", {"x"}, "a").set_name("n1");
    builder.node("Relu", {"a"}, "b").set_name("n2");
    builder.node("Flatten", {"b"}, "y").set_name("n3");
    builder.output("y");
    change(builder.graph());
    return refused(builder);
  };
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->set_input(0, "b"); }),
                       "Relu 'n1': reads 'b', which is made after it"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->set_input(0, "q"); }),
                       "Relu 'n1': reads 'q', which nothing makes"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(1)->set_output(0, "a"); }),
                       "Relu 'n2': makes 'a', which is there already"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_output(0)->set_name("z"); }),
                       "its output 'z' does not depend on the images"));
  EXPECT_TRUE(
      contains(message([](auto& g) { *g.add_output() = g.output(0); }), "has 2 outputs, expected one"));
  EXPECT_TRUE(
      contains(message([](auto& g) { *g.add_input() = g.input(0), g.mutable_input(1)->set_name("x2"); }),
               "has several inputs, 'x' and 'x2'"));
  EXPECT_TRUE(contains(message([](auto& g) { g.clear_input(); }), "has no input"));
  EXPECT_TRUE(contains(message([](auto& g) { g.clear_node(); }), "is no ONNX file: it has no graph"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(2)->set_op_type("Relu"); }),
                       "puts out [1, 3, 2, 2] for an image, expected a row of logits"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->clear_output(); }), "puts out nothing"));
}

TEST_F(ImportOnnx, SaysAtWhichNodeShapesDoNotFit) {
  const auto message = [&](const std::string& op, const Sizes& weight, int numbers) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.floats("w", weight, Floats(static_cast<size_t>(numbers), 1.0f));
    builder.node(op, {"x", "w"}, "a").set_name("n");
    builder.node("Flatten", {"a"}, "y");
    builder.output("y");
    return refused(builder);
  };
  const std::string at = file.string() + ": ";
  EXPECT_EQ(message("Conv", {4, 2, 1, 1}, 8),
            at + "Conv 'n': conv2d: input has 3 channels a group, weight expects 2");
  EXPECT_EQ(message("Conv", {4, 3}, 12), at + "Conv 'n': its weight has 2 axes, expected [O,I,Kh,Kw]");
  EXPECT_EQ(message("Conv", {1, 3, 1, 1}, 4), at + "'w' holds 16 bytes, expected 12");
  EXPECT_EQ(message("Gemm", {5, 5}, 25), at + "Gemm 'n': of 2 columns, its weight expects 5");
  EXPECT_TRUE(contains(message("Add", {2, 2, 2}, 8),
                       "Add 'n': adds a constant of 8 numbers, expected one number a channel"));
  EXPECT_TRUE(contains(message("Conv", {4, -3, 1, 1}, 8), "'w' has an axis of -3, which cannot be"));
  EXPECT_TRUE(
      contains(message("Conv", {4611686018427387904, 4, 1, 1}, 8), "'w' has an axis of 4, which cannot be"));
}

}  // namespace
}  // namespace espalier
