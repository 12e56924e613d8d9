// Optimizer updates against the textbook's formulas in double precision, five steps each.
#include <gtest/gtest.h>

#include <numeric>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier::update_test {
namespace {

/// Parameters of several sizes, every second one masked, with their slots.
struct Parameters {
  explicit Parameters(bool masked = true) {
    uint64_t key = 1;
    for (const int64_t n : {1, 7, 16, 33, 1001, 20011}) {
      masks.push_back(masked && key % 2 == 0 ? random_mask(n, key) : std::vector<uint8_t>());
      w.push_back(random_floats(n, key));
      if (!masks.back().empty()) cpu::apply_mask(w.back().data(), masks.back().data(), n);
      slot0.emplace_back(w.back().size());
      slot1.emplace_back(w.back().size());
      ++key;
    }
    g.resize(w.size());
  }

  void draw_gradients(uint64_t step) {
    for (size_t p = 0; p < w.size(); ++p)
      g[p] = random_floats(static_cast<int64_t>(w[p].size()), 100 * step + p);
  }

  std::vector<UpdateSpan> spans(bool with_slots = true) {
    std::vector<UpdateSpan> all;
    for (size_t p = 0; p < w.size(); ++p)
      all.push_back({w[p].data(), g[p].data(), masks[p].empty() ? nullptr : masks[p].data(),
                     with_slots ? slot0[p].data() : nullptr, with_slots ? slot1[p].data() : nullptr,
                     static_cast<int64_t>(w[p].size())});
    return all;
  }
  bool kept(size_t p, size_t i) const { return masks[p].empty() || masks[p][i]; }

