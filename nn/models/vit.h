// Vision transformer (Dosovitskiy et al. 2021), by timm's names.
#pragma once

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {

/// Attention of all tokens to all, x [N,T,D]: of each head softmax(q k' / sqrt d) v, with q, k and v parts of
/// qkv(x), d = D / heads; then proj (Vaswani et al. 2017).
class Attention : public Module {
 public:
  Attention(int64_t dim, int64_t heads);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "attention"; }

 private:
  Linear *qkv_, *proj_;
  int64_t heads_;
};

/// y = z + mlp.fc2(gelu(mlp.fc1(norm2(z)))), z = x + attn(norm1(x)).
class TransformerBlock : public Module {
 public:
  TransformerBlock(int64_t dim, int64_t heads, int64_t hidden);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "transformer_block"; }

 private:
  LayerNorm *norm1_, *norm2_;
  Attention* attention_;
  Linear *fc1_, *fc2_;
};

/// Patches of pixels as tokens (patch_embed.proj, a convolution), cls_token first, pos_embed added;
/// blocks; norm; head on the class token. GELU, whatever the options say.
class VisionTransformer : public Module {
 public:
  explicit VisionTransformer(const ModelOptions& options);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "vit"; }

 private:
  Embedding *class_token_, *positions_;
  Conv2d* patches_;
  std::vector<TransformerBlock*> blocks_;
  LayerNorm* norm_;
  Linear* head_;
};

}  // namespace espalier
