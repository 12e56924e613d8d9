// Products of activations, many at a time, by oneDNN.
#include "espalier/core/cpu/linear/matmul.h"

#include "espalier/core/cpu/onednn.h"
#include "espalier/core/cpu/plan_cache.h"
#include "espalier/core/kernels.h"

namespace espalier::cpu {
namespace {

Primitive make(const MatmulShape& s, bool accumulate) {
  expect_room_for_code();
  const auto layout = [](bool transposed) { return transposed ? Tag::acb : Tag::abc; };
  const auto a = f32_desc({s.batch, s.m, s.k}, layout(s.a_transposed)),
             b = f32_desc({s.batch, s.k, s.n}, layout(s.b_transposed)),
             y = f32_desc({s.batch, s.m, s.n}, Tag::abc);
  auto attributes = with_scratch();
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(a, b, y), attributes, onednn_engine());
  return {dnnl::matmul(chosen),
          {{DNNL_ARG_DST, y}, {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}},
          chosen.scratchpad_desc()};
}

Primitive& plan(const MatmulShape& s, bool accumulate) {
  thread_local PlanCache<Primitive, 5> cache;
  const int64_t flags = s.a_transposed | s.b_transposed << 1 | accumulate << 2;
  return cache.get({s.batch, s.m, s.n, s.k, flags}, [&] { return make(s, accumulate); });
}

}  // namespace

std::string matmul_served_by(const MatmulShape& s) {
  return "product (" + plan(s, false).implementation() + ")";
}

size_t matmul_scratch(const MatmulShape& s, bool accumulate) { return plan(s, accumulate).scratch_bytes(); }
void matmul(float* y, const float* a, const float* b, const MatmulShape& s, bool accumulate, void* scratch) {
  plan(s, accumulate).run({y, a, b}, scratch);
}

}  // namespace espalier::cpu
