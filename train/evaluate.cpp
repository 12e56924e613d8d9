#include "espalier/train/evaluate.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/autograd/ops.h"
#include "espalier/train/interrupt.h"

namespace espalier {
namespace {

/// Inference mode, no history and no change of weights, for a scope.
class Inference {
 public:
  explicit Inference(Module& model) : model_(model), training_(model.training()) {
    model_.set_training(false);
  }
  ~Inference() { model_.set_training(training_); }

 private:
  Module& model_;
  bool training_;
  NoGradient off_;
  FixedWeights fixed_;
};

}  // namespace

Evaluation evaluate(Module& model, Loader& loader) {
  const Inference inference(model);
  int64_t images = 0, first = 0, in_five = 0;
  double loss = 0;
  loader.start_epoch(0);
  for (Batch batch; loader.next(batch);) {
    stop_if_interrupted();
    const auto result = ops::softmax_cross_entropy(model.forward(Variable(batch.images)), batch.labels);
    for (int32_t rank : result.rank.span<int32_t>()) {
      first += rank == 0;
      in_five += rank < 5;
    }
    loss += result.loss.value().item() * static_cast<double>(batch.size);
    images += batch.size;
  }
  const double n = static_cast<double>(images);
  return {100.0 * static_cast<double>(first) / n, 100.0 * static_cast<double>(in_five) / n, loss / n};
}

double latency_ms(Module& model, const Shape& input) {
  const Inference inference(model);
  const Variable x(Tensor::full({1, input[0], input[1], input[2]}, 0.5f));
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
  };
  for (int i = 0; i < 3; ++i) model.forward(x);
  std::vector<double> times;
  for (const auto start = Clock::now();
       times.size() < 5 || (times.size() < 100 && milliseconds(Clock::now() - start) < 333);) {
    const auto before = Clock::now();
    model.forward(x);
    times.push_back(milliseconds(Clock::now() - before));
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace espalier
