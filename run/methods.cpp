#include "espalier/run/methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// Train stages of the examples; `with`: further fields of the stage, "\"prune\": {...}".
std::string trained(const char* name, int64_t epochs, const std::string& optimizer, const std::string& with) {
  return fmt::format(R"({{"name": "{}", "train": {{"epochs": {}, "optimizer": {}{}{}}}}})", name, epochs,
                     optimizer, with.empty() ? "" : ", ", with);
}
/// Of digits: minutes on a CPU.
std::string digits(const char* name, int64_t epochs, const std::string& with = "") {
  return trained(name, epochs, R"({"type": "adam", "lr": 0.001})", with);
}
/// Of colour images.
std::string images(const char* name, int64_t epochs, double lr, const std::string& with = "") {
  return trained(
      name, epochs,
      fmt::format(R"({{"type": "sgd", "lr": {}, "momentum": 0.9, "nesterov": true, "weight_decay": 5e-4}})",
                  lr),
      R"("schedule": {"type": "cosine"})" + (with.empty() ? "" : ", " + with));
}
std::string pruned(const std::string& by, const char* name = "pruned") {
  return fmt::format(R"({{"name": "{}", "prune": {}}})", name, by);
}
template <class... Stages>
std::string list(const Stages&... stages) {
  std::string text;
  ((text += (text.empty() ? "[" : ", ") + std::string(stages)), ...);
  return text + "]";
}

const char* const resnet = "resnet20";

