// The declaration of what a train stage learns from a teacher.
#include <algorithm>

#include "espalier/nn/names.h"
#include "espalier/run/config_parts.h"

namespace espalier {

using namespace schema;

namespace {

Type<FeatureConfig> feature_type() {
  return object<FeatureConfig>(
      {field("student", &FeatureConfig::student, text(),
             "a layer of this network, or what several lie under, as layer2: what the last op with weights "
             "of that "
             "name puts out")
           .required(),
       field("teacher", &FeatureConfig::teacher, text(),
             "the same of the teacher; without it, of the same name"),
       field("weight", &FeatureConfig::weight, number(positive), "what the mean squared difference counts")},
      {.check = [](const FeatureConfig& f, const Place& at) {
        const auto check = [&](const char* name, const std::string& layer) {
          if (is_pattern(layer))
            (at / name).mistake("found ", in_words(Json(layer)), ", expected one name, without * and ?");
        };
        check("student", f.student);
        if (f.teacher) check("teacher", *f.teacher);
      }});
}

}  // namespace

Type<DistillConfig> distill_type() {
  return object<DistillConfig>(
      {field("teacher", &DistillConfig::teacher, path(),
             "a trained network of the same images and classes: a model or checkpoint of a run, a cut one, "
             "too, "
             "or what a program has saved"),
       field("teacher_stage", &DistillConfig::teacher_stage, text(),
             "an earlier stage of this run, whose last weights are the teacher's"),
       field("temperature", &DistillConfig::temperature, number(positive),
             "what the logits of both are divided by before their softmax: above 1 the teacher's small "
             "probabilities count for more"),
       field(
           "weight", &DistillConfig::weight, number(share),
           "share of the loss that the teacher's answers have; the labels have the rest: (1 - weight) loss + "
           "weight temperature^2 KL(teacher || network)"),
       field("features", &DistillConfig::features, list_of(feature_type()),
             "layers of both networks whose outputs are to be alike: each adds its mean squared difference "
             "to the "
             "loss, after a learned 1x1 map where widths differ, which is gone after the stage")},
      {.exactly_one = {{"teacher", "teacher_stage"}}});
}

void check_teacher_stages(const Config& config, const Place& at) {
  const std::vector<StageConfig>& stages = config.stages;
  Names before;
  for (size_t i = 0; i < stages.size(); before.push_back(stages[i++].name)) {
    const auto& train = stages[i].train;
    if (!train || !train->distill || !train->distill->teacher_stage) continue;
    const std::string& name = *train->distill->teacher_stage;
    const Place named = place_of_stage(config, i, at) / "train" / "distill" / "teacher_stage";
    if (!named.is_sound() || holds(before, name)) continue;
    const std::string earlier = before.empty() ? ", expected an earlier stage, and there is none"
                                               : ", expected an earlier stage" + suggest(name, before);
    const bool is_there = std::ranges::any_of(stages, [&](const StageConfig& s) { return s.name == name; });
    if (!is_there)
      named.mistake("found ", in_words(Json(name)), earlier);
    else if (name == stages[i].name)
      named.mistake("found \"", name, "\", which is this stage itself", earlier);
    else
      named.mistake("found \"", name, "\", which comes later", earlier);
  }
}

}  // namespace espalier
