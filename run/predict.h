// Prediction: the likeliest classes of image files, which are decoded, resized and normalised as those were
// that the network was trained on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/run/config.h"

namespace espalier {

struct ClassProbability {
  int64_t number;      ///< of the class: which output
  double probability;  ///< softmax of the logits
};

/// For each row of `logits` [N,classes] the `top` likeliest classes, or all if there are fewer, the likeliest
/// first and equals by number. Error if a logit is not finite.
std::vector<std::vector<ClassProbability>> likeliest(const Tensor& logits, int64_t top);

struct Prediction {
  std::string path;
  std::vector<ClassProbability> classes = {};  ///< the likeliest first
  std::string problem = {};  ///< why there are none: what is wrong with the file, which it names
};

/// The files that `paths` name: a folder's are the images (has_image_extension) that lie below it at any
/// depth, sorted; anything else is a file. Error for a folder that holds no image.
std::vector<std::string> image_files(const std::vector<std::string>& paths);

/// Calls `each` with what `model` makes of each of `files`, in their order; `config` says what the model
/// takes and how its training data were normalised. What had to be done to the images so that it takes them,
/// in a line; empty: nothing. Stops with Interrupted if a signal comes (util/interrupt.h).
std::string predict(Module& model, const Config& config, const std::vector<std::string>& files, int64_t top,
                    const std::function<void(const Prediction&)>& each);

}  // namespace espalier
