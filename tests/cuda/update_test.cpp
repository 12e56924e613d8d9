// Optimizer updates of several steps, against the CPU's on the same parameters.
#include <limits>
#include <optional>

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::update_test {
namespace {

using CudaSgdUpdate = OnCard<>;
using CudaAdamUpdate = OnCard<>;
using CudaEmaUpdate = OnCard<>;
using CudaUpdate = OnCard<>;
using CudaClipFactor = OnCard<>;
using CudaApplyMask = OnCard<>;

/// Parameters of several sizes, every second one masked, with their slots: here and on the device. They lie
/// one after the other with gaps, which have to stay as they are.
struct Parameters {
  /// Each begins `offset` places after a multiple of 64.
  explicit Parameters(const std::vector<int64_t>& sizes, int64_t offset = 0) : sizes(sizes) {
    int64_t all = 0;
    for (const int64_t n : sizes) {
      begin.push_back(all + offset);
      all += (n + offset) / 64 * 64 + 64;
    }
    w = random_floats(all, 1), g = random_floats(all, 2), slot0 = random_floats(all, 3);
    slot1 = random_floats(all, 4, 0, 1);
    mask = random_mask(all, 5);
    for (size_t p = 1; p < sizes.size(); p += 2) cpu::apply_mask(&w[begin[p]], &mask[begin[p]], sizes[p]);
    device_w.emplace(w), device_g.emplace(g), device_slot0.emplace(slot0), device_slot1.emplace(slot1);
    device_mask.emplace(mask);
  }

  void draw_gradients(uint64_t step) {
    g = random_floats(static_cast<int64_t>(g.size()), 100 + step);
    cuda::upload(device_g->data(), g.data(), g.size() * sizeof(float));
  }
  std::vector<UpdateSpan> spans(bool on_device, bool with_slots = true) {
    std::vector<UpdateSpan> all;
    for (size_t p = 0; p < sizes.size(); ++p) {
      const int64_t at = begin[p];
      const uint8_t* const masks = on_device ? device_mask->data() : mask.data();
      float* const first = on_device ? device_slot0->data() : slot0.data();
      float* const second = on_device ? device_slot1->data() : slot1.data();
      all.push_back({(on_device ? device_w->data() : w.data()) + at,
                     (on_device ? device_g->data() : g.data()) + at, p % 2 == 1 ? masks + at : nullptr,
                     with_slots ? first + at : nullptr, with_slots ? second + at : nullptr, sizes[p]});
    }
    return all;
  }
  void check() const {
    ASSERT_TRUE(near(*device_w, w, 1e-6)) << "weights";
    ASSERT_TRUE(near(*device_slot0, slot0, 1e-6)) << "slot 0";
    ASSERT_TRUE(near(*device_slot1, slot1, 1e-6)) << "slot 1";
    ASSERT_TRUE(same(*device_g, g)) << "gradients";
    const Floats found = device_w->host();
    for (size_t p = 1; p < sizes.size(); p += 2)
      for (int64_t i = begin[p]; i < begin[p] + sizes[p]; ++i)
        if (!mask[i]) {
          ASSERT_EQ(found[i], 0.0f) << "a masked weight moved";
        }
  }

  std::vector<int64_t> sizes, begin;
  std::vector<uint8_t> mask;
  Floats w, g, slot0, slot1;
  std::optional<OnDevice<float>> device_w, device_g, device_slot0, device_slot1;
  std::optional<OnDevice<uint8_t>> device_mask;
};

/// Calls both kernels(spans, count, step, on_device) for three steps and compares all that they write.
template <class Kernel>
void check_steps(bool with_slots, const Kernel& kernel) {
  // Around a vector and the 1024 of a block; a small one beside one of several chunks.
  for (const int64_t offset : {0, 1}) {
    Parameters p({1, 7, 64, 1023, 0, 1025, 20011, 4}, offset);
    for (int step = 1; step <= 3; ++step) {
      p.draw_gradients(static_cast<uint64_t>(step));
      const auto here = p.spans(false, with_slots), there = p.spans(true, with_slots);
      kernel(here.data(), static_cast<int64_t>(here.size()), step, false);
      kernel(there.data(), static_cast<int64_t>(there.size()), step, true);
    }
    p.check();
  }
}

TEST_F(CudaSgdUpdate, AsOnTheCpu) {
  for (const float momentum : {0.0f, 0.9f})
    for (const bool nesterov : {false, true})
      for (const bool scaled : {false, true}) {
        if (nesterov && momentum == 0.0f) continue;
        SCOPED_TRACE(testing::Message()
                     << "momentum " << momentum << ", nesterov " << nesterov << ", scaled " << scaled);
        const float scale = 0.25f;
        const OnDevice<float> device_scale(Floats{scale});
        check_steps(momentum != 0.0f, [&](const UpdateSpan* spans, int64_t count, int step, bool device) {
          const SgdStep how{.lr = 0.1f,
                            .momentum = momentum,
                            .weight_decay = 0.05f,
                            .gradient_scale = !scaled  ? nullptr
                                              : device ? device_scale.data()
                                                       : &scale,
                            .nesterov = nesterov,
                            .first = step == 1};
          (device ? cuda::sgd_update : cpu::sgd_update)(spans, count, how);
        });
      }
}

TEST_F(CudaSgdUpdate, TheFirstStepForgetsTheBuffer) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const OnDevice<float> w(Floats{1}), g(Floats{2}), v(Floats{nan});
  const UpdateSpan span{w, g, nullptr, v, nullptr, 1};
  cuda::sgd_update(&span, 1,
                   {.lr = 0.5f,
                    .momentum = 0.9f,
                    .weight_decay = 0,
                    .gradient_scale = nullptr,
                    .nesterov = false,
                    .first = true});
  EXPECT_TRUE(same(v, {2}));
  EXPECT_TRUE(same(w, {0}));
}

TEST_F(CudaAdamUpdate, AsOnTheCpu) {
  for (const bool decoupled : {false, true})
    for (const bool scaled : {false, true}) {
      SCOPED_TRACE(testing::Message() << "decoupled " << decoupled << ", scaled " << scaled);
      const float scale = 0.25f;
      const OnDevice<float> device_scale(Floats{scale});
      check_steps(true, [&](const UpdateSpan* spans, int64_t count, int t, bool device) {
        const AdamStep how{.lr = 0.01f,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .eps = 1e-8f,
                           .weight_decay = 0.05f,
                           .gradient_scale = !scaled  ? nullptr
                                             : device ? device_scale.data()
                                                      : &scale,
                           .decoupled = decoupled,
                           .correction1 = static_cast<float>(1 - std::pow(0.9, t)),
                           .correction2 = static_cast<float>(1 - std::pow(0.999, t))};
        (device ? cuda::adam_update : cpu::adam_update)(spans, count, how);
      });
    }
}

TEST_F(CudaEmaUpdate, AsOnTheCpu) {
  check_steps(true, [](const UpdateSpan* spans, int64_t count, int, bool device) {
    (device ? cuda::ema_update : cpu::ema_update)(spans, count, 0.9f);
  });
}

TEST_F(CudaEmaUpdate, NeedsNoGradient) {
  const OnDevice<float> w(Floats{1, 2, 3, 4, 5}), average(Floats{5, 4, 3, 2, 1});
  const UpdateSpan span{w, nullptr, nullptr, average, nullptr, 5};
  cuda::ema_update(&span, 1, 0.5f);
  EXPECT_TRUE(same(average, Floats(5, 3.0f)));
  EXPECT_TRUE(same(w, {1, 2, 3, 4, 5}));
}

TEST_F(CudaUpdate, MoreParametersThanOneLaunchTakes) {
  for (const size_t count : {64, 65, 601, 1300}) {
    std::vector<int64_t> sizes(count);
    for (size_t p = 0; p < count; ++p) sizes[p] = p % 200 == 3 ? 5000 : static_cast<int64_t>(p % 7);
    Parameters p(sizes);
    p.draw_gradients(1);
    const SgdStep how{.lr = 0.1f,
                      .momentum = 0.9f,
                      .weight_decay = 0.05f,
                      .gradient_scale = nullptr,
                      .nesterov = false,
                      .first = false};
    cpu::sgd_update(p.spans(false).data(), static_cast<int64_t>(count), how);
    cuda::sgd_update(p.spans(true).data(), static_cast<int64_t>(count), how);
    p.check();
  }
}

TEST_F(CudaClipFactor, BringsTheNormDownAndNeverUp) {
  const auto factor = [](double norm, double max_norm) {
    const OnDevice<double> square(std::vector<double>{norm * norm});
    const OnDevice<float> y(1);
    cuda::clip_factor(y, square, max_norm);
    EXPECT_TRUE(y.intact());
    return y.host()[0];
  };
  EXPECT_NEAR(factor(13, 6.5), 0.5, 1e-7);
  EXPECT_EQ(factor(13, 14), 1);
  EXPECT_EQ(factor(0, 1), 1);
  EXPECT_LT(factor(1, 1), 1) << "1 / (1 + 1e-6), as PyTorch";
  EXPECT_EQ(factor(std::numeric_limits<double>::infinity(), 1), 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  float on_cpu = -1;
  cpu::clip_factor(&on_cpu, &nan, 1);
  EXPECT_EQ(factor(nan, 1), on_cpu);
}

TEST_F(CudaApplyMask, ZeroesWhatItDrops) {
  for (const int64_t n : {1, 7, 33, 1001, 40013})
    for (const int64_t offset : {0, 1}) {
      Floats w = random_floats(n, 1);
      w[0] = std::numeric_limits<float>::quiet_NaN();
      auto mask = random_mask(n, 2);
      mask[0] = 0;
      const OnDevice<float> dw(w, offset);
      cuda::apply_mask(dw, OnDevice<uint8_t>(mask, offset), n);
      cpu::apply_mask(w.data(), mask.data(), n);
      EXPECT_TRUE(same(dw, w)) << n;
    }
}

}  // namespace
}  // namespace espalier::update_test
