#include "espalier/core/cpu/conv/conv.h"

#include "core/cpu/conv/conv_case.h"
#include "espalier/core/isa.h"

namespace espalier::conv_test {
namespace {

constexpr ConvKernels conv2d{cpu::conv2d_forward_scratch,          cpu::conv2d_forward,
                             cpu::conv2d_backward_data_scratch,    cpu::conv2d_backward_data,
                             cpu::conv2d_backward_weights_scratch, cpu::conv2d_backward_weights};

// {n, h, w, c, o, kh, kw, stride, pad, groups}
const ConvShape shapes[] = {
    {2, 12, 12, 1, 20, 5, 5},                           // LeNet-5's first: one input channel
    {3, 8, 8, 20, 50, 5, 5},                            // and its second
    {2, 7, 9, 37, 101, 3, 3, 1, 1},                     // channels that fill no vector, width unlike height
    {1, 9, 7, 16, 32, 3, 3, 2, 1},                      // stride
    {2, 8, 8, 3, 7, 3, 3, 2, 0},                        // stride that leaves a row out
    {2, 6, 6, 8, 12, 3, 3, 1, 1, 4},                    // groups
    {2, 7, 7, 15, 30, 3, 3, 1, 1, 3},                   // groups of odd width
    {1, 6, 6, 17, 17, 3, 3, 1, 1, 17},                  // depthwise
    {2, 6, 6, 9, 18, 3, 3, 2, 1, 9},                    // depthwise, two outputs a channel
    {2, 5, 5, 33, 17, 1, 1},                            // pointwise
    {2, 5, 5, 33, 17, 1, 1, 2},                         // pointwise with stride
    {2, 5, 6, 3, 5, 1, 3, 1, 0},                        // a window that is not square
    {3, 4, 4, 5, 1, 4, 4},                              // one output number an image
    {17, 3, 3, 7, 15, 3, 3, 1, 2},                      // padding that reaches past the image
    {3, 14, 15, 8, 21, 3, 3, 1, 1},                     // what Winograd takes
    {2, 7, 9, 50, 61, 1, 1, 2},                         // what our own product takes
    {2, 9, 8, 65, 70, 3, 3, 2, 1},                      // its weights' gradient tap by tap
    {1, 3, 4, 150, 203, 3, 3, 1, 1},                    // patches, once prepared: few pixels, many weights
    {3, 5, 5, 171, 175, 3, 3, 2, 1},                    // two tiles of them, with stride
    {2, 9, 11, 16, 24, 3, 3, {2, 1}, {0, 1}},           // axes of their own
    {2, 8, 9, 10, 9, 3, 3, 2, {0, 0, 1, 1}},            // TensorFlow's padding
    {2, 12, 11, 16, 20, 3, 3, 1, 2, 1, DType::f32, 2},  // dilation
    {1, 14, 13, 17, 17, 3, 3, 1, {2, 3}, 17, DType::f32, {2, 3}},          // of depthwise ones
    {2, 13, 12, 6, 9, 3, 5, {2, 3}, {3, 1, 0, 4}, 3, DType::f32, {1, 2}},  // all of it, in groups
    {2, 7, 9, 70, 66, 1, 1, {1, 2}},                                       // what our own product takes
    {2, 9, 8, 65, 70, 3, 3, {2, 1}, {1, 0, 2, 1}, 1, DType::f32, {1, 2}},  // gradient tap by tap
    {1, 5, 6, 150, 203, 3, 3, 1, {0, 1, 2, 1}, 1, DType::f32, {2, 1}},     // patches
    {3, 7, 8, 20, 20, 5, 5, 1, 2, 20},  // depthwise windows of 5x5, whose backward weights are our own
    {2, 16, 17, 12, 12, 3, 3, 1, {1, 1, 0, 1}},  // what is not Winograd's
};

class Conv : public testing::TestWithParam<ConvShape> {
 protected:
  const ConvCase c{GetParam()};
  const double tolerance = cpu::conv2d_algorithm(c.s) == std::string("winograd") ? 3e-5 : 1e-5;
};

TEST_P(Conv, Forward) { check_forward(conv2d, c, tolerance); }
TEST_P(Conv, BackwardData) { check_backward_data(conv2d, c, tolerance); }
TEST_P(Conv, BackwardWeights) { check_backward_weights(conv2d, c, tolerance); }
TEST_P(Conv, Prepared) {
  // Patches sum in another order than what serves the same shape without.
  const bool patches = cpu::conv2d_served_by(c.s, cpu::Direction::forward, true, {}) == "patches";
  if (!check_prepared(conv2d, cpu::conv2d_prepared_bytes, cpu::conv2d_prepare, c.s, patches ? 1e-5 : 0))
    GTEST_SKIP() << "nothing is prepared for this shape";
}

INSTANTIATE_TEST_SUITE_P(Shapes, Conv, testing::ValuesIn(shapes),
                         [](const auto& info) { return name(info.param); });

// A first step on images that are not centred: means hundreds of deviations away from a guess of 0.
TEST(ConvStatistics, OfOutputsFarFromTheCenter) {
  const ConvShape far_shapes[] = {
      {4, 14, 15, 8, 21, 3, 3},  // Winograd
      {2, 30, 31, 16, 24, 3, 3, 1, 1},
      {2, 9, 9, 64, 70, 1, 1},   // our product
      {2, 9, 9, 6, 7, 3, 3, 2},  // oneDNN
  };
  for (const ConvShape& s : far_shapes)
    for (const bool center : {false, true}) {
      const WithThreads three(3);
      SCOPED_TRACE(name(s));
      const Floats x = random_floats(s.n * s.h * s.w * s.c, 1, 399.0, 401.0),
                   w = random_floats(s.o * s.kh * s.kw * s.c, 2), zeros(static_cast<size_t>(s.o));
      Floats mean(zeros.size()), variance(zeros.size());
      const ConvEpilogue e{.statistics = {mean.data(), variance.data(), center ? zeros.data() : nullptr}};
      Guarded y(static_cast<size_t>(s.n * s.out_h() * s.out_w() * s.o) * sizeof(float)),
          scratch(cpu::conv2d_forward_scratch(s, e));
      cpu::conv2d_forward(y.floats(), x.data(), w.data(), nullptr, e, s, scratch.raw());
      const size_t step = zeros.size();
      const double count = static_cast<double>(y.span().size() / step);
      for (size_t o = 0; o < step; ++o) {
        double sum = 0, square = 0;
        for (size_t i = o; i < y.span().size(); i += step) sum += y.span()[i];
        for (size_t i = o; i < y.span().size(); i += step) square += std::pow(y.span()[i] - sum / count, 2);
        EXPECT_NEAR(mean[o], sum / count, 1e-6 * std::abs(sum / count)) << "channel " << o;
        EXPECT_NEAR(variance[o], square / count, 1e-4 * square / count) << "channel " << o;
      }
    }
}

TEST(ConvAlgorithm, PatchesServePreparedWeightsOfFewPixels) {
  const auto by = [](const ConvShape& s, bool prepared) {
    return cpu::conv2d_served_by(s, cpu::Direction::forward, prepared, {}).substr(0, 7);
  };
  EXPECT_EQ(by({1, 4, 4, 512, 512, 3, 3, 1, 1}, true), "patches");
  EXPECT_EQ(by({1, 4, 4, 512, 512, 3, 3, 1, 1}, false), "direct ");
  EXPECT_EQ(by({2, 4, 4, 512, 512, 3, 3, 1, 1}, true), "direct ");
  EXPECT_EQ(by({1, 4, 4, 64, 64, 3, 3, 1, 1}, true), "direct ");
}

TEST(ConvAlgorithm, TapsServeBackwardWeightsOfWideStridedWindows) {
  const auto by = [](const ConvShape& s, cpu::Direction direction) {
    return cpu::conv2d_served_by(s, direction, false, {}).substr(0, 7);
  };
  const bool ours = isa() != Isa::baseline;
  EXPECT_EQ(by({32, 16, 16, 128, 128, 3, 3, 2, 1}, cpu::Direction::backward_weights),
            ours ? "taps" : "direct ");
  EXPECT_EQ(by({32, 16, 16, 128, 128, 3, 3, 2, 1}, cpu::Direction::backward_data), "direct ");
  EXPECT_EQ(by({32, 16, 16, 128, 128, 3, 3, 2, 1}, cpu::Direction::forward), "direct ");
  EXPECT_EQ(by({32, 32, 32, 3, 64, 7, 7, 2, 3}, cpu::Direction::backward_weights), "direct ");
}

TEST(ConvAlgorithm, TapsServeBackwardWeightsOfNarrowShortcuts) {
  // Those that oneDNN gets wrong, and no others.
  const auto by_taps = [](const ConvShape& s) {
    return cpu::conv2d_served_by(s, cpu::Direction::backward_weights, false, {}) == "taps";
  };
  const int64_t vector = isa() == Isa::avx512 ? 16 : 8;
  for (int64_t c = 1; c < vector; ++c)
    EXPECT_EQ(by_taps({32, 32, 32, c, 8, 1, 1, 2}), isa() != Isa::baseline);
  EXPECT_EQ(by_taps({32, 33, 33, 4, 8, 1, 1, 3}), isa() != Isa::baseline);
  EXPECT_FALSE(by_taps({32, 32, 32, vector, 8, 1, 1, 2}));
  EXPECT_FALSE(by_taps({32, 33, 32, 4, 8, 1, 1, 2})) << "a stride that does not divide the image";
  EXPECT_FALSE(by_taps({32, 32, 32, 4, 8, 1, 1}));
  EXPECT_FALSE(by_taps({32, 32, 32, 4, 8, 3, 3, 2, 1}));
}

TEST(ConvAlgorithm, DepthwiseServesImagesThatComeFromMemory) {
  const auto ours = [](const ConvShape& s) {
    std::string which;
    for (const auto direction :
         {cpu::Direction::forward, cpu::Direction::backward_data, cpu::Direction::backward_weights})
      which += cpu::conv2d_served_by(s, direction, false, {}) == "depthwise" ? "1" : "0";
    return which;
  };
  const std::string all = isa() == Isa::baseline ? "000" : "111",
                    weights = isa() == Isa::baseline ? "000" : "001";
  EXPECT_EQ(ours({64, 24, 24, 144, 144, 3, 3, 1, 1, 144}), all);
  EXPECT_EQ(ours({64, 48, 48, 96, 96, 3, 3, 2, 1, 96}), all);
  EXPECT_EQ(ours({64, 28, 28, 120, 120, 5, 5, 1, 2, 120}), all);
  EXPECT_EQ(ours({64, 12, 12, 240, 240, 5, 5, 1, 2, 240}), weights);
  EXPECT_EQ(ours({64, 6, 6, 960, 960, 3, 3, 1, 1, 960}), "000") << "short rows";
  EXPECT_EQ(ours({1, 24, 24, 144, 144, 3, 3, 1, 1, 144}), "000") << "in cache";
  EXPECT_EQ(ours({64, 24, 24, 144, 144, 3, 3, 1, {0, 0, 1, 1}, 144}), "000");
  EXPECT_EQ(ours({64, 24, 24, 144, 144, 3, 3, 1, 2, 144, DType::f32, 2}), "000");
}

TEST(ConvAlgorithm, IsARuleOfTheShape) {
  const auto algorithm = [](const ConvShape& s) { return std::string(cpu::conv2d_algorithm(s)); };
  EXPECT_EQ(algorithm({128, 32, 32, 64, 64, 3, 3, 1, 1}), "winograd");
  EXPECT_EQ(algorithm({2, 16, 16, 37, 101, 3, 3, 1, 1}), "winograd");
  EXPECT_EQ(algorithm({128, 32, 32, 3, 64, 3, 3, 1, 1}), "direct");
  EXPECT_EQ(algorithm({1, 4, 4, 512, 512, 3, 3, 1, 1}), "direct");
  EXPECT_EQ(algorithm({256, 4, 4, 512, 512, 3, 3, 1, 1}), "winograd");
  EXPECT_EQ(algorithm({256, 2, 2, 512, 512, 3, 3, 1, 1}), "direct");
  EXPECT_EQ(algorithm({512, 1, 1, 512, 512, 3, 3, 1, 1}), "direct");
  EXPECT_EQ(algorithm({128, 32, 32, 64, 64, 3, 3, 2, 1}), "direct");
  EXPECT_EQ(algorithm({128, 32, 32, 64, 64, 3, 3, 1, 1, 2}), "direct");
  EXPECT_EQ(algorithm({16, 56, 56, 64, 256, 1, 1}), "pointwise");
  EXPECT_EQ(algorithm({16, 56, 56, 256, 512, 1, 1, 2}), "pointwise");
  EXPECT_EQ(algorithm({16, 56, 56, 16, 64, 1, 1}), "direct");
}

}  // namespace
}  // namespace espalier::conv_test
