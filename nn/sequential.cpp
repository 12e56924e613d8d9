#include "espalier/nn/sequential.h"

#include <algorithm>
#include <map>
#include <set>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/nn/models/models.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

bool is_image(const Shape& shape) { return shape.axes() == 3; }

/// f(norm(x) + residual), of what a convolution makes of x where there is one.
Variable normed(Conv2d* convolution, BatchNorm2d& norm, const Variable& x, Activation f,
                const Variable& residual = {}) {
  return convolution ? convolution->forward(x, norm, f, residual)
                     : ops::batch_norm(x, norm.begin_pass(), f, residual);
}

}  // namespace

const std::vector<LayerKind>& layer_kinds() {
  static const std::vector<LayerKind> kinds{
      {"conv", "convolution by 'kernel' x 'kernel' windows to 'channels'"},
      {"norm", "batch normalisation of what comes in"},
      {"activation", "'function' of each number"},
      {"pool", "the largest or the mean of 'window' x 'window' pixels, or the mean of all"},
      {"linear", "linear layer to 'outputs', or to one for each class"},
      {"flatten", "the numbers of an image as a row"},
      {"dropout", "in training each number is 0 with probability 'p'"},
      {"repeat", "'layers', 'times' one after another, each time with weights of their own"},
      {"residual", "'layers' of what comes in, and that added to it, or its 'shortcut'"},
      {"concat", "the channels of what all 'branches' make of what comes in, side by side"}};
  return kinds;
}

/// Goes over a list and adds its layers to a Sequential.
class Sequential::Reading {
 public:
  Reading(Sequential& to, const Layers& layers, LayerContext& context, const std::string& place)
      : to_(to), layers_(layers), context_(context), list_(place) {}

  void all() {
    while (at_ < layers_.size()) {
      begin_layer();
      add();
      check_size();
    }
  }

