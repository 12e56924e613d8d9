// The real cuDNN has a plan for every convolution of the networks that are trained here, in every direction
// and precision, on a described H100: no card is needed.
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/card.h"
#include "cuda/described_card.h"
#include "espalier/cuda/conv.h"
#include "espalier/util/error.h"
#include "support/bad_input.h"

namespace espalier::cuda::cudnn_plans_test {
namespace {

class CudnnPlans : public testing::Test {
 protected:
  void SetUp() override { plan_for_described_card(h100); }
  void TearDown() override { plan_for_described_card(""); }
};

bool has(const GraphPlan& plan, cudnnBackendNumericalNote_t note) {
  return std::count(plan.notes().begin(), plan.notes().end(), note) > 0;
}

void check_plans(const std::vector<ConvShape>& shapes) {
  for (ConvShape s : shapes)
    for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16}) {
      const WithPrecision with(precision);
      s.dtype = precision == Precision::bf16 ? DType::bf16 : DType::f32;
      for (const Direction direction :
           {Direction::forward, Direction::backward_data, Direction::backward_weights})
        for (const bool accumulate : {false, true}) {
          SCOPED_TRACE(join("direction ", static_cast<int>(direction), ", ", precision_name(precision),
                            ", n ", s.n, ", ", s.h, "x", s.w, "x", s.c, " to ", s.o, ", ", s.kh, "x", s.kw,
                            ", stride ", s.stride, ", groups ", s.groups));
          const GraphPlan* plan = nullptr;
          ASSERT_NO_THROW(plan = &conv2d_plan(s, direction, accumulate).graph);
          EXPECT_FALSE(has(*plan, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
          EXPECT_FALSE(has(*plan, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
          EXPECT_FALSE(has(*plan, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION));
          if (precision == Precision::f32) {
            EXPECT_FALSE(has(*plan, CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
          }
          // A plan is for a batch: what it asks for must leave room for the batch itself.
          EXPECT_LT(plan->scratch_bytes(), size_t{2} << 30);
        }
    }
}

ConvShape square(int64_t n, int64_t size, int64_t c, int64_t o, int64_t k, int64_t stride = 1) {
  return {n, size, size, c, o, k, k, stride, k / 2};
}

TEST_F(CudnnPlans, Vgg19) {
  check_plans({square(128, 32, 3, 64, 3), square(128, 32, 64, 64, 3), square(128, 16, 64, 128, 3),
               square(128, 16, 128, 128, 3), square(128, 8, 128, 256, 3), square(128, 8, 256, 256, 3),
               square(128, 4, 256, 512, 3), square(128, 4, 512, 512, 3), square(128, 2, 512, 512, 3)});
}

TEST_F(CudnnPlans, Resnet56) {
  check_plans({square(128, 32, 3, 16, 3), square(128, 32, 16, 16, 3), square(128, 32, 16, 32, 3, 2),
               square(128, 16, 32, 32, 3), square(128, 16, 32, 64, 3, 2), square(128, 8, 64, 64, 3),
               square(128, 32, 16, 32, 1, 2), square(128, 16, 32, 64, 1, 2)});
}

TEST_F(CudnnPlans, Resnet50) {
  std::vector<ConvShape> shapes{square(16, 224, 3, 64, 7, 2)};
  int64_t in = 64, size = 56;
  for (const int64_t width : {64, 128, 256, 512}) {
    const int64_t stride = width == 64 ? 1 : 2, out = 4 * width, after = size / stride;
    shapes.insert(shapes.end(), {square(16, size, in, width, 1), square(16, size, width, width, 3, stride),
                                 square(16, after, width, out, 1), square(16, size, in, out, 1, stride),
                                 square(16, after, out, width, 1), square(16, after, width, width, 3)});
    in = out;
    size = after;
  }
  check_plans(shapes);
}

TEST_F(CudnnPlans, WidthsThatACutLeaves) {
  check_plans({square(128, 32, 3, 37, 3), square(128, 32, 37, 101, 3), square(128, 16, 101, 37, 3, 2),
               square(16, 14, 37, 61, 1), square(16, 28, 101, 37, 1, 2), square(128, 8, 1, 1, 3),
               square(100, 28, 1, 20, 5), square(1, 5, 7, 3, 3), square(3, 7, 13, 11, 3)});
}

TEST_F(CudnnPlans, Groups) {
  check_plans({{8, 16, 16, 64, 64, 3, 3, 1, 1, 64},
               {8, 16, 16, 64, 128, 3, 3, 2, 1, 32},
               {2, 7, 7, 15, 30, 3, 3, 1, 1, 3},
               {2, 6, 6, 8, 12, 3, 3, 1, 1, 4}});
}

TEST_F(CudnnPlans, DilationAndWhatIsNotAlikeOnAxesAndSides) {
  check_plans({{8, 16, 16, 64, 64, 3, 3, 1, 2, 1, DType::f32, 2},
               {8, 17, 17, 64, 64, 3, 3, 2, 2, 1, DType::f32, 2},
               {8, 16, 16, 64, 64, 3, 3, 1, {2, 3}, 1, DType::f32, {2, 3}},
               {8, 16, 16, 64, 64, 3, 3, {2, 1}, 1},
               {8, 16, 16, 64, 64, 1, 3, 1, {0, 1}},
               {8, 16, 16, 64, 64, 3, 3, 2, {0, 0, 1, 1}},
               {8, 15, 16, 37, 41, 3, 3, 2, {0, 1, 1, 2}},
               {8, 16, 16, 64, 64, 3, 3, 1, 2, 64, DType::f32, 2},
               {8, 16, 16, 64, 64, 3, 3, 2, {0, 0, 1, 1}, 64},
               {2, 13, 12, 6, 9, 3, 5, {2, 3}, {3, 1, 0, 4}, 3, DType::f32, {1, 2}}});
}

TEST_F(CudnnPlans, FuseBiasResidualAndRelu) {
  for (ConvShape s : {square(128, 32, 3, 64, 3), square(128, 8, 256, 256, 3), square(16, 56, 256, 64, 1),
                      square(16, 28, 37, 101, 3), square(16, 224, 3, 64, 7, 2), square(100, 28, 1, 20, 5)})
    for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16})
      for (const bool residual : {false, true})
        for (const bool relu : {false, true}) {
          const WithPrecision with(precision);
          s.dtype = precision == Precision::bf16 ? DType::bf16 : DType::f32;
          const ConvPlan& plan = conv2d_plan(s, Direction::forward, false, {true, residual, relu});
          EXPECT_TRUE(plan.fused) << s.c << " to " << s.o << ", " << precision_name(precision)
                                  << ", residual " << residual << ", relu " << relu;
          EXPECT_FALSE(has(plan.graph, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
          EXPECT_FALSE(precision == Precision::f32 && has(plan.graph, CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
        }
}

TEST_F(CudnnPlans, AreTheSameEachTimeTheyAreMade) {
  const ConvShape s = square(128, 16, 64, 128, 3);
  const WithPrecision with(Precision::tf32);
  const GraphPlan& first = conv2d_plan(s, Direction::backward_weights, false).graph;
  const int64_t engine = first.engine();
  const size_t scratch = first.scratch_bytes();
  EXPECT_EQ(&conv2d_plan(s, Direction::backward_weights, false).graph, &first) << "kept";
  plan_for_described_card(h100);  // plans of before are not asked for again
  const GraphPlan& second = conv2d_plan(s, Direction::backward_weights, false).graph;
  EXPECT_NE(&second, &first);
  EXPECT_EQ(second.engine(), engine);
  EXPECT_EQ(second.scratch_bytes(), scratch);
}

TEST_F(CudnnPlans, AShapeThatIsNoneIsRefusedInOneLine) {
  const ConvShape s{2, 5, 9, 8, 7, 3, 3, 2, -3};
  EXPECT_TRUE(contains(message_of([&] { conv2d_plan(s, Direction::forward, false); }), "cuda: "));
}

}  // namespace
}  // namespace espalier::cuda::cudnn_plans_test
