// Convolutions by oneDNN, direct. Images stay NHWC; oneDNN wants weights in a blocked layout of its own, so
// that a plan reorders them on the way in (forward, data) or out (weights), in scratch memory.
#include "espalier/core/cpu/conv/direct_conv.h"

#include <algorithm>

#include "espalier/core/cpu/onednn.h"
#include "espalier/core/cpu/pieces.h"
#include "espalier/core/cpu/plan_cache.h"
#include "espalier/core/isa.h"

namespace espalier::cpu {
namespace {

/// The part of an epilogue that oneDNN takes along.
struct Fused {
  Fused() = default;
  explicit Fused(const ConvEpilogue& e)
      : shift(e.shift && !e.scale), relu(e.f == Activation::relu && !e.scale && !e.residual) {}
  bool shift = false, relu = false;
};

struct ConvPlan {
  Primitive convolution, reorder;
  bool reordered = false;    // the convolution's weights are not laid out as ours
  size_t weights_bytes = 0;  // of its layout
  size_t result_bytes = 0;   // of a result to add into the output, where oneDNN cannot add
  size_t scratch_bytes() const {
    return weights_bytes + result_bytes + convolution.scratch_bytes() + reorder.scratch_bytes() + 3 * 64;
  }
};

/// Images [N,C,H,W] as oneDNN counts axes, NHWC in memory.
dnnl::memory::desc image(int64_t n, int64_t c, int64_t h, int64_t w) {
  return f32_desc({n, c, h, w}, Tag::nhwc);
}

/// OHWI weights in memory; with groups the output channels of a group lie together.
dnnl::memory::desc weights(const ConvShape& s) {
  const int64_t i = s.c / s.groups, o = s.o / s.groups, row = s.kh * s.kw * i;
  if (s.groups == 1) return f32_desc({o, i, s.kh, s.kw}, {row, 1, s.kw * i, i});
  return f32_desc({s.groups, o, i, s.kh, s.kw}, {o * row, row, 1, s.kw * i, i});
}

/// How a window moves, as oneDNN says it: a dilation of 0 is none.
struct Moves {
  explicit Moves(const ConvShape& s)
      : stride{s.stride.down, s.stride.across},
        dilation{s.kh > 1 ? s.dilation.down - 1 : 0, s.kw > 1 ? s.dilation.across - 1 : 0},
        before{s.pad.top, s.pad.left},
        after{s.pad.bottom, s.pad.right} {}
  Dims stride, dilation, before, after;
};

constexpr auto algorithm = dnnl::algorithm::convolution_direct;

/// Forward with `fused`'s bias and relu, on weights laid out as `w` says.
dnnl::convolution_forward::primitive_desc forward_of(const ConvShape& s, const dnnl::memory::desc& w,
                                                     Fused fused) {
  using Forward = dnnl::convolution_forward;
  auto attributes = with_scratch();
  if (fused.relu) {
    dnnl::post_ops after;
    after.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    attributes.set_post_ops(after);
  }
  const auto kind = dnnl::prop_kind::forward_training;
  const auto x = image(s.n, s.c, s.h, s.w), y = image(s.n, s.o, s.out_h(), s.out_w());
  const Moves by(s);
  const auto desc =
      fused.shift ? Forward::desc(kind, algorithm, x, w, f32_desc({s.o}, Tag::x), y, by.stride, by.dilation,
                                  by.before, by.after)
                  : Forward::desc(kind, algorithm, x, w, y, by.stride, by.dilation, by.before, by.after);
  return {desc, attributes, onednn_engine()};
}

ConvPlan make(const ConvShape& s, Direction direction, bool accumulate, Fused fused) {
  expect_room_for_code();
  const auto x = image(s.n, s.c, s.h, s.w), y = image(s.n, s.o, s.out_h(), s.out_w()), ours = weights(s);
  const auto any = f32_desc(ours.dims(), Tag::any);
  const Moves by(s);
  const auto attributes = with_scratch();
  const auto& engine = onednn_engine();
  const auto forward = forward_of(s, any, {});

  ConvPlan plan;
  const auto finish = [&](const dnnl::primitive& primitive, const dnnl::memory::desc& theirs,
                          const std::vector<std::pair<int, dnnl::memory::desc>>& slots,
                          const dnnl::memory::desc& scratch) {
    plan.convolution = Primitive(primitive, slots, scratch);
    plan.reordered = theirs != ours;
    if (!plan.reordered) return;
    const bool out = direction == Direction::backward_weights;
    const dnnl::reorder::primitive_desc chosen(engine, out ? theirs : ours, engine, out ? ours : theirs,
                                               attributes);
    plan.reorder = Primitive(dnnl::reorder(chosen),
                             {{DNNL_ARG_TO, out ? ours : theirs}, {DNNL_ARG_FROM, out ? theirs : ours}},
                             chosen.scratchpad_desc());
    plan.weights_bytes = theirs.get_size();
  };
  switch (direction) {
    case Direction::forward: {
      // On weights as the plain one lays them out: they may have been prepared for it.
      const auto chosen = fused.shift || fused.relu ? forward_of(s, forward.weights_desc(), fused) : forward;
      std::vector<std::pair<int, dnnl::memory::desc>> slots{
          {DNNL_ARG_DST, y}, {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, chosen.weights_desc()}};
      if (fused.shift) slots.emplace_back(DNNL_ARG_BIAS, chosen.bias_desc());
      finish(dnnl::convolution_forward(chosen), chosen.weights_desc(), slots, chosen.scratchpad_desc());
      break;
    }
    case Direction::backward_data: {
      using Data = dnnl::convolution_backward_data;
      const Data::primitive_desc chosen(
          Data::desc(algorithm, x, any, y, by.stride, by.dilation, by.before, by.after), attributes, engine,
          forward);
      finish(Data(chosen), chosen.weights_desc(),
             {{DNNL_ARG_DIFF_SRC, x}, {DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_WEIGHTS, chosen.weights_desc()}},
             chosen.scratchpad_desc());
      if (accumulate) plan.result_bytes = x.get_size();
      break;
    }
    case Direction::backward_weights: {
      using Weights = dnnl::convolution_backward_weights;
      const Weights::primitive_desc chosen(
          Weights::desc(algorithm, x, any, y, by.stride, by.dilation, by.before, by.after), attributes,
          engine, forward);
      finish(Weights(chosen), chosen.diff_weights_desc(),
             {{DNNL_ARG_DIFF_WEIGHTS, chosen.diff_weights_desc()}, {DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_SRC, x}},
             chosen.scratchpad_desc());
      if (accumulate) plan.result_bytes = ours.get_size();
      break;
    }
  }
  return plan;
}

ConvPlan& plan(const ConvShape& s, Direction direction, bool accumulate, Fused fused = {}) {
  thread_local PlanCache<ConvPlan, 17> cache;
  const int64_t flags =
      static_cast<int64_t>(direction) | accumulate << 2 | fused.shift << 3 | fused.relu << 4;
  return cache.get(
      {s.n, s.h, s.w, s.c, s.o, s.kh, s.kw, s.stride.down, s.stride.across, s.pad.top, s.pad.left,
       s.pad.bottom, s.pad.right, s.groups, s.dilation.down, s.dilation.across, flags},
      [&] { return make(s, direction, accumulate, fused); });
}

/// Our weights in the plan's layout.
const float* laid_out(ConvPlan& plan, const float* w, Pieces& scratch) {
  if (!plan.reordered) return w;
  float* theirs = scratch.take_bytes(plan.weights_bytes);
  plan.reorder.run({theirs, w}, scratch.take_bytes(plan.reorder.scratch_bytes()));
  return theirs;
}

NormShape pixels_of(const ConvShape& s) { return {s.n * s.out_h() * s.out_w(), s.o}; }

}  // namespace

bool direct_fits(const ConvShape& s, Direction direction) {
  if (direction != Direction::backward_weights || isa() == Isa::baseline) return true;
  // jit_1x1 serves a strided window where it divides the image into whole strides.
  const bool gathers = s.kh == 1 && s.kw == 1 && s.pad == 0 && s.groups == 1 && s.stride != 1 &&
                       s.h % s.stride.down == 0 && s.w % s.stride.across == 0;
  return !gathers || s.c >= (isa() == Isa::avx512 ? 16 : 8);
}

std::string direct_implementation(const ConvShape& s, Direction direction, const ConvEpilogue& e) {
  const Fused fused = direction == Direction::forward ? Fused(e) : Fused();
  return plan(s, direction, false, fused).convolution.implementation();
}

size_t direct_prepared_bytes(const ConvShape& s) {
  const ConvPlan& p = plan(s, Direction::forward, false);
  return p.reordered ? p.weights_bytes + p.reorder.scratch_bytes() : 0;
}
void direct_prepare(void* prepared, const float* w, const ConvShape& s) {
  ConvPlan& p = plan(s, Direction::forward, false);
  p.reorder.run({prepared, w}, static_cast<char*>(prepared) + p.weights_bytes);
}

size_t direct_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return std::max(plan(s, Direction::forward, false, Fused(e)).scratch_bytes(),
                  e.statistics.mean ? channel_statistics_scratch(pixels_of(s)) : 0);
}
void direct_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                    const ConvShape& s, void* block) {
  const Fused fused(e);
  ConvPlan& p = plan(s, Direction::forward, false, fused);
  Pieces scratch(block);
  const void* theirs = prepared ? prepared : laid_out(p, w, scratch);
  void* own = scratch.take_bytes(p.convolution.scratch_bytes());
  fused.shift ? p.convolution.run({y, x, theirs, e.shift}, own) : p.convolution.run({y, x, theirs}, own);

  const float* shift = fused.shift ? nullptr : e.shift;
  const Activation f = fused.relu ? Activation::none : e.f;
  if (e.scale || shift || e.residual || f != Activation::none)
    scale_shift_forward(y, y, e.scale, shift, e.residual, f, pixels_of(s));
  if (e.statistics.mean)  // about y's own first pixel: nearer to the means than any guess from before
    channel_statistics({e.statistics.mean, e.statistics.variance}, y, pixels_of(s), block);
}

