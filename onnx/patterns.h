// Patterns: what exporters write as several nodes for want of an op, such as GELU by erf, becomes one node
// again; and nodes that nothing reads are left out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "espalier/onnx/node.h"
#include "espalier/onnx/onnx_file.h"

namespace espalier {

/// The constant of a name; null for what is none.
using OnnxConstants = std::function<const OnnxConstant*(const std::string&)>;

/// What PyTorch calls a hard sigmoid; ONNX's has a slope of a fifth unless it says another.
inline const std::string hard_sigmoid_of_a_sixth = "HardSigmoid of a sixth";

/// Whether a HardSigmoid is that one.
bool is_of_a_sixth(const OnnxNode& hard_sigmoid);

inline const std::string matmul_with_bias = "MatMul with a bias";

/// The nodes that `output` needs, in order, in which these stand for what they are written as:
///   Silu      x sigmoid(x)
///   Gelu      x (1 + erf(x / sqrt 2)) / 2, however its factors are ordered
///   hard_sigmoid_of_a_sixth, HardSwish   relu6(x + 3) / 6, and that times x
///   matmul_with_bias   MatMul with a matrix, and an Add of a number to each of its columns, its third input
std::vector<OnnxNode> simplified(std::vector<OnnxNode> nodes, const std::string& output,
                                 const OnnxConstants& constants);

}  // namespace espalier
