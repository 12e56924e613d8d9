#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "graph/op_sample.h"
#include "support/bad_input.h"
#include "support/op_case.h"

namespace espalier {
namespace {

const AddOpSample flatten_sample{"flatten", {.inputs = {{2, 5, 4, 3}}, .moves_nothing = true}};
const AddOpSample reshape_sample{
    "reshape",
    {.inputs = {{2, 6, 4}}, .attributes = {{"sizes", std::vector<int64_t>{3, 2, 4}}}, .moves_nothing = true}};
const AddOpSample select_sample{
    "select", {.inputs = {{2, 3, 4}}, .attributes = {{"axis", int64_t{1}}, {"index", int64_t{2}}}}};
const AddOpSample concat_sample{"concat", {.inputs = {{2, 3, 2}, {2, 3, 4}}}};
const AddOpSample slice_sample{
    "slice", {.inputs = {{2, 3, 7}}, .attributes = {{"first", int64_t{2}}, {"channels", int64_t{3}}}}};

TEST(Flatten, ReferenceAndGradients) {
  check({.inputs = {{3, 2, 5, 7}},
         .op = [](const auto& v) { return ops::flatten(v[0]); },
         .reference = [](const auto& v) { return v[0]; },
         .tolerance = 0});
}

TEST(Flatten, ChannelCOfPixelPIsFeaturePCPlusC) {
  const Variable x(Tensor::from({1, 2, 2, 3}, Floats{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}));
  const Variable y = ops::flatten(x);
  EXPECT_EQ(y.shape(), (Shape{1, 12}));
  EXPECT_EQ(y.value().f32()[2 * 3 + 1], 21.0f);
  EXPECT_EQ(y.value().f32(), x.value().f32()) << "costs nothing";
}

/// Columns first .. first + width of x [rows,from], into columns at .. of y [rows,to].
void copy(Doubles& y, size_t to, size_t at, const Doubles& x, size_t from, size_t first, size_t width) {
  for (size_t row = 0; row < x.size() / from; ++row)
    for (size_t i = 0; i < width; ++i) y[row * to + at + i] = x[row * from + first + i];
}

TEST(Concat, ReferenceAndGradients) {
  check({.inputs = {{3, 2, 5, 7}, {3, 2, 5, 1}, {3, 2, 5, 18}},
         .op =
             [](const auto& v) {
               return ops::concat({v[0], v[1], v[2]});
             },
         .reference =
             [](const auto& v) {
               Doubles y(30 * 26);
               copy(y, 26, 0, v[0], 7, 0, 7);
               copy(y, 26, 7, v[1], 1, 0, 1);
               copy(y, 26, 8, v[2], 18, 0, 18);
               return y;
             },
         .tolerance = 0});
}

TEST(Concat, OfTheSameTwice) {
  check({.inputs = {{4, 3}},
         .op =
             [](const auto& v) {
               return ops::concat({v[0], v[0]});
             },
         .reference =
             [](const auto& v) {
               Doubles y(24);
               copy(y, 6, 0, v[0], 3, 0, 3);
               copy(y, 6, 3, v[0], 3, 0, 3);
               return y;
             },
         .tolerance = 1e-6});
}

TEST(Slice, ReferenceAndGradients) {
  check({.inputs = {{2, 3, 2, 37}},
         .op = [](const auto& v) { return ops::slice(v[0], 5, 19); },
         .reference =
             [](const auto& v) {
               Doubles y(12 * 19);
               copy(y, 19, 0, v[0], 37, 5, 19);
               return y;
             },
         .tolerance = 0});
}

TEST(Slice, AddsToWhatOthersGave) {  // each half twice: the second slice finds a gradient there
  check({.inputs = {{5, 4}},
         .op = [](const auto& v) { return ops::add(ops::slice(v[0], 0, 3), ops::slice(v[0], 1, 3)); },
         .reference =
             [](const auto& v) {
               Doubles left(15), right(15);
               copy(left, 3, 0, v[0], 4, 0, 3);
               copy(right, 3, 0, v[0], 4, 1, 3);
               for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
               return left;
             },
         .tolerance = 1e-6});
}

TEST(Concat, OfTokens) {
  check({.inputs = {{2, 1, 3}, {2, 4, 3}},
         .op =
             [](const auto& v) {
               return ops::concat({v[0], v[1]}, 1);
             },
         .reference =
             [](const auto& v) {
               Doubles y(2 * 5 * 3);
               copy(y, 15, 0, v[0], 3, 0, 3);
               copy(y, 15, 3, v[1], 12, 0, 12);
               return y;
             },
         .tolerance = 0});
}

TEST(Reshape, ReferenceAndGradients) {
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{30, 7}, {-1, 7}, {2, 5, -1}, {210}, {3, -1}})
    check({.inputs = {{3, 2, 15, 7}},
           .op =
               [=](const auto& v) {
                 const Variable y = ops::reshape(v[0], sizes);
                 EXPECT_EQ(y.shape().axes(), static_cast<int>(sizes.size()) + 1);
                 EXPECT_EQ(y.value().f32(), v[0].value().f32()) << "costs nothing";
                 return y;
               },
           .reference = [](const auto& v) { return v[0]; },
           .tolerance = 0});
}

