// Pruning as a book, step 7, proof: that a cut is right. The network with the channels zeroed (zero_channels)
// and the one without them, their constants folded, say the same of some images, in inference.
#pragma once

#include "espalier/nn/module.h"

namespace espalier {

/// Where the masked network says the same of every image, as one does whose norms' running statistics are
/// still those of the original network, any other as dead would agree with it: both are compared by the
/// statistics of the images instead.
struct CutProof {
  double largest_difference = 0.0;  ///< of any logit,
  double largest_output = 0.0;      ///< beside the largest logit;
  double spread = 0.0;              ///< how far apart a logit's values for two images are, at most
  bool by_the_batch = false;        ///< by the images' statistics
  /// Whether images are told apart.
  bool says_something() const { return spread > 1e-3 * largest_output; }
  double share() const { return largest_difference == 0 ? 0.0 : largest_difference / largest_output; }
  /// Kernels round differently for other widths, by some 1e-6 a layer.
  bool holds() const { return share() <= 1e-2; }
};

/// Begun with the channels zeroed, ended without them.
class Proof {
 public:
  /// `images` [N,H,W,C].
  Proof(Module& model, const Tensor& images);
  /// Error if the outputs have other shapes.
  CutProof end() const;

 private:
  Module& model_;
  Tensor images_, masked_;
  bool by_the_batch_;
};

}  // namespace espalier
