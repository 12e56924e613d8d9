// Pruning as a book, step 3: signals, what criteria see that need more than weights: gathered from some data
// before each selection, or while a stage trains. What each kind is, its row in signals.cpp says.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/prune/criterion.h"

namespace espalier {

/// Square matrices over the weights of one parameter, in double precision, for criteria that correct what
/// stays.
struct SignalMatrices {
  int64_t size = 0;                 ///< rows and columns of each; the last may have fewer
  std::vector<double> values = {};  ///< one matrix after another, size x size each
  std::vector<char> silent = {};    ///< rows, of all matrices, of numbers that say nothing; empty: none do
};

struct Signals {
  /// A number for each of a parameter's, in its shape, on the CPU, where scores are made.
  std::map<const Parameter*, Tensor> of_parameters;
  std::map<const Parameter*, SignalMatrices> matrices = {};

  /// The numbers of `parameter` for a criterion; null if that needs none. Error where the parameter has none,
  /// or of another shape.
  const float* of(const Criterion& criterion, const Parameter& parameter) const;
};

/// Images [N,H,W,C], where the network is, and their labels i32 [N].
struct SignalBatch {
  Tensor images, labels;
};

/// The data that signals are gathered from.
struct SignalData {
  int64_t batches = 0;
  std::function<SignalBatch(int64_t)> batch;  ///< 0 .. batches - 1
  /// The mean loss of a batch, by the network's answers: a scalar with a history.
  std::function<Variable(const Variable& logits, const SignalBatch&)> loss;
};

/// What is to know of a kind of signals.
struct SignalKind {
  std::string looks_at;        ///< for help: "at the squares of batches' dL/dw"; empty: nothing
  bool data = false;           ///< they are gathered from data
  bool single_images = false;  ///< batches are single images
  /// Gathers them for a model whose images are `input` [H,W,C]. The model is in inference mode meanwhile, so
  /// that images do not see each other through batch norms, frozen parameters have gradients, too, for they
  /// are scored as all others are, and gradients are gone afterwards. Null: there are none.
  Signals (*gather)(Module& model, const Shape& input, const Criterion& criterion,
                    const SignalData& data) = nullptr;
  bool asks_ops = false;  ///< not every op can do what gathering asks of it
};
const SignalKind& kind_of(Needs needs);

/// UsageError with the reason where signals for a criterion cannot be gathered from such a network, whatever
/// the data are: tried on one image of zeros.
void check_signals(Module& model, const Shape& input, const Criterion& criterion);

/// The signals of a model for a criterion. Why squares of gradients say what a weight is worth: with p the
/// model's probability of the label and L = -log p, the Fisher information is F = E[dL dL'], dL = dL/dw, over
/// images and labels. Since d2L = dL dL' - d2p / p, and the mean of d2p / p over labels drawn from the model
/// is the second derivative of sum p = 1, which is 0, F is the mean Hessian. To lose w_i where the mean
/// gradient is 0 then costs about w_i^2 F_ii / 2 (LeCun, Denker and Solla 1990), and of F only the diagonal
/// is needed, the mean of (dL/dw_i)^2. Labels here are the data's, not drawn from the model: the empirical
/// Fisher, the same as far as the model has learned how labels are distributed (Kunstner, Hennig and Balles
/// 2019).
Signals gather_signals(Module& model, const Shape& input, const Criterion& criterion, const SignalData& data);

/// Passes over all batches, backward(i) after each forward and loss: `see` is called with each parameter that
/// has a gradient then, which is gone afterwards.
void for_gradients(Module& model, const SignalData& data,
                   const std::function<void(Parameter&, const Tensor& gradient)>& see);

// Needs::movement is of a stage's steps: their sum of w dL/dw is the parameters' state "movement", which
// moves, is cut and saved with them, and which a mask holds at 0.
void start_movement(const std::vector<Parameter*>& parameters);
/// Of one step: gradients are there, and the weights have not moved.
void add_movement(const std::vector<Parameter*>& parameters);
void end_movement(const std::vector<Parameter*>& parameters);

}  // namespace espalier
