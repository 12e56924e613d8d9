#include "espalier/cuda/conv.h"

#include <optional>

#include "core/cpu/conv/conv_case.h"
#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::conv_test {
namespace {

/// `n` numbers of the host in device memory; null stays null.
class Copy {
 public:
  Copy(const float* host, int64_t n) {
    if (host) block_.emplace(Floats(host, host + n));
  }
  operator float*() const { return block_ ? block_->data() : nullptr; }  // NOLINT: implicit, for arguments
  void back(float* host) const {
    if (!block_) return;
    EXPECT_TRUE(block_->intact()) << "wrote outside its output";
    const Floats values = block_->host();
    std::copy(values.begin(), values.end(), host);
  }

 private:
  std::optional<OnDevice<float>> block_;
};

int64_t images(const ConvShape& s) { return s.n * s.h * s.w * s.c; }
int64_t weights(const ConvShape& s) { return s.o * s.kh * s.kw * s.c / s.groups; }
int64_t outputs(const ConvShape& s) { return s.n * s.out_h() * s.out_w() * s.o; }

/// espalier::cuda's kernels with all operands on the host, for the checks of the CPU's tests.
constexpr ConvKernels conv2d{
    [](const ConvShape&, const ConvEpilogue&) { return size_t{0}; },
    [](float* y, const float* x, const float* w, const void*, const ConvEpilogue& e, const ConvShape& s,
       void*) {
      const Copy at_y(y, outputs(s)), at_x(x, images(s)), at_w(w, weights(s)), scale(e.scale, s.o),
          shift(e.shift, s.o), residual(e.residual, outputs(s)), mean(e.statistics.mean, s.o),
          variance(e.statistics.variance, s.o), center(e.statistics.center, s.o);
      const ConvEpilogue there{scale, shift, residual, e.f, {mean, variance, center}};
      const auto scratch = device_scratch(cuda::conv2d_forward_scratch(s, there));
      cuda::conv2d_forward(at_y, at_x, at_w, nullptr, there, s, scratch);
      EXPECT_TRUE(scratch.intact());
      at_y.back(y);
      mean.back(e.statistics.mean);
      variance.back(e.statistics.variance);
    },
    [](const ConvShape&, bool) { return size_t{0}; },
    [](float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate, void*) {
      const Copy at_dx(dx, images(s)), at_dy(dy, outputs(s)), at_w(w, weights(s));
      const auto scratch = device_scratch(cuda::conv2d_backward_data_scratch(s, accumulate));
      cuda::conv2d_backward_data(at_dx, at_dy, at_w, s, accumulate, scratch);
      EXPECT_TRUE(scratch.intact());
      at_dx.back(dx);
    },
    [](const ConvShape&, bool) { return size_t{0}; },
    [](float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate, void*) {
      const Copy at_dw(dw, weights(s)), at_dy(dy, outputs(s)), at_x(x, images(s));
      const auto scratch = device_scratch(cuda::conv2d_backward_weights_scratch(s, accumulate));
      cuda::conv2d_backward_weights(at_dw, at_dy, at_x, s, accumulate, scratch);
      EXPECT_TRUE(scratch.intact());
      at_dw.back(dw);
    }};

// {n, h, w, c, o, kh, kw, stride, pad, groups}
const ConvShape shapes[] = {
    {2, 12, 12, 1, 20, 5, 5},           // LeNet-5's first: one input channel
    {3, 8, 8, 20, 50, 5, 5},            // and its second
    {2, 7, 9, 37, 101, 3, 3, 1, 1},     // channels that fill no vector, width unlike height
    {1, 9, 7, 16, 32, 3, 3, 2, 1},      // stride
    {2, 8, 8, 3, 7, 3, 3, 2, 0},        // stride that leaves a row out
    {2, 6, 6, 8, 12, 3, 3, 1, 1, 4},    // groups
    {2, 7, 7, 15, 30, 3, 3, 1, 1, 3},   // groups of odd width
    {1, 6, 6, 17, 17, 3, 3, 1, 1, 17},  // depthwise
    {2, 5, 5, 33, 17, 1, 1},            // pointwise
    {2, 5, 5, 33, 17, 1, 1, 2},         // pointwise with stride
    {2, 5, 6, 3, 5, 1, 3, 1, 0},        // a window that is not square
    {3, 4, 4, 5, 1, 4, 4},              // one output number an image
    {4, 16, 16, 64, 64, 3, 3, 1, 1},    // what networks are made of
    {2, 16, 16, 3, 64, 7, 7, 2, 3},     // an ImageNet stem
    {2, 4, 4, 512, 512, 3, 3, 1, 1},
    {2, 9, 11, 16, 24, 3, 3, {2, 1}, {0, 1}},                              // axes of their own
    {2, 8, 9, 10, 9, 3, 3, 2, {0, 0, 1, 1}},                               // TensorFlow's padding
    {2, 12, 11, 16, 20, 3, 3, 1, 2, 1, DType::f32, 2},                     // dilation
    {1, 14, 13, 17, 17, 3, 3, 1, {2, 3}, 17, DType::f32, {2, 3}},          // of depthwise ones
    {2, 13, 12, 6, 9, 3, 5, {2, 3}, {3, 1, 0, 4}, 3, DType::f32, {1, 2}},  // all of it, in groups
};

class CudaConv : public OnCard<testing::TestWithParam<ConvShape>> {
 protected:
  const ConvCase c{GetParam()};
  static constexpr ThreadCounts one = ThreadCounts(all_thread_counts).subspan(2, 1);
};

TEST_P(CudaConv, Forward) {
  const WithPrecision exact(cuda::Precision::f32);
  check_forward(conv2d, c, 1e-5, one);
}
TEST_P(CudaConv, FusedBiasAndResidual) {
  const WithPrecision exact(cuda::Precision::f32);
  const Floats shift = random_floats(c.s.o, 5), residual = random_floats(c.pixels * c.s.o, 8);
  for (const Activation f : {Activation::none, Activation::relu}) {
    const ConvEpilogue e{.shift = shift.data(), .residual = residual.data(), .f = f};
    Floats y(c.dy.size(), 5.0f);
    conv2d.forward(y.data(), c.x.data(), c.w.data(), nullptr, e, c.s, nullptr);
    EXPECT_TRUE(near(std::span<const float>(y), with_epilogue(c.forward(), e, c.s.o), 1e-5));
  }
}
TEST_P(CudaConv, ANanReachesWhatReadsIt) {
#ifdef ESPALIER_CUDA_EMULATED
  GTEST_SKIP() << "oneDNN, which answers for cuDNN under emulation, makes 0 of it by relu";
#endif
  const Floats shift = random_floats(c.s.o, 5);
  const ConvEpilogue e{.shift = shift.data(), .f = Activation::relu};
  for (const auto precision : {cuda::Precision::f32, cuda::Precision::tf32}) {
    const WithPrecision with(precision);
    Floats x = c.x, y(c.dy.size());
    const size_t place = x.size() / 2;
    x[place] = std::numeric_limits<float>::quiet_NaN();
    conv2d.forward(y.data(), x.data(), c.w.data(), nullptr, e, c.s, nullptr);
    bool reached = true;
    c.for_products([&](size_t yi, size_t, size_t xi) { reached &= xi != place || std::isnan(y[yi]); });
    EXPECT_TRUE(reached) << precision_name(precision);
  }
}
TEST_P(CudaConv, BackwardData) {
  const WithPrecision exact(cuda::Precision::f32);
  check_backward_data(conv2d, c, 1e-5, one);
}
TEST_P(CudaConv, BackwardWeights) {
  const WithPrecision exact(cuda::Precision::f32);
  check_backward_weights(conv2d, c, 1e-5, one);
}
TEST_P(CudaConv, Tf32) {
  const WithPrecision rounded(cuda::Precision::tf32);
  Floats y(c.dy.size(), 5.0f);
  conv2d.forward(y.data(), c.x.data(), c.w.data(), nullptr, {}, c.s, nullptr);
  EXPECT_TRUE(near(std::span<const float>(y), c.forward(), 1e-3));
  check_backward_data(conv2d, c, 1e-3, one);
  check_backward_weights(conv2d, c, 1e-3, one);
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaConv, testing::ValuesIn(shapes),
                         [](const auto& info) { return name(info.param); });

}  // namespace
}  // namespace espalier::conv_test
