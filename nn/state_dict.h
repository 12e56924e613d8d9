// State dict: a model's numbers under PyTorch's names and in PyTorch's layout, as files hold them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "espalier/nn/module.h"

namespace espalier {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// The shape a parameter has in files: OIHW for a convolution, as in memory otherwise.
Shape file_shape(const Parameter& parameter);
/// `memory` (of the parameter's shape: its value, its state, a mask; f32 or u8) in the file's layout: a
/// copy on the CPU.
Tensor to_file_layout(const Parameter& parameter, const Tensor& memory);
/// `file` (of file_shape) in memory's layout: a copy on the CPU.
Tensor from_file_layout(const Parameter& parameter, const Tensor& file);

/// Every parameter and buffer, copied to the CPU.
NamedTensors state_dict(Module& model);
/// Overwrites every parameter and buffer of `model`, where it is. Throws Error, naming `source`, if a name is
/// missing (with the nearest that the model lacks), there twice or not the model's, or a shape differs; then
/// nothing has been written.
void load_state_dict(Module& model, const NamedTensors& tensors, const std::string& source);

}  // namespace espalier