size_t direct_backward_data_scratch(const ConvShape& s, bool accumulate) {
  return plan(s, Direction::backward_data, accumulate).scratch_bytes();
}
void direct_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* block) {
  ConvPlan& p = plan(s, Direction::backward_data, accumulate);
  Pieces scratch(block);
  const float* theirs = laid_out(p, w, scratch);
  float* result = accumulate ? scratch.take_bytes(p.result_bytes) : dx;
  p.convolution.run({result, dy, theirs}, scratch.take_bytes(p.convolution.scratch_bytes()));
  if (accumulate) add(dx, dx, result, s.n * s.h * s.w * s.c);
}

size_t direct_backward_weights_scratch(const ConvShape& s, bool accumulate) {
  return plan(s, Direction::backward_weights, accumulate).scratch_bytes();
}
void direct_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* block) {
  ConvPlan& p = plan(s, Direction::backward_weights, accumulate);
  Pieces scratch(block);
  float* result = accumulate ? scratch.take_bytes(p.result_bytes) : dw;
  float* theirs = p.reordered ? scratch.take_bytes(p.weights_bytes) : result;
  p.convolution.run({theirs, dy, x}, scratch.take_bytes(p.convolution.scratch_bytes()));
  if (p.reordered) p.reorder.run({result, theirs}, scratch.take_bytes(p.reorder.scratch_bytes()));
  if (accumulate) add(dw, dw, result, s.o * s.kh * s.kw * (s.c / s.groups));
}

}  // namespace espalier::cpu
