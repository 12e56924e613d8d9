#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample permute_sample{
    "permute", {.inputs = {{2, 3, 4}}, .attributes = {{"axes", std::vector<int64_t>{0, 2, 1}}}}};
const AddOpSample pad_sample{
    "pad",
    {.inputs = {{2, 3, 4, 2}}, .attributes = {{"sides", std::vector<int64_t>{1, 0, 2, 1}}, {"value", 0.5}}}};
const AddOpSample expand_sample{"expand", {.inputs = {{2, 3}, {1, 4, 3}}, .without_gradient = 0}};

TEST(Permute, ReferenceAndGradients) {
  check({.inputs = {{2, 3, 4, 5}},
         .op =
             [](const auto& v) {
               return ops::permute(v[0], {0, 2, 1, 3});
             },
         .reference =
             [](const auto& v) {
               Doubles y;
               for (size_t n = 0; n < 2; ++n)
                 for (size_t b = 0; b < 4; ++b)
                   for (size_t a = 0; a < 3; ++a)
                     for (size_t c = 0; c < 5; ++c) y.push_back(v[0][((n * 3 + a) * 4 + b) * 5 + c]);
               return y;
             },
         .tolerance = 0});
  check({.inputs = {{2, 3, 7}},
         .op =
             [](const auto& v) {
               return ops::permute(v[0], {0, 2, 1});
             },
         .reference =
             [](const auto& v) {
               Doubles y;
               for (size_t n = 0; n < 2; ++n)
                 for (size_t b = 0; b < 7; ++b)
                   for (size_t a = 0; a < 3; ++a) y.push_back(v[0][(n * 3 + a) * 7 + b]);
               return y;
             },
         .tolerance = 0});
}

TEST(Permute, AsManyAxesAsThereAre) {
  const Variable x(random_tensor({2, 3, 4, 5, 6}, 1));
  const Variable y = ops::permute(x, {0, 4, 2, 1, 3});
  ASSERT_EQ(y.shape(), (Shape{2, 6, 4, 3, 5}));
  EXPECT_EQ(y.value().f32()[(((1 * 6 + 5) * 4 + 3) * 3 + 2) * 5 + 4],
            x.value().f32()[(((1 * 3 + 2) * 4 + 3) * 5 + 4) * 6 + 5]);
  EXPECT_TRUE(same_bits(ops::permute(y, {0, 3, 2, 4, 1}).value(), x.value()));
  EXPECT_EQ(message_of([&] {
              ops::permute(x, {1, 0, 2, 3, 4});
            }),
            "permute: axes [1, 0, 2, 3, 4] of [2, 3, 4, 5, 6], expected each once, and 0 first");
  EXPECT_EQ(message_of([&] {
              ops::permute(x, {0, 1, 2, 3, 3});
            }),
            "permute: axes [0, 1, 2, 3, 3] of [2, 3, 4, 5, 6], expected each once, and 0 first");
  EXPECT_EQ(message_of([&] {
              ops::permute(x, {0, 1});
            }),
            "permute: axes [0, 1] of [2, 3, 4, 5, 6], expected each once, and 0 first");
}

TEST(Pad, ReferenceAndGradients) {
  for (const float value : {0.0f, -0.5f})
    check({.inputs = {{2, 3, 4, 5}},
           .op =
               [=](const auto& v) {
                 const Variable y = ops::pad(v[0], {1, 0, 2, 3}, value);
                 EXPECT_EQ(y.shape(), (Shape{2, 6, 7, 5}));
                 return y;
               },
           .reference =
               [=](const auto& v) {
                 Doubles y(2 * 6 * 7 * 5, double{value});
                 for (size_t n = 0; n < 2; ++n)
                   for (size_t h = 0; h < 3; ++h)
                     for (size_t w = 0; w < 4; ++w)
                       for (size_t c = 0; c < 5; ++c)
                         y[((n * 6 + h + 1) * 7 + w) * 5 + c] = v[0][((n * 3 + h) * 4 + w) * 5 + c];
                 return y;
               },
           .tolerance = 0});
}

TEST(Pad, BadArguments) {
  const Variable x(Tensor::zeros({1, 2, 2, 1}));
  EXPECT_EQ(message_of([&] {
              ops::pad(x, {1, 0, -1, 0});
            }),
            "pad: [1, 0, -1, 0], expected 0 to 65536 pixels");
  EXPECT_EQ(message_of([&] { ops::pad(x, 65537); }), "pad: 65537, expected 0 to 65536 pixels");
  EXPECT_EQ(message_of([&] { ops::pad(ops::flatten(x), 1); }), "pad: expects x [N,H,W,C], found [1, 4]");
}

TEST(Expand, ReferenceAndGradients) {
  const Variable x(Tensor::zeros({4, 2}));
  check({.inputs = {{1, 3, 5}},
         .op = [=](const auto& v) { return ops::expand(x, v[0]); },
         .reference =
             [](const auto& v) {
               Doubles y;
               for (int n = 0; n < 4; ++n) y.insert(y.end(), v[0].begin(), v[0].end());
               return y;
             },
         .tolerance = 1e-6});
}

TEST(Expand, GivesNothingToWhatItReadsTheSizeOf) {
  const Variable x(Tensor::zeros({4, 2}), true), one(Tensor::zeros({1, 3}), true);
  ops::sum(ops::expand(x, one)).backward();
  EXPECT_FALSE(x.gradient().defined());
  EXPECT_EQ(one.gradient().f32()[2], 4.0f);
  EXPECT_EQ(message_of([&] { ops::expand(x, x); }),
            "expand: expects x [N,...] and [1,...], found [4, 2] and [4, 2]");
}

}  // namespace
}  // namespace espalier
