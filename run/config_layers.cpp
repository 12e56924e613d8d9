// The declaration of a layer: model.layers of a config (nn/sequential.h).
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/run/config_parts.h"

namespace espalier {

using namespace schema;

namespace {

constexpr long deepest = 40;  // places from the top of a config

Names layer_types() {
  Names names;
  for (const LayerKind& kind : layer_kinds()) names.push_back(kind.name);
  return names;
}

Names functions() {
  Names names(std::begin(ops::activation_names), std::end(ops::activation_names));
  std::erase(names, "none");
  return names;
}

/// A name of one level, for it becomes a part of parameters' names.
Type<std::string> level_name() {
  Type<std::string> type = file_name();
  type.read = [read = type.read](const Json& json, const Place& at) {
    const std::string name = read(json, at);
    if (name.find('.') != name.npos) at.unexpected(json, "a name without '.', which separates levels");
    return name;
  };
  return type;
}

const Type<LayerSpec>& layer_type();

/// A list of layers that stands within one. Its declaration is asked for as one is read, for it holds itself.
Type<std::vector<LayerSpec>> nested_list(size_t least) {
  Description list;
  list.expected = join("a list", least ? " of at least 1" : "", ", each an object");
  list.json_schema = {{"type", "array"}, {"items", {{"$ref", "#/properties/model/properties/layers/items"}}}};
  if (least) list.json_schema["minItems"] = least;
  const auto whole_list = [least] { return list_of(layer_type(), {least, 1000}); };
  return {list,
          [=](const Json& json, const Place& at) {
            if (std::ranges::count(at.pointer(), '/') > deepest)
              at.fail("lies too deep, in too many lists of layers within each other");
            return whole_list().read(json, at);
          },
          [=](const std::vector<LayerSpec>& layers) {
            if (layers.empty())
              return least ? Json() : Json::array();  // as the defaults are, of which it is made
            return whole_list().write(layers);
          }};
}

const Type<LayerSpec>& layer_type() {
  static const Type<LayerSpec> type = object<LayerSpec>(
      {field("type", &LayerSpec::type, one_of(layer_types()), "what it does; `espalier help layers`")
           .required(),
       field("name", &LayerSpec::name, level_name(),
             "what its parameters are called by; without it, its type and number: conv2"),
       field("channels", &LayerSpec::channels, whole(1, 1'000'000), "outputs, times model.width")
           .required()
           .only_for({"conv"}),
       field("outputs", &LayerSpec::outputs, whole(1, 1'000'000),
             "numbers that come out, times model.width; without it, one for each class")
           .only_for({"linear"}),
       field("kernel", &LayerSpec::kernel, whole(1, 1000), "pixels a side of its window").only_for({"conv"}),
       field("groups", &LayerSpec::groups, whole(1, 1'000'000),
             "parts of the channels that have nothing to do with each other; as many as channels: depthwise")
           .only_for({"conv"}),
       field("kind", &LayerSpec::kind, one_of({"max", "average", "global_average"}),
             "the largest, or the mean, of each window, or the mean of all pixels")
           .only_for({"pool"}),
       field("window", &LayerSpec::window, whole(1, 15), "pixels a side").only_for({"pool"}),
       field("stride", &LayerSpec::stride, whole(1, 1000),
             "pixels from window to window; without it, 1 of a conv, and of a pool the window's side")
           .only_for({"conv", "pool"}),
       field("pad", &LayerSpec::pad, whole(0, 1000),
             "zeros on each side; without it, half the kernel of a conv, and none of a pool")
           .only_for({"conv", "pool"}),
       field("bias", &LayerSpec::bias, boolean(),
             "adds a number to each output; without it, unless a norm follows")
           .only_for({"conv", "linear"}),
       field("function", &LayerSpec::function, one_of(functions()), "without it, model.activation")
           .only_for({"activation"}),
       field("p", &LayerSpec::p, number({.from = 0, .below = 1}), "share that is dropped")
           .only_for({"dropout"}),
       field("times", &LayerSpec::times, whole(1, 1000), "how often").required().only_for({"repeat"}),
       field("layers", &LayerSpec::layers, nested_list(1), "layers, one after another")
           .required()
           .only_for({"repeat", "residual"}),
       field("shortcut", &LayerSpec::shortcut, nested_list(1),
             "layers that what comes in goes through before it is added; without it, it is added as it is")
           .only_for({"residual"}),
       field("branches", &LayerSpec::branches, list_of(nested_list(0), {2, 1000}),
             "lists of layers; an empty one is what comes in as it is")
           .required()
           .only_for({"concat"})},
      {.check = [](const LayerSpec& layer, const Place& at) {
        if (layer.kind != "global_average") return;
        const std::pair<const char*, bool> fields[] = {{"window", layer.window != LayerSpec().window},
                                                       {"stride", layer.stride.has_value()},
                                                       {"pad", layer.pad.has_value()}};
        for (const auto& [name, said] : fields)
          if (said) (at / name).mistake("is for kind max or average, and the kind is global_average");
      }});
  return type;
}

}  // namespace

Type<std::vector<LayerSpec>> layer_list() { return list_of(layer_type(), {1, 1000}); }

}  // namespace espalier
