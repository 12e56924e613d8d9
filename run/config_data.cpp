// The declarations of the network and the data.
#include "espalier/config/extra_fields.h"
#include "espalier/nn/init.h"
#include "espalier/run/config_parts.h"
#include "espalier/util/spelling.h"

namespace espalier {

using namespace schema;

namespace {

Type<Shape> image_shape() {
  const auto sizes = list_of(whole(1, 65536), {3, 3});
  return {sizes,
          [=](const Json& json, const Place& at) {
            const std::vector<int64_t> values = sizes.read(json, at);
            return at.is_sound() ? Shape(std::span<const int64_t>(values)) : Shape{1, 1, 1};
          },
          [](const Shape& shape) {  // nothing where a file says it
            if (shape.axes() == 0) return Json();
            return Json(std::vector<int64_t>(shape.sizes().begin(), shape.sizes().end()));
          }};
}

void catalogue_defaults(ModelConfig& model) {
  const ModelInfo* info = models().find(model.type);
  if (!info) return;
  model.input = info->input;
  model.classes = 0;
  model.extra = model.extra.with_defaults(info->extra, info->name);
}

/// Absent, it is what the data set has.
Field<ModelConfig> classes_field() {
  return {"classes",
          "outputs of the last layer; without it, as many as the data set has classes; where data are "
          "synthetic, as many as `espalier help models` says",
          whole(1, 1'000'000),
          [read = whole(1, 1'000'000).read](const Json& json, const Place& at, ModelConfig& model) {
            model.classes = read(json, at);
          },
          [](const ModelConfig& model) { return model.classes > 0 ? Json(model.classes) : Json(); }};
}

Type<NormalizeConfig> normalize_type() {
  const Length channels = {.from = 1, .to = 65536};
  return object<NormalizeConfig>(
      {field("mean", &NormalizeConfig::mean, list_of(number({}), channels), "subtracted, a value per channel")
           .required(),
       field("std", &NormalizeConfig::std, list_of(number(positive), channels),
             "divided by, a value per channel")
           .required()},
      {.check = [](const NormalizeConfig& n, const Place& at) {
        if (n.std.size() != n.mean.size()) {
          (at / "std")
              .fail("found ", n.std.size(), " values, expected as many as in 'mean': ", n.mean.size());
        }
      }});
}

/// Two numbers, the second not below the first.
Type<std::vector<double>> interval(const Bounds& range) {
  const auto two = list_of(number(range), {2, 2});
  return {two,
          [=](const Json& json, const Place& at) {
            const std::vector<double> ends = two.read(json, at);
            if (at.is_sound() && ends[1] < ends[0])
              (at / 1).fail("found ", ends[1], ", expected at least the number before it: ", ends[0]);
            return ends;
          },
          two.write};
}

Type<Augmentation> augmentation_type() {
  return object<Augmentation>(
      {field("type", &Augmentation::type,
             one_of({"crop", "flip", "cutout", "random_resized_crop", "color_jitter", "mixup"}),
             "what is done to a training image")
           .required(),
       field("pad", &Augmentation::pad, whole(1, 65536), "pixels added on each side before a part is taken")
           .required()
           .only_for({"crop"}),
       field("fill", &Augmentation::fill, one_of({"zero", "reflect"}),
             "what the added pixels are: black, whatever data.normalize, or the image reflected")
           .only_for({"crop"}),
       field("probability", &Augmentation::probability, number(share), "share of images that are mirrored")
           .only_for({"flip"}),
       field("size", &Augmentation::size, whole(1, 65536),
             "pixels a side of the square that becomes the mean")
           .required()
           .only_for({"cutout"}),
       field("scale", &Augmentation::scale, interval({.above = 0, .to = 1}),
             "smallest and largest share of the area")
           .only_for({"random_resized_crop"}),
       field("ratio", &Augmentation::ratio, interval({.from = 0.01, .to = 100}),
             "smallest and largest width / height")
           .only_for({"random_resized_crop"}),
       field("brightness", &Augmentation::brightness, number(not_negative),
             "a: the factor is drawn from max(0, 1 - a) to 1 + a")
           .only_for({"color_jitter"}),
       field("contrast", &Augmentation::contrast, number(not_negative), "the same")
           .only_for({"color_jitter"}),
       field("saturation", &Augmentation::saturation, number(not_negative), "the same; only for 3 channels")
           .only_for({"color_jitter"}),
       field("alpha", &Augmentation::alpha, number({.from = 0.01, .to = 100}),
             "shares of the two images are drawn from Beta(alpha, alpha)")
           .required()
           .only_for({"mixup"})});
}

bool needs_path(const DatasetInfo& info) { return info.reads_files() && info.folder.empty(); }

std::string path_help() {
  Names folders;
  for (const DatasetInfo& info : datasets())
    if (info.reads_files() && !needs_path(info)) folders.push_back(info.folder);
  const Names no_archives = datasets().names_where(
                  [](const DatasetInfo&info) { return info.reads_files() && !info.reads_archives; }),
              needing = datasets().names_where(needs_path);
  return join("folder or archive (.tar, .tar.gz, .tar.xz; not for ", enumerated(no_archives, " or "),
              "), relative to the root; without it, ", enumerated(folders, " or "), "; ",
              enumerated(needing, " and "), needing.size() == 1 ? " needs one" : " need one");
}

}  // namespace

int64_t declared_classes(const ModelConfig& model, const DataConfig& data) {
  if (!datasets().find(data.type)) return 0;
  const ModelInfo* info = models().find(model.type);
  return known_classes({data, "", model.input, info ? info->classes : 0});
}

Type<ModelConfig> model_type() {
  const auto with = [](const char* option) { return models().names_with(option); };
  const std::vector<Field<ModelConfig>> fields = {
      field("type", &ModelConfig::type, one_of(models().names()),
            "see `espalier help models`; 'weights' of a run's file say it, too")
          .required(),
      field("input", &ModelConfig::input, image_shape(), "height, width and channels of an image"),
      classes_field(),
      field("hidden", &ModelConfig::hidden, list_of(whole(1, 1'000'000), {0, 100}),
            "widths of the hidden layers")
          .only_for(with("hidden")),
      field("width", &ModelConfig::width, number({.from = 0.01, .to = 100}), "factor on every hidden width"),
      field("activation", &ModelConfig::activation, one_of({"relu", "gelu"}), "between layers"),
      field("init", &ModelConfig::init, one_of(init_rules().names()),
            "rule by which weights are initialised; `espalier help init` describes each"),
      field("pool", &ModelConfig::pool, one_of({"max", "average"}), "how images are made smaller")
          .only_for(with("pool")),
      field("batch_norm", &ModelConfig::batch_norm, boolean(), "a norm after each convolution")
          .only_for(with("batch_norm")),
      field("stem", &ModelConfig::stem, one_of({"small", "imagenet"}),
            "how it begins: with fewer strides than published for photographs (a ResNet with 3x3, not with "
            "7x7 "
            "by stride 2 and pooling), or as published; without it, small where a side has under 64 pixels")
          .only_for(with("stem")),
      field("patch", &ModelConfig::patch, whole(1, 1024), "pixels of a patch's side").only_for(with("patch")),
      field("dim", &ModelConfig::dim, whole(1, 65'536), "channels of a token; a multiple of heads")
          .only_for(with("dim")),
      field("depth", &ModelConfig::depth, whole(1, 1000), "blocks").only_for(with("depth")),
      field("heads", &ModelConfig::heads, whole(1, 1024), "heads of attention in each block")
          .only_for(with("heads")),
      field("mlp_ratio", &ModelConfig::mlp_ratio, number({.from = 0.01, .to = 100}),
            "hidden units of a block, in channels of a token")
          .only_for(with("mlp_ratio")),
      field("layers", &ModelConfig::layers, layer_list(),
            "the network's layers, one after another: docs/layers.md")
          .required()
          .only_for(with("layers")),
      field("file", &ModelConfig::file, path(),
            "what describes the network: a graph as JSON, or a file of weights that holds one; it says input "
            "and classes, too")
          .only_for(with("file")),
      field("weights", &ModelConfig::weights, path(),
            "a safetensors file to start from, relative to the working directory; a file of Espalier's "
            "gives the other fields, too, where there is no 'type', the channels that were cut and the "
            "masks that hold zeros"),
      field("hold_zeros", &ModelConfig::hold_zeros, boolean(),
            "mask all zeros among the weights that are read, so that training keeps them at 0; false: none, "
            "not even those that the file's masks hold; where it is not said, the file's masks are kept and "
            "other zeros warned of"),
      field(
          "skip", &ModelConfig::skip, list_of(text()),
          "names of layers that are not read from 'weights' but start afresh, or of what they lie under, as "
          "in prune's include: the last one, say, for data of other classes")};
  return object<ModelConfig>(
      with_extra_fields(fields, models(), &ModelConfig::extra),
      {.defaults = catalogue_defaults, .check = [](const ModelConfig& m, const Place& at) {
         if ((m.type == "graph" || m.type == "onnx") && !m.file)
           (at / "file").fail("missing, expected the file that describes the network");
         if (m.type == "layers" && m.input.axes() == 0)
           (at / "input").mistake("missing, expected height, width and channels of an image");
         if (m.hold_zeros && !m.weights)
           (at / "hold_zeros").fail("is for weights that are read, which 'weights' names");
         if (m.skip && !m.weights) (at / "skip").fail("is for weights that are read, which 'weights' names");
       }});
}

Type<DataConfig> data_type() {
  const auto with = [](const char* option) { return datasets().names_with(option); };
  const std::vector<Field<DataConfig>> fields = {
      field("type", &DataConfig::type, one_of(datasets().names()),
            "the data set; `espalier help data` describes them all")
          .required(),
      field("root", &DataConfig::root, path(),
            "folder of data sets; without it, that of --data, of ESPALIER_DATA, or data")
          .only_for(with("root")),
      field("path", &DataConfig::path, path(), path_help()).only_for(with("path")),
      field("labels", &DataConfig::labels, one_of({"fine", "coarse"}), "100 classes, or 20 groups of them")
          .only_for(with("labels")),
      field("remap", &DataConfig::remap, boolean(),
            "number the labels that are present 0..k-1, for files that hold a part of the classes")
          .only_for(with("remap")),
      field("skip_corrupt", &DataConfig::skip_corrupt, boolean(),
            "leave out images that cannot be decoded, and say how many and which")
          .only_for(with("skip_corrupt")),
      field(
          "alpha", &DataConfig::alpha, one_of({"drop", "white"}),
          "what becomes of images' transparency: their colours are taken as they are, or blended over white")
          .only_for(with("alpha")),
      field("cache", &DataConfig::cache, boolean(),
            "keep the decoded images for the next run, in $XDG_CACHE_HOME/espalier or ~/.cache/espalier")
          .only_for(with("cache")),
      field("train_images", &DataConfig::train_images, whole(1), "how many are drawn to train on")
          .only_for(with("train_images")),
      field("test_images", &DataConfig::test_images, whole(1), "and to test").only_for(with("test_images")),
      field("batch", &DataConfig::batch, whole(1), "images in a step; of more than there are, all"),
      field("shuffle", &DataConfig::shuffle, boolean(), "a new order each epoch, drawn from the seed"),
      field("drop_last", &DataConfig::drop_last, boolean(),
            "leave out what fills no batch at an epoch's end; another order leaves out other images, "
            "and a set smaller than a batch is one batch all the same"),
      field("augment", &DataConfig::augment, list_of(augmentation_type(), {0, 100}),
            "what is done to training images, in this order, before they are normalised"),
      field("normalize", &DataConfig::normalize, normalize_type(),
            "on pixels in 0..1; without it, pixels stay in 0..1"),
      field("validation", &DataConfig::validation, number(share_below_1),
            "share of the training images that is held out; without it, none, and val/ beside test/ of an "
            "image_folder is the validation split, which 0 leaves out")};
  Type<DataConfig> type = object<DataConfig>(
      with_extra_fields(fields, datasets(), &DataConfig::extra),
      {.defaults =
           [](DataConfig& d) {
             if (const DatasetInfo* info = datasets().find(d.type))
               d.extra = d.extra.with_defaults(info->extra, info->name);
           },
       .check =
           [](const DataConfig& d, const Place& at) {
             const DatasetInfo& info = datasets().named(d.type);
             if (needs_path(info) && !d.path)
               (at / "path")
                   .fail("missing, expected the folder ", info.reads_archives ? "or archive " : "", "that ",
                         info.name, " reads");
           }});
  type.read = [read = type.read](const Json& json, const Place& at) {
    DataConfig data = read(json, at);
    const DatasetInfo* info = datasets().find(data.type);
    if (!data.validation && !(info && info->has_validation)) data.validation = 0;
    return data;
  };
  return type;
}

}  // namespace espalier
