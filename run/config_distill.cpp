// The declaration of what a train stage learns from a teacher.
#include <algorithm>

#include "espalier/run/config_parts.h"

namespace espalier {

using namespace schema;

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
           "weight temperature^2 KL(teacher || network)")},
      {.exactly_one = {{"teacher", "teacher_stage"}}});
}

void check_teacher_stages(const std::vector<StageConfig>& stages, const Place& at) {
  Names before;
  for (size_t i = 0; i < stages.size(); before.push_back(stages[i++].name)) {
    const auto& train = stages[i].train;
    if (!train || !train->distill || !train->distill->teacher_stage) continue;
    const std::string& name = *train->distill->teacher_stage;
    const Place named = at / i / "train" / "distill" / "teacher_stage";
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