  std::vector<std::vector<uint8_t>> masks;
  std::vector<Floats> w, g, slot0, slot1;
};

/// Calls update(w, g, slot0, slot1) in double precision for each kept weight of five steps, and `kernel`.
template <class Kernel, class Update>
void check_five_steps(bool with_slots, const Kernel& kernel, const Update& update) {
  const WithThreads three(3);
  Parameters p;
  std::vector<Doubles> w, slot0, slot1;
  for (const Floats& each : p.w) {
    w.push_back(doubles(each));
    slot0.emplace_back(each.size());
    slot1.emplace_back(each.size());
  }
  for (int step = 1; step <= 5; ++step) {
    p.draw_gradients(static_cast<uint64_t>(step));
    const auto spans = p.spans(with_slots);
    kernel(spans.data(), static_cast<int64_t>(spans.size()), step);
    for (size_t k = 0; k < w.size(); ++k)
      for (size_t i = 0; i < w[k].size(); ++i)
        if (p.kept(k, i)) update(w[k][i], p.g[k][i], slot0[k][i], slot1[k][i], step);
  }
  for (size_t k = 0; k < w.size(); ++k) {
    EXPECT_TRUE(near(p.w[k], w[k], 3e-6)) << "parameter " << k;
    EXPECT_TRUE(near(p.slot0[k], slot0[k], 3e-6)) << "slot 0 of parameter " << k;
    EXPECT_TRUE(near(p.slot1[k], slot1[k], 3e-6)) << "slot 1 of parameter " << k;
    for (size_t i = 0; i < w[k].size(); ++i)
      if (!p.kept(k, i)) {
        ASSERT_EQ(p.w[k][i], 0.0f) << "a masked weight moved";
      }
  }
}

TEST(SgdUpdate, AgainstDouble) {
  for (const float momentum : {0.0f, 0.9f})
    for (const bool nesterov : {false, true})
      for (const float decay : {0.0f, 0.05f})
        for (const float scale : {1.0f, 0.25f}) {
          if (nesterov && momentum == 0.0f) continue;
          SCOPED_TRACE(testing::Message() << "momentum " << momentum << ", nesterov " << nesterov
                                          << ", decay " << decay << ", gradient scale " << scale);
          check_five_steps(
              momentum != 0.0f,
              [&](const UpdateSpan* spans, int64_t count, int step) {
                cpu::sgd_update(spans, count,
                                {.lr = 0.1f,
                                 .momentum = momentum,
                                 .weight_decay = decay,
                                 .gradient_scale = &scale,
                                 .nesterov = nesterov,
                                 .first = step == 1});
              },
              [&](double& w, double g, double& v, double&, int) {
                g = g * scale + decay * w;
                const double fresh = momentum * v + g;
                if (momentum != 0.0f) v = fresh;
                w -= 0.1 * (nesterov ? g + momentum * fresh : fresh);
              });
        }
}

TEST(SgdUpdate, TheFirstStepForgetsTheBuffer) {
  Floats w{1}, g{2}, v{100};
  const UpdateSpan span{w.data(), g.data(), nullptr, v.data(), nullptr, 1};
  cpu::sgd_update(&span, 1,
                  {.lr = 0.5f,
                   .momentum = 0.9f,
                   .weight_decay = 0,
                   .gradient_scale = nullptr,
                   .nesterov = false,
                   .first = true});
  EXPECT_EQ(v[0], 2.0f);
  EXPECT_EQ(w[0], 0.0f);
}

TEST(AdamUpdate, AgainstDouble) {
  for (const bool decoupled : {false, true})
    for (const float decay : {0.0f, 0.05f})
      for (const float scale : {1.0f, 0.25f}) {
        SCOPED_TRACE(testing::Message()
                     << "decoupled " << decoupled << ", decay " << decay << ", gradient scale " << scale);
        const double lr = 0.01, b1 = 0.9, b2 = 0.999, eps = 1e-8;
        check_five_steps(
            true,
            [&](const UpdateSpan* spans, int64_t count, int t) {
              cpu::adam_update(spans, count,
                               {.lr = 0.01f,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8f,
                                .weight_decay = decay,
                                .gradient_scale = &scale,
                                .decoupled = decoupled,
                                .correction1 = static_cast<float>(1 - std::pow(b1, t)),
                                .correction2 = static_cast<float>(1 - std::pow(b2, t))});
            },
            [&](double& w, double g, double& m, double& v, int t) {
              g *= scale;
              if (decoupled)
                w -= lr * decay * w;
              else
                g += decay * w;
              m = b1 * m + (1 - b1) * g;
              v = b2 * v + (1 - b2) * g * g;
              w -= lr * (m / (1 - std::pow(b1, t))) / (std::sqrt(v / (1 - std::pow(b2, t))) + eps);
            });
      }
}

TEST(AdamUpdate, SecondMomentIsExactToSinglePrecision) {
  // 1 - 0.999f is 1.3e-5 away from 0.001: the share must be taken in double, as PyTorch does.
  Floats w{0}, g{3}, m{0}, v{0};
  const UpdateSpan span{w.data(), g.data(), nullptr, m.data(), v.data(), 1};
  cpu::adam_update(&span, 1,
                   {.lr = 1,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .eps = 0,
                    .weight_decay = 0,
                    .gradient_scale = nullptr,
                    .decoupled = false,
                    .correction1 = 0.1f,
                    .correction2 = 0.001f});
  EXPECT_FLOAT_EQ(m[0], 0.3f);
  EXPECT_FLOAT_EQ(v[0], 0.009f);
}

TEST(EmaUpdate, AgainstDouble) {
  check_five_steps(
      true, [](const UpdateSpan* spans, int64_t count, int) { cpu::ema_update(spans, count, 0.9f); },
      [](double& w, double, double& average, double&, int) { average = 0.9 * average + 0.1 * w; });
}

TEST(ApplyMask, ZeroesWhatItDrops) {
  const WithThreads three(3);
  for (const int64_t n : {1, 7, 16, 17, 1001, 40013}) {
    const Floats before = random_floats(n, 1);
    const auto mask = random_mask(n, 2);
    Floats w = before;
    cpu::apply_mask(w.data(), mask.data(), n);
    for (size_t i = 0; i < w.size(); ++i) ASSERT_EQ(w[i], mask[i] ? before[i] : 0.0f);
  }
}

TEST(ApplyMask, DropsEvenNaN) {
  Floats w(20, std::numeric_limits<float>::quiet_NaN());
  const std::vector<uint8_t> mask(20, 0);
  cpu::apply_mask(w.data(), mask.data(), 20);
  EXPECT_EQ(w, Floats(20, 0.0f));
}

TEST(Update, FreeOfThreads) {
  const auto run = [](int count) {
    const WithThreads some(count);
    Parameters p;
    for (int step = 1; step <= 3; ++step) {
      p.draw_gradients(static_cast<uint64_t>(step));
      const auto spans = p.spans();
      cpu::adam_update(spans.data(), static_cast<int64_t>(spans.size()),
                       {.lr = 0.01f,
                        .beta1 = 0.9,
                        .beta2 = 0.999,
                        .eps = 1e-8f,
                        .weight_decay = 0.05f,
                        .gradient_scale = nullptr,
                        .decoupled = false,
                        .correction1 = 0.5f,
                        .correction2 = 0.5f});
    }
    return std::accumulate(p.w.begin(), p.w.end(), Floats(), [](Floats all, const Floats& each) {
      all.insert(all.end(), each.begin(), each.end());
      return all;
    });
  };
  const Floats one = run(1);
  for (const int count : {2, 3, 5}) EXPECT_TRUE(same_bits(one, run(count))) << count << " threads";
}

}  // namespace
}  // namespace espalier::update_test
