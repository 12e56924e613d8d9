#include "espalier/train/reestimate.h"

#include "espalier/autograd/random_pass.h"
#include "espalier/core/random.h"
#include "espalier/nn/norm.h"
#include "espalier/util/interrupt.h"

namespace espalier {

void reestimate_norm(Module& model, Loader& loader, int64_t batches) {
  const InMode training(model, true);
  auto norms = batch_norms(model);
  std::erase_if(norms, [](const BatchNorm2d* norm) { return norm->frozen(); });
  const NoGradient off;
  for (BatchNorm2d* norm : norms) norm->begin_cumulative_statistics();
  int64_t epoch = 0;
  loader.start_epoch(epoch);
  for (Batch batch; batches > 0; stop_if_interrupted()) {
    if (loader.next(batch)) {
      const RandomPass random(random_key(0, static_cast<uint64_t>(batches)));
      model.forward(Variable(batch.images));
      --batches;
    } else {
      loader.start_epoch(++epoch);
    }
  }
  for (BatchNorm2d* norm : norms) norm->end_cumulative_statistics();
}

}  // namespace espalier
