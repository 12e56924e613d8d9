// Pruning as a book, step 3: the signal of the criterion synflow.
#pragma once

#include "espalier/prune/signals.h"

namespace espalier {

/// dR/d|w| of each learned number, up to a factor that all have in common: R is the sum of what the network
/// makes of an image of ones in inference, with the absolute value of every parameter and running statistic
/// in its place (Tanaka, Kunin, Yamins and Ganguli: Pruning neural networks without any data by iteratively
/// conserving synaptic flow, NeurIPS 2020). No data are looked at.
///
/// R of a deep network is more than a float can hold. So each op's output is brought near 1 by a power of
/// two, which the op's outputs, and what is added to them, have from then on: exact, and only R's own factor
/// is lost. Error that names an op which does not scale with its input (Op::homogeneous): there R says
/// nothing of a flow.
Signals synaptic_flow(Module& model, const Shape& input, const Criterion& criterion, const SignalData& data);

}  // namespace espalier
