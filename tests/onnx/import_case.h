// Networks of a few ONNX nodes, imported and run, for tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "espalier/nn/inference.h"
#include "espalier/onnx/import.h"
#include "onnx/onnx_builder.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {

class ImportOnnx : public testing::Test {
 protected:
  TemporaryFolder folder;
  const std::filesystem::path file = folder / "net.onnx";

  OnnxNetwork import(const OnnxBuilder& builder, const Shape& image = {}) {
    builder.write(file);
    return import_onnx(file, image);
  }
  /// What the network makes of these images.
  Floats run(const OnnxBuilder& builder, const Shape& images, const Floats& numbers,
             const Shape& image = {}) {
    const auto model = make_module(import(builder, image), "net");
    const Inference inference(*model);
    const Tensor y = model->forward(Variable(Tensor::from(images, numbers))).value();
    return {y.span<float>().begin(), y.span<float>().end()};
  }
  std::vector<std::string> ops(const OnnxBuilder& builder, const Shape& image = {}) {
    std::vector<std::string> names;
    for (const GraphNode& node : import(builder, image).graph.nodes) names.push_back(node.op);
    return names;
  }
  std::string refused(const OnnxBuilder& builder, const Shape& image = {}) {
    builder.write(file);
    return message_of([&] { import_onnx(file, image); });
  }
};

using Names = std::vector<std::string>;
using Sizes = std::vector<int64_t>;

/// [N,1,1,4] to logits by two features, so that ops of one kind can be looked at: y = f(x) w'.
class OneOp : public ImportOnnx {
 protected:
  OnnxBuilder builder{{0, 1, 1, 4}};

  /// After the last node, "f": sums of pairs.
  void finish(const std::string& f = "f") {
    builder.node("Flatten", {f}, "rows");
    builder.floats("fc.weight", {2, 4}, {1, 1, 0, 0, 0, 0, 1, 1});
    builder.node("Gemm", {"rows", "fc.weight"}, "y", {{"transB", int64_t{1}}});
    builder.output("y");
  }
  Floats of(const Floats& x) { return run(builder, {1, 1, 4, 1}, x); }
};

/// Images [1,2,2,3] (H,W,C) of channels 0, 10 and 20 and of pixels 0, 1, 2, 3.
inline const Floats pixels_and_channels{0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23};

}  // namespace espalier
