// A network of which there is nothing but a description (nn/network.h), as files of programs with modules of
// their own have it: the ops of a pass, run in order. For inference and for what looks at a network; what its
// ops do while training, a description does not say.
#pragma once

#include <memory>
#include <string>

#include "espalier/nn/module.h"
#include "espalier/nn/state_dict.h"

namespace espalier {

struct DescribedNetwork {
  std::unique_ptr<Module> model;  ///< with the shapes of the description, and zeros
  Shape input;                    ///< of an image, [H,W,C]
  int64_t outputs = 0;            ///< of a row of what it puts out, [N,outputs]
};

/// The network that `description` (Network::describe as text) says. Of the file's `tensors` those that no op
/// reads become its buffers (a norm's count of batches). An op that is not Espalier's (autograd/ops.h) can be
/// looked at, but not run: an Error says so where it would be. Error that begins with `source` for any text
/// that does not describe a network.
DescribedNetwork described_network(const std::string& description, const NamedTensors& tensors,
                                   const std::string& source);

/// How a file lays out value `number` of a pass, a parameter: PyTorch's way, by what op reads it. Layers
/// (nn/layers.h) declare the same; one that does not would be read wrongly where there is but the
/// description.
FileLayout described_layout(const std::vector<TapeEntry>& entries, const std::vector<TapeValue>& values,
                            int number);

}  // namespace espalier