TEST(Reshape, BadArguments) {
  const Variable x(Tensor::zeros({2, 3, 4}));
  const auto message = [&](const std::vector<int64_t>& sizes) {
    return message_of([&] { ops::reshape(x, sizes); });
  };
  const std::string rest = ": expects as many numbers an image";
  EXPECT_EQ(message({13}), "reshape: [2, 3, 4] to [N, 13]" + rest);
  EXPECT_EQ(message({5, -1}), "reshape: [2, 3, 4] to [N, 5, -1]" + rest);
  EXPECT_EQ(message({-1, -1}), "reshape: [2, 3, 4] to [N, -1, -1]" + rest);
  EXPECT_EQ(message({0, -1}), "reshape: [2, 3, 4] to [N, 0, -1]" + rest);
  EXPECT_EQ(message({1, 1, 1, 3, 4}), "reshape: [2, 3, 4] to [N, 1, 1, 1, 3, 4]" + rest);
  EXPECT_EQ(message({int64_t{1} << 40, int64_t{1} << 40}),
            "reshape: [2, 3, 4] to [N, 1099511627776, 1099511627776]" + rest);
}

TEST(Select, ReferenceAndGradients) {
  check({.inputs = {{3, 4, 5}},
         .op =
             [](const auto& v) {
               const Variable y = ops::select(v[0], 1, 2);
               EXPECT_EQ(y.shape(), (Shape{3, 5}));
               return y;
             },
         .reference =
             [](const auto& v) {
               Doubles y(15);
               copy(y, 5, 0, v[0], 20, 10, 5);
               return y;
             },
         .tolerance = 0});
  check({.inputs = {{3, 4, 5}},  // the last axis, and a second that finds a gradient there
         .op = [](const auto& v) { return ops::add(ops::select(v[0], -1, 4), ops::select(v[0], 2, 0)); },
         .reference =
             [](const auto& v) {
               Doubles y(12);
               for (size_t i = 0; i < 12; ++i) y[i] = v[0][i * 5 + 4] + v[0][i * 5];
               return y;
             },
         .tolerance = 1e-6});
}

TEST(Select, BadArguments) {
  const Variable x(Tensor::zeros({2, 3, 4}));
  EXPECT_EQ(message_of([&] { ops::select(x, 0, 1); }),
            "select: axis 0 of [2, 3, 4], expected one after the first");
  EXPECT_EQ(message_of([&] { ops::select(x, 3, 1); }),
            "select: axis 3 of [2, 3, 4], expected one after the first");
  EXPECT_EQ(message_of([&] { ops::select(x, 1, 3); }), "select: place 3 is not on axis 1 of [2, 3, 4]");
  EXPECT_EQ(message_of([&] { ops::select(x, 1, -1); }), "select: place -1 is not on axis 1 of [2, 3, 4]");
}

TEST(Concat, BadArguments) {
  const Variable a(Tensor::zeros({2, 3, 4, 5})), b(Tensor::zeros({2, 3, 3, 5}));
  EXPECT_EQ(
      message_of([&] {
        ops::concat({a, b});
      }),
      "concat: expects shapes that differ only in their last axis, found [2, 3, 4, 5] and [2, 3, 3, 5]");
  EXPECT_EQ(message_of([&] {
              ops::concat({a, a}, 0);
            }),
            "concat: axis 0 of [2, 3, 4, 5], expected one after the first");
  EXPECT_EQ(message_of([&] {
              ops::concat({a, b}, 1);
            }),
            "concat: expects shapes that differ only in axis 1, found [2, 3, 4, 5] and [2, 3, 3, 5]");
  EXPECT_EQ(message_of([] { ops::concat({}); }), "concat: nothing to put side by side");
  EXPECT_EQ(message_of([&] { ops::slice(a, INT64_MAX, 1); }),
            "slice: 1 channels from 9223372036854775807 on are not all in x [2, 3, 4, 5]");
  EXPECT_EQ(message_of([&] { ops::slice(a, 3, 3); }),
            "slice: 3 channels from 3 on are not all in x [2, 3, 4, 5]");
}

TEST(Flatten, BadArguments) {
  EXPECT_EQ(message_of([] {
              ops::flatten(Variable(Tensor::zeros({2, 3})));
            }),
            "flatten: expects x [N,H,W,C], found [2, 3]");
}

}  // namespace
}  // namespace espalier