std::vector<MethodInfo> rows() {
  return {
      // --- weights, at once ---
      {.name = "one_shot_magnitude",
       .help = "the smallest weights of all layers go at once, and the rest trains on",
       .paper = "Janowsky: Pruning versus clipping in neural networks, Physical Review A, 1989",
       .stages = list(digits("dense", 10),
                      pruned(R"({"unit": "weight", "criterion": "l1", "scope": "global", "sparsity": 0.9})"),
                      digits("tuned", 5))},
      {.name = "l1_magnitude",
       .help = "an L1 penalty makes weights small while they train, those below a threshold go",
       .paper =
           "Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, "
           "NIPS 2015",
       .stages =
           list(digits("dense", 10, R"("regularize": {"type": "l1", "weight": 1e-5})"),
                pruned(R"({"unit": "weight", "criterion": "l1", "scope": "global", "threshold": 0.01})"),
                digits("tuned", 5))},
      {.name = "l1_proximal",
       .help =
           "a step towards zero after each makes weights exactly zero while they train, and those are held",
       .paper = "Yang, Yuan, Chatzinotas, Ottersten: ProxSGD: Training Structured Neural Networks under "
                "Regularization and Constraints, ICLR 2020",
       .stages =
           list(digits("dense", 10, R"("regularize": {"type": "l1_proximal", "weight": 0.05})"),
                pruned(R"({"unit": "weight", "criterion": "l1", "scope": "global", "threshold": 1e-12})"),
                digits("tuned", 5))},
      {.name = "lamp",
       .help = "the smallest weights by their share of what is left of their layer go at once",
       .paper =
           "Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021",
       .stages =
           list(digits("dense", 10),
                pruned(R"({"unit": "weight", "criterion": "lamp", "scope": "global", "sparsity": 0.95})"),
                digits("tuned", 5))},
      {.name = "random",
       .help = "weights go by chance before any training, the same share of each layer: the baseline",
       .paper = "Liu, Chen, Chen, Shen, Mocanu, Wang, Pechenizkiy: The Unreasonable Effectiveness of Random "
                "Pruning, ICLR 2022",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "random", "scope": "layer", "sparsity": 0.8})"),
                digits("sparse", 10))},
      {.name = "n_of_m",
       .help = "2 of each 4 weights in a row go, which some cards multiply twice as fast",
       .paper =
           "Mishra, Latorre, Pool, Stosic, Stosic, Venkatesh, Yu, Micikevicius: Accelerating Sparse Deep "
           "Neural Networks, 2021",
       .stages = list(digits("dense", 10), pruned(R"({"unit": "2:4", "criterion": "l1", "scope": "global"})"),
                      digits("tuned", 10))},
      {.name = "kernel_magnitude",
       .help = "complete kernels go, by the sum of their magnitudes",
       .paper =
           "Mao, Han, Pool, Li, Liu, Wang, Dally: Exploring the Granularity of Sparsity in Convolutional "
           "Neural Networks, CVPR workshops 2017",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1),
                      pruned(R"({"unit": "kernel", "criterion": "l1", "scope": "layer", "sparsity": 0.4})"),
                      images("tuned", 10, 0.01))},

      // --- weights, step by step ---
      {.name = "iterative_magnitude",
       .help = "more of the smallest weights of each layer go in each round, with training after it",
       .paper =
           "Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, "
           "NIPS 2015",
       .stages = list(
           digits("dense", 10),
           pruned(R"({"unit": "weight", "criterion": "l1", "scope": "layer", "sparsity": 0.6})", "pruned1"),
           digits("tuned1", 5),
           pruned(R"({"unit": "weight", "criterion": "l1", "scope": "layer", "sparsity": 0.84})", "pruned2"),
           digits("tuned2", 5),
           pruned(R"({"unit": "weight", "criterion": "l1", "scope": "layer", "sparsity": 0.92})", "pruned3"),
           digits("tuned3", 5))},
      {.name = "obd",
       .help = "the weights whose loss, by the curvature's diagonal, costs least go, in rounds",
       .paper = "LeCun, Denker, Solla: Optimal Brain Damage, NIPS 1989",
       .stages = list(
           digits("dense", 10),
           pruned(R"({"unit": "weight", "criterion": "obd", "scope": "global", "sparsity": 0.6})", "pruned1"),
           digits("tuned1", 5),
           pruned(R"({"unit": "weight", "criterion": "obd", "scope": "global", "sparsity": 0.84})",
                  "pruned2"),
           digits("tuned2", 5))},
      {.name = "gradual_magnitude",
       .help = "the smallest weights go while the network trains, many early and few late",
       .paper = "Zhu, Gupta: To prune, or not to prune: exploring the efficacy of pruning for model "
                "compression, ICLR 2018 workshop",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.95, "schedule":
           {"type": "cubic", "in": "share", "begin": 0, "end": 0.7, "every": 0.01}})"))},
      {.name = "iterative_fine_tuning",
       .help = "the same share of what is left goes again and again, with training in between",
       .paper = "Renda, Frankle, Carbin: Comparing Rewinding and Fine-tuning in Neural Network Pruning, "
                "ICLR 2020",
       .stages = list(digits("dense", 5), digits("gradual", 20, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.99, "schedule":
           {"type": "exponential", "in": "share", "begin": 0, "end": 0.8, "every": 0.05}})"))},
      {.name = "cosine_magnitude",
       .help =
           "gradual_magnitude along half a cosine, slow at both ends, as the drop rate of the paper falls",
       .paper = "Dettmers, Zettlemoyer: Sparse Networks from Scratch, 2019",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.95, "schedule":
           {"type": "cosine", "in": "share", "begin": 0, "end": 0.7, "every": 0.01}})"))},
      {.name = "block_sparse",
       .help =
           "blocks of 4 outputs of one input go while the network trains: few enough numbers to find fast",
       .paper = "Elsen, Dukhan, Gale, Simonyan: Fast Sparse ConvNets, CVPR 2020",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "block",
           "block": [4, 1], "criterion": "l1", "scope": "layer", "sparsity": 0.8, "schedule":
           {"type": "cubic", "in": "share", "begin": 0, "end": 0.7, "every": 0.01}})"))},
      {.name = "dense_sparse_dense",
       .help = "half of the weights are held at 0 for a while, then all train again: for accuracy",
       .paper = "Han, Pool, Narang, Mao, Gong, Tang, Elsen, Vajda, Paluri, Tran, Catanzaro, Dally: DSD: "
                "Dense-Sparse-Dense Training for Deep Neural Networks, ICLR 2017",
       .stages = list(digits("dense", 10), digits("sparse", 5, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.5, "remove": true,
           "schedule": {"type": "one_shot"}})"),
                      digits("redense", 5))},

      // --- weights, before training ---
      {.name = "snip",
       .help = "the weights that the loss of a first batch feels least go, and the rest trains",
       .paper = "Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity, "
                "ICLR 2019",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "snip", "scope": "global", "sparsity": 0.95})"),
                digits("sparse", 15))},
      {.name = "grasp",
       .help = "the weights without which the loss falls fastest go, and the rest trains",
       .paper = "Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow, "
                "ICLR 2020",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "grasp", "scope": "global", "sparsity": 0.95})"),
                digits("sparse", 15))},
      {.name = "synflow",
       .help = "the weights that carry least of a flow of ones go in a hundred steps, without any data",
       .paper = "Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively "
                "conserving synaptic flow, NeurIPS 2020",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "synflow", "scope": "global", "sparsity": 0.95})"),
                digits("sparse", 15))},
      {.name = "movement",
       .help = "the weights that fine-tuning moves towards zero go, along a schedule",
       .paper = "Sanh, Wolf, Rush: Movement Pruning: Adaptive Sparsity by Fine-Tuning, NeurIPS 2020",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "movement", "scope": "global", "sparsity": 0.9, "schedule":
           {"type": "cubic", "in": "share", "begin": 0.1, "end": 0.7, "every": 0.01}})"))},

      // --- weights, after training, and without any more of it ---
      {.name = "woodfisher",
       .help = "the weights that cost least by the Fisher information go, and others make up for them",
       .paper = "Singh, Alistarh: WoodFisher: Efficient Second-Order Approximation for Neural Network "
                "Compression, NeurIPS 2020",
       .stages = list(digits("dense", 10),
                      pruned(R"({"unit": "weight", "criterion": {"type": "woodfisher", "block_size": 50},
           "scope": "global", "sparsity": 0.9})"))},
      {.name = "wanda",
       .help = "of each output the weights whose products with their inputs are smallest go, the same share",
       .paper = "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models, "
                "ICLR 2024",
       .stages =
           list(digits("dense", 10),
                pruned(R"({"unit": "weight", "criterion": "wanda", "scope": "output", "sparsity": 0.7})"))},
      {.name = "sparsegpt",
       .help = "column by column weights go, and those after them keep what their layer puts out",
       .paper = "Frantar, Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, "
                "ICML 2023",
       .stages = list(digits("dense", 10),
                      pruned(R"({"unit": "2:4", "criterion": "sparsegpt", "scope": "global"})"))},

      // --- weights, masks that move while the network trains ---
      {.name = "set",
       .help = "a random sparse network trains; again and again its smallest weights go and others come at "
               "random",
       .paper =
           "Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta: Scalable training of artificial neural networks "
           "with adaptive sparse connectivity inspired by network science, Nature Communications 2018",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "random", "scope": "erk", "sparsity": 0.95})"),
                digits("moving", 15, R"("regrow": {"type": "set", "in": "share", "every": 0.01})"))},
      {.name = "rigl",
       .help = "as set, and those come whose gradient is largest",
       .paper =
           "Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners, ICML 2020",
       .stages =
           list(pruned(R"({"unit": "weight", "criterion": "random", "scope": "erk", "sparsity": 0.95})"),
                digits("moving", 15, R"("regrow": {"type": "rigl", "in": "share", "every": 0.01})"))},
      {.name = "sparse_momentum",
       .help = "as set, and those come whose gradient is largest on average, most where weights move most",
       .paper = "Dettmers, Zettlemoyer: Sparse Networks from Scratch: Faster Training without Losing "
                "Performance, 2019",
       .stages = list(
           pruned(R"({"unit": "weight", "criterion": "random", "scope": "layer", "sparsity": 0.95})"),
           digits("moving", 15, R"("regrow": {"type": "sparse_momentum", "in": "share", "every": 0.05})"))},
      {.name = "granet",
       .help = "weights go along a schedule, and at each step some more, for which others come back",
       .paper = "Liu, Chen, Chen, Atashgahi, Yin, Kou, Shen, Pechenizkiy, Wang, Mocanu: Sparse Training via "
                "Boosting Pruning Plasticity with Neuroregeneration, NeurIPS 2021",
       .stages = list(digits("gradual", 20, R"("prune": {"unit": "weight", "criterion": "l1",
           "scope": "layer", "sparsity": 0.95, "schedule": {"type": "cubic", "in": "share", "begin": 0,
           "end": 0.7, "every": 0.01}}, "regrow": {"type": "rigl", "in": "share", "every": 0.01, "end": 0.7})"))},
      {.name = "straight_through",
       .help = "all weights train, and the network computes with the largest of them",
       .paper = "Lin, Stich, Barba, Dmitriev, Jaggi: Dynamic Model Pruning with Feedback, ICLR 2020",
       .stages = list(digits("masked", 15, R"("prune": {"unit": "weight", "criterion": "l1",
           "scope": "layer", "sparsity": 0.9, "schedule": {"type": "one_shot"}},
           "regrow": {"type": "straight_through"})"))},
      {.name = "top_kast",
       .help = "the largest weights compute, and those and the next largest train",
       .paper =
           "Jayakumar, Pascanu, Rae, Osindero, Elsen: Top-KAST: Top-K Always Sparse Training, NeurIPS 2020",
       .stages = list(digits("masked", 15, R"("prune": {"unit": "weight", "criterion": "l1",
           "scope": "layer", "sparsity": 0.9, "schedule": {"type": "one_shot"}},
           "regrow": {"type": "top_kast", "backward_sparsity": 0.5, "in": "share", "every": 0.01})"))},
      {.name = "acdc",
       .help = "the network trains dense and sparse by turns, and sparse in the end",
       .paper =
           "Peste, Iofinova, Vladu, Alistarh: AC/DC: Alternating Compressed/DeCompressed Training of Deep "
           "Neural Networks, NeurIPS 2021",
       .stages = list(digits("alternating", 20, R"("prune": {"unit": "weight", "criterion": "l1",
           "scope": "global", "sparsity": 0.9, "schedule": {"type": "alternating", "in": "share",
           "begin": 0.1, "end": 0.9, "every": 0.1}})"))},
      {.name = "soft_filter_pruning",
       .help = "filters become 0 after each epoch and may come back, until the last time",
       .paper = "He, Kang, Dong, Fu, Yang: Soft Filter Pruning for Accelerating Deep Convolutional Neural "
                "Networks, IJCAI 2018",
       .model = resnet,
       .stages = list(images("soft", 40, 0.1, R"("prune": {"unit": "filter", "criterion": "l2",
           "scope": "layer", "sparsity": 0.3, "hold": false, "schedule": {"type": "linear", "in": "share",
           "initial": 0.3, "begin": 0, "every": 0.025}})"))},
      {.name = "lottery_ticket",
       .help = "what is left of a trained network goes back to its first weights, and trains again",
       .paper = "Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks, "
                "ICLR 2019",
       .stages = list(R"({"name": "first", "evaluate": {}})", digits("dense", 10),
                      pruned(R"({"unit": "weight", "criterion": "l1", "scope": "layer", "sparsity": 0.9,
           "rewind": "first"})"),
                      digits("ticket", 10))},
      {.name = "geometric_magnitude",
       .help = "as gradual_magnitude, and each time the same share of what is left goes",
       .paper = "Kozlov, Lazarevich, Shamporov, Lyalyushkin, Gorbachev: Neural Network Compression Framework "
                "for fast model inference, 2020",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.95, "schedule":
           {"type": "geometric", "in": "share", "begin": 0, "end": 0.7, "every": 0.01}})"))},
      {.name = "stepwise_magnitude",
       .help = "the smallest weights go at a few steps, by a table of sparsities",
       .paper =
           "Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, "
           "NIPS 2015",
       .stages = list(digits("dense", 5), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "uniform_plus", "sparsity": 0.92, "schedule": {"type": "table", "in": "share",
           "table": [[0, 0.6], [0.3, 0.84], [0.6, 0.92]]}})"))},
      {.name = "distillation",
       .help = "what is pruned learns from the answers of the network that it was, too",
       .paper = "Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, NIPS workshop 2014",
       .stages = list(digits("dense", 10), digits("gradual", 15, R"("prune": {"unit": "weight",
           "criterion": "l1", "scope": "layer", "sparsity": 0.95, "schedule":
           {"type": "cubic", "in": "share", "begin": 0, "end": 0.7, "every": 0.01}},
           "distill": {"teacher_stage": "dense", "temperature": 4, "weight": 0.9})"))},

      // --- channels ---
      {.name = "filter_l1",
       .help = "filters whose magnitudes have the smallest sums are cut, the same share of each layer",
       .paper = "Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, ICLR 2017",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1), pruned(R"({"unit": "channel", "criterion": "l1",
           "reduction": "first", "scope": "layer", "ratio": 0.3})"),
                      images("tuned", 20, 0.01))},
      {.name = "fpgm",
       .help = "filters near the middle of their layer's, which others can stand for, are cut",
       .paper = "He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional Neural "
                "Networks Acceleration, CVPR 2019",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1),
                      pruned(R"({"unit": "channel", "criterion": "fpgm", "scope": "layer", "ratio": 0.3})"),
                      images("tuned", 20, 0.01))},
      {.name = "network_slimming",
       .help = "a penalty pushes the scales of batch norms to 0, channels with the smallest are cut",
       .paper = "Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network "
                "Slimming, ICCV 2017",
       .model = resnet,
       .stages =
           list(images("dense", 40, 0.1, R"("regularize": {"type": "bn_scale", "weight": 1e-4})"),
                pruned(R"({"unit": "channel", "criterion": "bn_scale", "scope": "global", "ratio": 0.4})"),
                images("tuned", 20, 0.01))},
      {.name = "ssl",
       .help = "a group lasso pushes complete channels to 0, those with the smallest norms are cut",
       .paper = "Wen, Wu, Wang, Chen, Li: Learning Structured Sparsity in Deep Neural Networks, NIPS 2016",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1),
                      images("sparse", 20, 0.01, R"("regularize": {"type": "group_lasso", "weight": 5e-4})"),
                      pruned(R"({"unit": "channel", "criterion": "l2", "scope": "global", "speedup": 2})"),
                      images("tuned", 20, 0.01))},
      {.name = "depgraph",
       .help = "coupled channels are pulled to 0, the weakest hardest, and cut by what their groups weigh",
       .paper = "Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023",
       .model = resnet,
       .stages =
           list(images("dense", 40, 0.1),
                images("sparse", 20, 0.01, R"("regularize": {"type": "group_norm", "weight": 5e-4})"),
                pruned(R"({"unit": "channel", "criterion": "group_norm", "scope": "global", "speedup": 2})"),
                images("tuned", 20, 0.01))},
      {.name = "isomorphic",
       .help = "channels are ranked only against those of layers that are alike, by the loss's change",
       .paper = "Fang, Ma, Mi, Wang: Isomorphic Pruning for Vision Models, ECCV 2024",
       .model = resnet,
       .stages =
           list(images("dense", 40, 0.1),
                pruned(R"({"unit": "channel", "criterion": "taylor", "scope": "isomorphic", "speedup": 2})"),
                images("tuned", 20, 0.01))},
      {.name = "taylor",
       .help = "a few channels are cut again and again while the network trains, by the loss's change",
       .paper = "Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning, "
                "CVPR 2019",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1), images("gradual", 20, 0.01, R"("prune": {"unit": "channel",
           "criterion": "taylor", "scope": "global", "speedup": 2, "schedule":
           {"type": "linear", "in": "share", "begin": 0, "end": 0.5, "every": 0.02}})"))},
      {.name = "greg1",
       .help = "a growing L2 penalty pushes the smallest channels of each layer out before they are cut",
       .paper = "Wang, Qin, Zhang, Fu: Neural Pruning via Growing Regularization, ICLR 2021",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1), images("growing", 40, 0.01, R"("regularize":
           {"type": "greg1", "ratio": 0.4, "growth": 4e-4, "every": 5})"),
                      pruned(R"({"unit": "channel", "criterion": "l1", "scope": "layer", "ratio": 0.4})"),
                      images("tuned", 20, 0.01))},
      {.name = "greg2",
       .help = "the same, but for channels that a growing L2 penalty on all of them has shown to be weak",
       .paper = "Wang, Qin, Zhang, Fu: Neural Pruning via Growing Regularization, ICLR 2021",
       .model = resnet,
       .stages = list(images("dense", 40, 0.1), images("growing", 40, 0.01, R"("regularize":
           {"type": "greg2", "ratio": 0.4, "growth": 4e-4, "every": 5})"),
                      pruned(R"({"unit": "channel", "criterion": "l1", "scope": "layer", "ratio": 0.4})"),
                      images("tuned", 20, 0.01))},
  };
}

