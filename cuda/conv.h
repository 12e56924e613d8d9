// A convolution's plan, for tests and tables.
#pragma once

#include "espalier/core/kernels.h"
#include "espalier/cuda/cudnn_graph.h"

namespace espalier::cuda {

enum class Direction : int64_t { forward, backward_data, backward_weights };

/// The plan at the present precision, made the first time and kept by shape. Good until the next call.
const GraphPlan& conv2d_plan(const ConvShape& s, Direction direction, bool accumulate);

}  // namespace espalier::cuda
