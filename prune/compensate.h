// Pruning as a book, step 4, compensate: what stays of a layer makes up for what goes, for criteria whose row
// has `solve`. A step of Optimal Brain Surgeon (Hassibi and Stork, NIPS 1992): where losing w_q costs
// w' H w / 2 at the least, the others move by -w_q / [H^-1]_qq times column q of H^-1.
#pragma once

#include <cstdint>
#include <vector>

#include "espalier/prune/signals.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// Where number `i` of rows, whose last axis is in the order of `line` (line_of), lies in memory.
inline size_t in_memory(size_t i, const std::vector<int64_t>& line) {
  const size_t along = i % line.size();
  return i - along + static_cast<size_t>(line[along]);
}

/// One convolution or linear layer, whose weights are a matrix [outputs, inputs].
struct LayerToSolve {
  std::vector<double>& w;           ///< [outputs, inputs]: becomes what stays, with zeros where it goes
  std::vector<uint8_t>& kept;       ///< [outputs, inputs]: 1 stays; as many go afterwards
  const std::vector<char>& before;  ///< [outputs, inputs]: 1 where it was pruned before, and goes again
  int64_t outputs, inputs;
  const std::vector<int64_t>& line;  ///< that n:m goes along (line_of), of which `inputs` is a multiple
  const Unit& unit;
  const SignalMatrices& matrices;
};

/// For criterion woodfisher: of `kept` as it is, what stays of each block makes up for all that goes of it
/// together, -M_PQ M_QQ^-1 w_Q with M = F^-1, P what stays and Q what goes. (The paper adds up what each
/// weight asks for that goes alone, as if no other went, which at high sparsities takes more than it gives:
/// docs/results.md.)
void solve_blocks(LayerToSolve& layer);

/// For criterion sparsegpt, which chooses for itself which weights go, as many of each 128 columns as its
/// share says, or n of each m: column by column, what is lost of each row is made up for by the columns after
/// it, in the order of files (line_of), whose weights are compared as they are by then (Frantar and Alistarh:
/// SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, ICML 2023). `matrices` are U of
/// input_products.
void solve_columns(LayerToSolve& layer);

/// Of H [size,size] (its upper triangle is read) makes U with U'U = (H + d I)^-1, upper triangular, with
/// zeros below; d is `damping` times the mean of H's diagonal. Where the diagonal is 0, it is taken for 1.
void factor_of_inverse(double* h, int64_t size, double damping);

}  // namespace espalier
