// Evaluation: accuracy and loss on a data set, latency of one image, in inference mode.
#pragma once

#include <cstdint>
#include <vector>

#include "espalier/core/measure.h"
#include "espalier/data/loader.h"
#include "espalier/nn/module.h"
#include "espalier/train/loss.h"

namespace espalier {

struct Evaluation {
  double accuracy = 0;  ///< top-1, per cent
  double top5 = 0;      ///< per cent
  double loss = 0;      ///< the mean of Loss::measure: without smoothing
  int64_t outputs = 0;  ///< classes the model knows
  /// [outputs,outputs]: how many images of class `row` were taken for class `column`
  std::vector<int64_t> confusion = {};
};

/// Whether a top-5 says something of a model of so many classes: it is 100 % for five.
inline bool tells_top5(int64_t classes) { return classes > 5; }

/// What `model` makes of `images` [N,H,W,C]: [N,classes]. `flip`: the mean of that and of what it makes of
/// their mirror images.
Variable logits_of(Module& model, const Tensor& images, bool flip);

struct EvaluateOptions {
  bool flip = false;  ///< as for logits_of
  const Loss& loss = default_loss();
};
/// Over all of `loader`'s data set. Stops with Interrupted if a signal comes.
Evaluation evaluate(Module& model, Loader& loader, const EvaluateOptions& options = {});

/// Milliseconds for one image of `input` [H,W,C], undisturbed (core/measure.h): of some 1000 runs, or of what
/// fits in a third of a second.
double latency_ms(Module& model, const Shape& input);
/// Of two networks that are compared, measured in turns (core/measure.h).
PairedTimes latencies_ms(Module& first, Module& second, const Shape& input);

}  // namespace espalier
