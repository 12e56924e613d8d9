#include "espalier/nn/models/vit.h"

#include <gtest/gtest.h>

#include "espalier/nn/init.h"
#include "espalier/nn/network.h"
#include "nn/models/support.h"
#include "support/numbers.h"
#include "support/rows.h"

namespace espalier {
namespace {

// Of timm 1.0.31's VisionTransformer(img_size=32, patch_size=4, num_classes=10, embed_dim=192, depth=9,
// num_heads=3), multiply-accumulates by torch.utils.flop_counter, both products of attention among them.
TEST(Vit, CountsAsTimms) {
  const auto totals = network({.type = "vit", .input = {32, 32, 3}, .classes = 10}).totals;
  EXPECT_EQ(totals.parameters, 4'028'170);
  EXPECT_EQ(totals.macs, 273'978'624);
}

TEST(Vit, Layers) {
  const Names names = layer_names({.type = "vit", .input = {8, 8, 3}, .width = 0.1});
  EXPECT_EQ(Names(names.begin(), names.begin() + 10),
            (Names{"cls_token", "pos_embed", "patch_embed.proj", "blocks.0.norm1", "blocks.0.attn.qkv",
                   "blocks.0.attn.proj", "blocks.0.norm2", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2",
                   "blocks.1.norm1"}));
  EXPECT_EQ(Names(names.end() - 3, names.end()), (Names{"blocks.8.mlp.fc2", "norm", "head"}));
}

/// Head by head and token by token, from qkv [T,3,heads,d].
Doubles attended(const Doubles& qkv, size_t tokens, size_t heads, size_t d) {
  const auto at = [&](size_t t, size_t part, size_t h, size_t i) {
    return qkv[((t * 3 + part) * heads + h) * d + i];
  };
  Doubles y(tokens * heads * d);
  for (size_t h = 0; h < heads; ++h)
    for (size_t t = 0; t < tokens; ++t) {
      Doubles scores(tokens);
      for (size_t s = 0; s < tokens; ++s)
        for (size_t i = 0; i < d; ++i)
          scores[s] += at(t, 0, h, i) * at(s, 1, h, i) / std::sqrt(static_cast<double>(d));
      const Doubles shares = softmax_formula(scores, tokens);
      for (size_t s = 0; s < tokens; ++s)
        for (size_t i = 0; i < d; ++i) y[(t * heads + h) * d + i] += shares[s] * at(s, 2, h, i);
    }
  return y;
}

TEST(Vit, AttentionIsTheFormula) {
  Attention attention(6, 3);
  initialize(attention, 1);
  const Variable x(random_tensor({1, 5, 6}, 2, -4, 4));
  const Variable qkv =
      ops::linear(x, attention.find("qkv.weight")->variable, attention.find("qkv.bias")->variable);
  const Doubles expected = attended(doubles(qkv.value().span<float>()), 5, 3, 2);
  const Variable y(Tensor::from({5, 6}, Floats(expected.begin(), expected.end())));
  const Variable z =
      ops::linear(y, attention.find("proj.weight")->variable, attention.find("proj.bias")->variable);
  EXPECT_TRUE(near(attention(x).value(), doubles(z.value().span<float>()), 1e-6));
}

TEST(Vit, HasTheSizesAskedFor) {
  const auto model = make_model({.type = "vit",
                                 .input = {16, 24, 1},
                                 .classes = 7,
                                 .width = 0.5,
                                 .patch = 8,
                                 .dim = 20,
                                 .depth = 2,
                                 .heads = 2,
                                 .mlp_ratio = 1.5},
                                0);
  EXPECT_EQ(model->find("pos_embed")->shape(), (Shape{1, 1 + 2 * 3, 10}));
  EXPECT_EQ(model->find("patch_embed.proj.weight")->shape(), (Shape{10, 8, 8, 1}));
  EXPECT_EQ(model->find("blocks.1.mlp.fc1.weight")->shape(), (Shape{15, 10}));
  EXPECT_EQ(model->find("blocks.2.norm1.weight"), nullptr);
  EXPECT_EQ((*model)(Variable(Tensor::zeros({3, 16, 24, 1}))).shape(), (Shape{3, 7}));
}

TEST(Vit, BadOptions) {
  EXPECT_EQ(refusal({.type = "vit", .input = {32, 32, 3}, .dim = 100}),
            "model: vit has 100 channels a token, found 3 heads, which do not divide them");
  EXPECT_EQ(refusal({.type = "vit", .input = {32, 30, 3}}),
            "model: vit divides images into patches of 4x4 pixels, found input 32x30");
}

}  // namespace
}  // namespace espalier
