// Pruning as a book, step 3: signals of what comes into each layer, for the criteria wanda and sparsegpt. A
// convolution is the product of its weights, as a matrix [O, Kh Kw I], and the patches of its images, [N H'
// W', Kh Kw I]; so a layer's inputs are rows of as many numbers as each of its filters has.
#pragma once

#include "espalier/prune/signals.h"

namespace espalier {

/// For each weight [O,..,I] of a convolution or linear layer the root of the sum of squares, over all
/// batches' patches, of the number that it is multiplied by.
Signals input_norms(Module& model, const Shape& input, const Criterion& criterion, const SignalData& data);

/// For each such weight, as a matrix, the upper triangular U [K,K], K = Kh Kw I, with U'U = H^-1 and
/// H = (2 / rows) X'X of its layer's inputs X [rows,K] over all batches, half of which is the second
/// derivative of the layer's mean squared error with respect to one filter; of a convolution in groups one U
/// for each group. Columns are in the order of files (line_of), which a linear layer after a flatten has not
/// in memory. The criterion's `damping`, a share of the mean of H's diagonal, is added to that. As a
/// number, for scores: 1 / U_jj^2, what it costs per square of a weight to lose it, when those before it in
/// the row can no longer make up for it; 0 where no input was ever other than 0.
Signals input_products(Module& model, const Shape& input, const Criterion& criterion, const SignalData& data);

}  // namespace espalier
