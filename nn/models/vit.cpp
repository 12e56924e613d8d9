#include "espalier/nn/models/vit.h"

#include <algorithm>
#include <cmath>

namespace espalier {
namespace {

constexpr float eps = 1e-6f;  // timm's

}  // namespace

Attention::Attention(int64_t dim, int64_t heads)
    : qkv_(&add_child<Linear>("qkv", dim, 3 * dim)),
      proj_(&add_child<Linear>("proj", dim, dim)),
      heads_(heads) {}

Variable Attention::forward(const Variable& x) {
  const int64_t tokens = x.shape()[1], dim = x.shape()[2] / heads_;
  const Variable qkv =
      ops::permute(ops::reshape(qkv_->forward(x), {tokens, 3, heads_, dim}), {0, 2, 3, 1, 4});
  const auto part = [&](int64_t i) { return ops::select(qkv, 1, i); };  // [N,heads,T,d]
  const Variable q = ops::scale(part(0), 1.0f / std::sqrt(static_cast<float>(dim)));
  const Variable shares = ops::softmax(ops::matmul(q, part(1), false, true));
  const Variable y = ops::permute(ops::matmul(shares, part(2)), {0, 2, 1, 3});
  return proj_->forward(ops::reshape(y, {tokens, heads_ * dim}));
}

TransformerBlock::TransformerBlock(int64_t dim, int64_t heads, int64_t hidden)
    : norm1_(&add_child<LayerNorm>("norm1", dim, eps)),
      norm2_(nullptr),
      attention_(&add_child<Attention>("attn", dim, heads)) {
  norm2_ = &add_child<LayerNorm>("norm2", dim, eps);
  fc1_ = &add_child<Linear>("mlp.fc1", dim, hidden, true, Activation::gelu);
  fc2_ = &add_child<Linear>("mlp.fc2", hidden, dim);
}

Variable TransformerBlock::forward(const Variable& x) {
  const Variable z = ops::add(x, attention_->forward(norm1_->forward(x)));
  return ops::add(z, fc2_->forward(fc1_->forward(norm2_->forward(z))));
}

VisionTransformer::VisionTransformer(const ModelOptions& o) {
  const int64_t height = o.input[0], width = o.input[1];
  if (o.patch < 1 || height % o.patch != 0 || width % o.patch != 0)
    fail_usage("model: vit divides images into patches of ", o.patch, "x", o.patch, " pixels, found input ",
               height, "x", width);
  if (o.heads < 1 || o.dim % o.heads != 0)
    fail_usage("model: vit has ", o.dim, " channels a token, found ", o.heads,
               " heads, which do not divide them");
  const int64_t dim = o.heads * scaled_width(o.dim / o.heads, o.width),
                tokens = height / o.patch * (width / o.patch);
  const auto hidden = static_cast<int64_t>(o.mlp_ratio * static_cast<double>(dim));  // as timm rounds it
  class_token_ = &add_child<Embedding>("cls_token", Shape{1, 1, dim});
  positions_ = &add_child<Embedding>("pos_embed", Shape{1, 1 + tokens, dim});
  patches_ =
      &add_child<Conv2d>("patch_embed.proj", o.input[2], dim, o.patch, ops::Conv2dOptions{.stride = o.patch});
  for (int64_t i = 0; i < o.depth; ++i)
    blocks_.push_back(
        &add_child<TransformerBlock>(join("blocks.", i), dim, o.heads, std::max<int64_t>(1, hidden)));
  norm_ = &add_child<LayerNorm>("norm", dim, eps);
  head_ = &add_child<Linear>("head", dim, o.classes);
}

Variable VisionTransformer::forward(const Variable& x) {
  const Variable image = patches_->forward(x);
  const Variable patches = ops::reshape(image, {image.shape()[1] * image.shape()[2], -1});
  const Variable tokens = ops::concat({class_token_->forward(patches), patches}, 1);
  Variable y = ops::add(tokens, positions_->forward(tokens));
  for (TransformerBlock* block : blocks_) y = block->forward(y);
  return head_->forward(ops::select(norm_->forward(y), 1, 0));
}

ModelInfo vit() {
  return {.name = "vit",
          .help =
              "vision transformer for small images, timm's with a class token, GELU always; structural "
              "pruning cuts the hidden layers of its blocks",
          .input = {32, 32, 3},
          .classes = 10,
          .options = {"patch", "dim", "depth", "heads", "mlp_ratio"},
          .make = [](const ModelOptions& o, Activation) { return std::make_unique<VisionTransformer>(o); }};
}

}  // namespace espalier
