// Penalty l1: dL/dw += weight sign(w), for all weights of convolutions and linear layers. It knows no
// channels.
#include "espalier/penalty/penalty.h"
#include "espalier/penalty/signs.h"

namespace espalier {
namespace {

class L1Penalty : public Penalty {
 public:
  L1Penalty(Module& model, const Shape&, const PenaltyOptions& options)
      : model_(model), weight_(options.weight) {}

  void add_gradients(int64_t) override {
    for (Parameter* parameter : model_.parameters())
      if (parameter->role == Role::weight && parameter->gradient().defined())
        add_signs(*parameter, Tensor(), weight_);
  }

 private:
  Module& model_;
  double weight_;
};

}  // namespace

PenaltyInfo l1() {
  return {.name = "l1",
          .help = "the sum of the weights' magnitudes, of all convolutions and linear layers",
          .paper =
              "Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, "
              "NIPS 2015",
          .options = {"weight"},
          .make = new_penalty<L1Penalty>};
}

}  // namespace espalier