// --- What a method is made of ---

/// How a network trains, and what a stage is called: no piece of a method.
bool is_no_piece(const std::string& field, bool of_a_pruner) {
  if (field == "name" || field == "optimizer" || field == "evaluate") return true;
  return field == "schedule" && !of_a_pruner;
}

/// "criterion l1" of {"criterion": "l1"}, "schedule cubic" of {"schedule": {"type": "cubic"}}, "remove" of
/// {"remove": true}; empty for numbers, lists and what is off.
std::string piece(const std::string& field, const Json& value) {
  if (value.is_string()) return field + " " + value.get<std::string>();
  if (value.is_object())
    return field + (value.contains("type") ? " " + value["type"].get<std::string>() : "");
  return value == true ? field : "";
}

void add_pieces(const Json& object, bool of_a_pruner, std::vector<std::string>& found) {
  for (const auto& [field, value] : object.items()) {
    if (is_no_piece(field, of_a_pruner)) continue;
    if (field == "train" || field == "prune") {
      add_pieces(value, field == "prune", found);
      continue;
    }
    const std::string one = piece(field, value);
    if (!one.empty() && std::ranges::find(found, one) == found.end()) found.push_back(one);
  }
}

}  // namespace

Registry<MethodInfo>& methods() {
  static Registry<MethodInfo> all("method", rows());
  return all;
}

std::string pieces(const MethodInfo& method) {
  std::vector<std::string> found;
  for (const Json& stage : Json::parse(method.stages)) add_pieces(stage, false, found);
  return enumerated(found);
}

Json method_config(const MethodInfo& method) {
  const bool colour = models().named(method.model).input[2] == 3;
  const char* const data = colour ? R"({"type": "cifar10", "batch": 128,
      "augment": [{"type": "crop", "pad": 4}, {"type": "flip"}],
      "normalize": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]}})"
                                  : R"({"type": "mnist", "batch": 64})";
  return {{"name", method.name},
          {"model", {{"type", method.model}}},
          {"data", Json::parse(data)},
          {"stages", Json::parse(method.stages)}};
}

}  // namespace espalier
