// Distillation in a run: where a train stage finds its teacher, what must hold of it, and what a person is
// told of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/run/config.h"
#include "espalier/run/console.h"
#include "espalier/run/result.h"
#include "espalier/run/run_folder.h"
#include "espalier/train/callback.h"
#include "espalier/train/distilled_loss.h"

namespace espalier {

/// What the config calls a teacher: its file, or the stage.
const std::string& teacher_name(const DistillConfig& distill);
/// The file of its weights, of a run in that folder.
std::filesystem::path teacher_file(const DistillConfig& distill, const RunFolder& folder);

/// UsageError, one line, unless a train stage of the config's can learn from that teacher: its file is there
/// and is of Espalier's, takes and puts out what `model` does, and has the layers whose features it is to
/// show, as `model` has its own. Only the file's header is read. A teacher that is a stage is the config's
/// own network.
void check_teacher(const Config& config, const DistillConfig& distill, Module& model);
/// A mistake for each sound stage, from number `first` on, whose teacher's file calls its classes otherwise
/// than `data`, read from `place`, does (check_classes in build.h).
void check_classes_of_teachers(const Config& config, size_t first, const Dataset& data,
                               const std::string& place, Mistakes& mistakes);
/// Of the stages from number `first` on: a warning for each teacher that was trained on pixels which were
/// normalised otherwise.
std::vector<std::string> warnings_of_teachers(const Config& config, size_t first = 0);
/// UsageError for a run that goes on in stage number `stage` where a teacher's stage is done and its weights
/// are gone.
void check_teachers_left(const Config& config, size_t stage, const RunFolder& folder);

/// The network that the stage's teacher will be, with fresh weights where it is a stage, which will leave the
/// config's model with these cuts.
std::unique_ptr<Module> planned_teacher(const Config& config, const DistillConfig& distill,
                                        const std::vector<AxisCut>& cuts);

/// A train stage's teacher, what it trains besides its network, and what it makes small.
class Distillation {
 public:
  /// Of stage number `stage`, which trains `network`; `own_loss`, which must outlive it as `network` must, is
  /// the stage's own, and `batch` images are in a batch.
  Distillation(const Config& config, size_t stage, Module& network, std::unique_ptr<Module> teacher,
               const Loss& own_loss, int64_t batch);

  Teacher& teacher() { return teacher_; }
  const Loss& loss() const { return loss_; }
  /// Whether the teacher is asked at all.
  bool asks() const { return loss_.asks(); }
  /// Null where there are no features.
  FeatureMaps* maps() { return maps_.get(); }
  /// Of the maps.
  std::vector<Parameter*> parameters() { return maps_ ? maps_->parameters() : std::vector<Parameter*>(); }

 private:
  Teacher teacher_;
  const std::unique_ptr<FeatureMaps> maps_;
  const DistilledLoss loss_;
};

/// The maps of a stage's features, as shapes tell or to be trained; null where it has none.
std::unique_ptr<FeatureMaps> make_maps(const Config& config, size_t stage, Module& network, Module& teacher);

/// Says, as the stage begins, what its teacher is and does on the test set, and as it ends, what part of the
/// time it took.
class DistillCallback : public Callback {
 public:
  /// `input`: one image's shape. All must outlive it.
  DistillCallback(const DistillConfig& config, Distillation& distillation, const Shape& input, Loader& test,
                  Console& console);
  void on_stage_begin(TrainState& state) override;
  /// After a pruner that has cut channels: maps read no more than are left.
  void after_step(TrainState& state) override;
  void on_stage_end(TrainState& state) override;
  std::string name() const override { return "distill"; }
  /// {"seconds", "accuracy", "checksum"}: the time that the teacher has taken, its accuracy, and a checksum
  /// of its weights, so that a stage goes on with the same.
  nlohmann::ordered_json state(const TrainState& state) override;
  /// Error where the teacher is another.
  void restore(const nlohmann::ordered_json& state, const std::string& place) override;
  /// Complete when the stage has ended.
  const TeacherResult& result() const { return result_; }

 private:
  /// In this stage, over all processes.
  double seconds(const TrainState& state) const;

  Distillation& distillation_;
  Teacher& teacher_;
  const Shape input_;
  Loader& test_;
  Console& console_;
  uint32_t checksum_;
  TeacherResult result_;
  bool is_known_ = false;     // its accuracy
  double before_ = 0;         // seconds of earlier processes
  double image_seconds_ = 0;  // on a card
};

}  // namespace espalier
