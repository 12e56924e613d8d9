// Every model of the catalogue, narrow and of small images, and models of other options.
#pragma once

#include <string>
#include <vector>

#include "espalier/nn/models/models.h"

namespace espalier {

struct Zoo {
  std::string name;
  ModelOptions options;
};
/// Other options than the catalogue's, and what a config writes down.
inline const Zoo zoo_variants[] = {
    {"mlp_gelu", {.type = "mlp", .input = {4, 4, 1}, .classes = 5, .hidden = {9}, .activation = "gelu"}},
    {"lenet5_average",
     {.type = "lenet5", .input = {16, 16, 3}, .classes = 5, .width = 0.2, .pool = "average"}},
    {"vgg11_plain", {.type = "vgg11", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .batch_norm = false}},
    {"vgg16_gelu", {.type = "vgg16", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .activation = "gelu"}},
    {"resnet18_imagenet",
     {.type = "resnet18", .input = {32, 32, 3}, .classes = 5, .width = 0.1, .stem = "imagenet"}},
    {"layers",
     {.type = "layers",
      .input = {8, 8, 3},
      .classes = 5,
      .layers = {{.type = "conv", .channels = 6},
                 {.type = "norm"},
                 {.type = "activation"},
                 {.type = "residual",
                  .layers = {{.type = "conv", .channels = 6}, {.type = "norm"}},
                  .shortcut = std::vector<LayerSpec>{{.type = "norm"}}},
                 {.type = "concat", .branches = {{}, {{.type = "conv", .channels = 3, .kernel = 1}}}},
                 {.type = "pool"},
                 {.type = "flatten"},
                 {.type = "linear"}}}}};

/// Every model of the catalogue, narrow and of small images, and the variants.
inline std::vector<Zoo> zoo() {
  std::vector<Zoo> all(std::begin(zoo_variants), std::end(zoo_variants));
  for (const ModelInfo& info : models())
    if (info.input.axes() > 0)
      all.push_back({info.name, {.type = info.name, .input = {16, 16, 3}, .classes = 5, .width = 0.15}});
  return all;
}

}  // namespace espalier