 private:
  /// The next of the list is the layer that is added.
  void begin_layer() {
    layer_ = &layers_[at_];
    place_ = join(list_, "/", at_, " (", layer_->type, "): ");
    name_ = layer_->name ? *layer_->name : join(layer_->type, ++count_[layer_->type]);
    if (!names_.insert(name_).second) refuse("the name '", printable(name_), "' is taken");
    if (name_ == "shortcut") refuse("the name 'shortcut' is that of a residual's own");
    ++at_;
  }
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail_usage(place_, parts...);
  }
  /// So that no product of two sizes overflows.
  void check_size() const {
    constexpr int64_t max_elements = int64_t{1} << 31;
    int64_t elements = 1;
    for (const int64_t size : shape().sizes())
      if (size > max_elements || (elements *= size) > max_elements)
        refuse("puts out ", shape(), ", more than 2^31 numbers an image");
  }
  /// Files have the columns of a linear layer after a flatten in PyTorch's order, and nothing else.
  void refuse_flattened(int64_t positions) const {
    if (positions > 1)
      refuse("stands between a flatten of ", positions,
             " pixels and a linear layer, where PyTorch has the numbers in another order; put it before "
             "the flatten, or after the linear layer");
  }
  void want_image() const {
    if (!is_image(shape())) refuse("takes an image [H,W,C], but ", shape(), " comes in");
  }
  Shape& shape() { return to_.shape_; }
  const Shape& shape() const { return to_.shape_; }
  int64_t channels() const { return shape()[-1]; }
  const LayerSpec* next() const { return at_ < layers_.size() ? &layers_[at_] : nullptr; }
  bool next_is(const char* type) const { return next() && next()->type == type; }

  void add() {
    if (context_.left-- == 0) refuse("more than 10,000 layers, with those that are repeated");
    const std::string& type = layer_->type;
    if (type == "conv") return add_conv();
    if (type == "norm") return add_norm();
    if (type == "activation")
      return step([f = function_of(*layer_)](auto& x) { return ops::activation(x, f); });
    if (type == "pool") return add_pool();
    if (type == "linear") return add_linear();
    if (type == "flatten") return add_flatten();
    if (type == "dropout") return add_dropout();
    if (type == "repeat") return add_repeat();
    if (type == "residual") return add_residual();
    if (type == "concat") return add_concat();
    std::vector<std::string> known;
    for (const LayerKind& kind : layer_kinds()) known.push_back(kind.name);
    refuse("no such layer", did_you_mean(type, known));
  }

  void step(Step made) {
    close_norm();
    to_.steps_.push_back(std::move(made));
  }
  /// A norm that was the last layer so far is not.
  void close_norm() {
    if (!to_.norm_) return;
    to_.steps_.push_back([c = to_.convolution_, n = to_.norm_](const Variable& x) {
      return normed(c, *n, x, Activation::none);
    });
    to_.convolution_ = nullptr;
    to_.norm_ = nullptr;
  }

  Activation function_of(const LayerSpec& layer) const {
    return layer.function ? ops::activation_named(*layer.function) : context_.activation;
  }
  /// Of an activation that comes next, which is then done with.
  Activation take_activation(bool (*takes)(Activation) = [](Activation) { return true; }) {
    if (!next_is("activation") || !takes(function_of(*next()))) return Activation::none;
    if (!next()->name) ++count_["activation"];
    return function_of(layers_[at_++]);
  }

  /// Windows of k x k slide over the image that comes in.
  void slide(int64_t k, int64_t stride, int64_t pad) {
    const WindowAxis window{.size = k, .stride = stride, .before = pad, .behind = pad};
    const Shape in = shape();
    if (!window.fits(in[0]) || !window.fits(in[1]))
      refuse("a window of ", k, "x", k, " with padding ", pad, " does not fit what comes in, ", in);
    shape() = {window.out(in[0]), window.out(in[1]), in[2]};
  }

  void add_conv() {
    want_image();
    const LayerSpec& l = *layer_;
    const int64_t in = channels(), out = scaled_width(l.channels, context_.width);
    const ops::Conv2dOptions options{
        .stride = l.stride.value_or(1), .pad = l.pad.value_or(l.kernel / 2), .groups = l.groups};
    slide(l.kernel, options.stride.down, options.pad.top);
    if (in % l.groups || out % l.groups)
      refuse(l.groups, " groups do not divide the ", in, " channels that come in and the ", out,
             " that come out");
    const bool has_norm = next_is("norm");
    close_norm();
    const Activation f = has_norm ? Activation::none : take_activation();
    auto& conv = to_.add_child<Conv2d>(name_, in, out, l.kernel, options, l.bias.value_or(!has_norm), f);
    shape() = shape().with(-1, out);
    if (!has_norm) return step([&conv](const Variable& x) { return conv.forward(x); });
    begin_layer();
    add_norm(&conv);
  }

  void add_norm(Conv2d* conv = nullptr) {
    refuse_flattened(to_.positions_);
    close_norm();
    auto& norm = to_.add_child<BatchNorm2d>(name_, channels());
    to_.convolution_ = conv;
    to_.norm_ = &norm;
    const Activation f = take_activation(derives_from_input);
    if (f == Activation::none) return;
    to_.convolution_ = nullptr, to_.norm_ = nullptr;
    step([conv, &norm, f](const Variable& x) { return normed(conv, norm, x, f); });
  }

  void add_pool() {
    want_image();
    if (layer_->kind == "global_average") {
      shape() = {channels()};
      return step([](const Variable& x) { return ops::global_average_pool(x); });
    }
    const int64_t k = layer_->window, stride = layer_->stride.value_or(k), pad = layer_->pad.value_or(0);
    slide(k, stride, pad);
    if (2 * pad > k) refuse("padding ", pad, " is more than half a window of ", k, "x", k);
    const bool average = layer_->kind == "average";
    step([=](const Variable& x) {
      return average ? ops::average_pool2d(x, k, stride, pad) : ops::max_pool2d(x, k, stride, pad);
    });
  }

  void add_linear() {
    if (is_image(shape()))
      refuse("takes a row [I], but an image ", shape(),
             " comes in: a 'flatten', or a 'pool' of kind 'global_average', makes a row of it");
    const int64_t out = layer_->outputs ? scaled_width(*layer_->outputs, context_.width) : context_.classes;
    const bool bias = layer_->bias.value_or(!next_is("norm"));
    const Activation f = take_activation();
    auto& linear = to_.add_child<Linear>(name_, channels(), out, bias, f, to_.positions_);
    shape() = {out};
    to_.positions_ = 1;
    step([&linear](const Variable& x) { return linear.forward(x); });
  }

  void add_flatten() {
    want_image();
    to_.positions_ = shape()[0] * shape()[1];
    shape() = {shape().elements()};
    step([](const Variable& x) { return ops::flatten(x); });
  }

  void add_dropout() {
    auto& dropout = to_.add_child<Dropout>(name_, static_cast<float>(layer_->p));
    step([&dropout](const Variable& x) { return dropout.forward(x); });
  }

  Sequential& child(const std::string& name, const Layers& layers, const std::string& where) {
    return to_.add_child<Sequential>(name, layers, shape(), context_, join(list_, "/", at_ - 1, "/", where),
                                     to_.positions_);
  }

  void add_repeat() {
    for (int64_t i = 0; i < layer_->times; ++i) {
      Sequential& one = child(join(name_, ".", i), layer_->layers, "layers");
      shape() = one.shape_;
      to_.positions_ = one.positions_;
      step([&one](const Variable& x) { return one.forward(x); });
    }
  }

  void add_residual() {
    auto& body = to_.add_child<Sequential>(name_, *layer_, shape(), context_, join(list_, "/", at_ - 1),
                                           to_.positions_);
    const Shape beside = body.shortcut_ ? body.shortcut_->shape_ : shape();
    if (body.shape_ != beside)
      refuse("its layers put out ", body.shape_, ", but ",
             body.shortcut_ ? "its shortcut puts out " : "what comes in is ", beside,
             body.shortcut_               ? ""
             : body.shape_[0] > beside[0] ? "; a kernel of even size does not keep height and width"
                                          : "; a 'shortcut' can make it that");
    const int64_t positions_beside = body.shortcut_ ? body.shortcut_->positions_ : to_.positions_;
    if (body.positions_ != positions_beside) refuse_flattened(std::max(body.positions_, positions_beside));
    shape() = body.shape_;
    to_.positions_ = body.positions_;
    const Activation f = take_activation(derives_from_input);
    step([&body, f](const Variable& x) {
      return body.forward(x, body.shortcut_ ? body.shortcut_->forward(x) : x, f);
    });
  }

  void add_concat() {
    std::vector<Sequential*> branches;
    Shape all;
    for (size_t i = 0; i < layer_->branches.size(); ++i) {
      Sequential& branch = child(join(name_, ".", i), layer_->branches[i], join("branches/", i));
      const Shape& out = branch.shape_;
      refuse_flattened(branch.positions_);
      if (i == 0) {
        all = out;
      } else {
        if (out.axes() != all.axes() || out.with(-1, 1) != all.with(-1, 1))
          refuse("its branches put out ", all, " and ", out, ", which cannot lie side by side");
        all = all.with(-1, all[-1] + out[-1]);
      }
      branches.push_back(&branch);
    }
    shape() = all;
    to_.positions_ = 1;
    step([branches](const Variable& x) {
      std::vector<Variable> parts;
      for (Sequential* branch : branches) parts.push_back(branch->forward(x));
      return ops::concat(parts);
    });
  }

  Sequential& to_;
  const Layers& layers_;
  LayerContext& context_;
  std::string list_, place_, name_;
  const LayerSpec* layer_ = nullptr;
  size_t at_ = 0;  // the layer after it
  std::map<std::string, int> count_;
  std::set<std::string> names_;
};

Sequential::Sequential(const Layers& layers, const Shape& input, LayerContext& context,
                       const std::string& place, int64_t positions)
    : shape_(input), positions_(positions) {
  Reading(*this, layers, context, place).all();
}

Sequential::Sequential(const LayerSpec& residual, const Shape& input, LayerContext& context,
                       const std::string& place, int64_t positions)
    : Sequential(residual.layers, input, context, place + "/layers", positions) {
  if (residual.shortcut)
    shortcut_ = &add_child<Sequential>("shortcut", *residual.shortcut, input, context, place + "/shortcut",
                                       positions);
}

Variable Sequential::forward(const Variable& x, const Variable& residual, Activation f) {
  Variable y = x;
  for (const Step& step : steps_) y = step(y);
  if (norm_) return normed(convolution_, *norm_, y, f, residual);
  if (residual.defined()) y = ops::add(y, residual);
  return f == Activation::none ? y : ops::activation(y, f);
}

}  // namespace espalier
