// The rows of each family of ops, one of them a file, beside the functions that compute them.
#pragma once

#include <vector>

#include "espalier/graph/op.h"
#include "espalier/graph/ops.h"

namespace espalier::ops {

std::vector<Op> linear_rows();
std::vector<Op> conv_rows();
std::vector<Op> norm_rows();
std::vector<Op> layer_norm_rows();
std::vector<Op> activation_rows();
std::vector<Op> pool_rows();
std::vector<Op> shape_rows();
std::vector<Op> strided_rows();
std::vector<Op> attention_rows();
std::vector<Op> arithmetic_rows();
std::vector<Op> reduce_rows();
std::vector<Op> dropout_rows();
std::vector<Op> loss_rows();

/// A norm's arguments out of its op's.
BatchNorm norm_of(const OpArguments& x);

/// Adds what comes of channels that are tied, so that the same of both go.
void add_constants(Constants& sum, const Constants& more);

}  // namespace espalier::ops
