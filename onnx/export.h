// ONNX out: a network as the ops that other runtimes know, with its images as those expect them, [N,C,H,W].
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/util/atomic_file.h"

namespace espalier {

inline constexpr int64_t min_onnx_opset = 13, max_onnx_opset = 21, default_onnx_opset = 17;

struct OnnxExportOptions {
  int64_t opset = default_onnx_opset;  ///< layer_norm needs 17
  std::optional<int64_t> batch = {};   ///< images in a batch; none: any number, "N"
  bool fold_batchnorm = false;         ///< a norm right after a convolution goes into its weight and bias
  bool softmax = false;                ///< probabilities in place of logits
  bool normalize = false;              ///< the data's normalisation as the first ops: images of 0 to 1
};

/// What the network was trained on.
struct OnnxData {
  std::vector<std::string> classes =
      {};  ///< their names, in the order of the outputs; none: they are numbers
  std::vector<double> mean = {}, std = {};
};

/// Writes the network in inference: images [N,C,H,W] of `image` [H,W,C] to logits [N,K], in ops of `opset`.
/// Parameters keep their names, nodes have their layers'. import_onnx (import.h) makes the same network of
/// it, to the bit, unless norms were folded. Error for an op that ONNX cannot say, and for options that do
/// not fit.
void export_onnx(const OutputPath& to, Module& model, const Shape& image, const OnnxData& data = {},
                 const OnnxExportOptions& options = {});

/// The ops that have a way to be written.
std::vector<std::string> exported_ops();

}  // namespace espalier
