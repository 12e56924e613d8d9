#include "espalier/train/reestimate.h"

#include "espalier/train/interrupt.h"

namespace espalier {

std::vector<BatchNorm2d*> batch_norms(Module& model) {
  std::vector<BatchNorm2d*> norms;
  for (const auto& [name, layer] : model.layers())
    if (auto* norm = dynamic_cast<BatchNorm2d*>(layer)) norms.push_back(norm);
  return norms;
}

void reestimate_norm(Module& model, Loader& loader, int64_t batches) {
  const bool training = model.training();
  const auto norms = batch_norms(model);
  const NoGradient off;
  model.set_training(true);
  for (BatchNorm2d* norm : norms) norm->begin_cumulative_statistics();
  int64_t epoch = 0;
  loader.start_epoch(epoch);
  for (Batch batch; batches > 0; stop_if_interrupted()) {
    if (loader.next(batch)) {
      model.forward(Variable(batch.images));
      --batches;
    } else {
      loader.start_epoch(++epoch);
    }
  }
  for (BatchNorm2d* norm : norms) norm->end_cumulative_statistics();
  model.set_training(training);
}

}  // namespace espalier
