// A convolution's plan, for tests and tables.
#pragma once

#include "espalier/core/kernels.h"
#include "espalier/cuda/cudnn_graph.h"

namespace espalier::cuda {

enum class Direction : int64_t { forward, backward_data, backward_weights };

/// What cuDNN's engines for f32 take together with a forward convolution: y = f(x * w + residual + bias).
struct Fused {
  bool bias = false, residual = false, relu = false;
};
struct ConvPlan {
  GraphPlan graph;
  bool fused;  ///< all of what was asked for; else only the convolution
};

/// The plan at the present precision, made the first time and kept by shape. Good until the next call.
const ConvPlan& conv2d_plan(const ConvShape& s, Direction direction, bool accumulate,
                            const Fused& wanted = {});

}  // namespace espalier::cuda
