#include "espalier/train/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "espalier/nn/models/models.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/input_file.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

double half_a_second() { return 0.5; }

TEST(MetricsFile, GrowsByRowsAndIsCutOnResume) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "metrics.jsonl";
  int64_t kept = 0;
  {
    MetricsFile file(path, 0, half_a_second);
    file.write({{"step", 1}});
    kept = file.sync();
    file.write({{"step", 2}});
  }
  EXPECT_EQ(read_file(path), "{\"step\":1,\"seconds\":0.5}\n{\"step\":2,\"seconds\":0.5}\n");
  MetricsFile file(path, kept, [] { return 1234.56789; });
  file.write({{"step", 3}});
  EXPECT_EQ(file.sync(), 2 * kept + 5);
  EXPECT_EQ(read_file(path), "{\"step\":1,\"seconds\":0.5}\n{\"step\":3,\"seconds\":1234.568}\n");
}

TEST(MetricsFile, KnowsTheRowsThatAreLeft) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m";
  EXPECT_EQ(rows_left(path, 100), 0);
  const std::string row = std::string(5000, 'x') + "\n";
  write_file(path, row + row);
  EXPECT_EQ(rows_left(path, 10002), 10002);
  EXPECT_EQ(rows_left(path, 5001), 5001);
  for (const size_t cut : {1, 4095, 4096, 4097, 5000}) {
    write_file(path, (row + row).substr(0, 10002 - cut));
    EXPECT_EQ(rows_left(path, 10002), 5001) << cut;
  }
  write_file(path, row.substr(0, 5000));
  EXPECT_EQ(rows_left(path, 10002), 0);
  EXPECT_EQ(rows_left(path, 0), 0);
}

TEST(MetricsFile, SaysWhatIsWrongWithItsFile) {
  const TemporaryFolder folder;
  EXPECT_TRUE(contains(message_of([&] { MetricsFile(folder.path() / "no" / "m", 0, half_a_second); }),
                       "cannot be written: No such file"));
  MetricsFile(folder.path() / "m", 0, half_a_second);
  EXPECT_TRUE(contains(message_of([&] { MetricsFile(folder.path() / "m", 5, half_a_second); }),
                       "shorter than the 5 bytes"));
  MetricsFile full(folder.path() / "full", 0, half_a_second);
  const FileSizeLimit limit(0);
  EXPECT_TRUE(contains(message_of([&] {
                         full.write({{"step", 1}});
                       }),
                       "full: cannot be written: File too large"));
}

/// A stage of a small network, half of whose weights are masked, with a row every hundred steps.
struct Stage {
  Stage() {
    for (Parameter* parameter : model->parameters()) {
      if (parameter->role != Role::weight) continue;
      Tensor mask = Tensor::zeros(parameter->shape(), DType::u8);
      for (int64_t i = 0; i < mask.elements(); i += 2) mask.data<uint8_t>()[i] = 1;
      parameter->set_mask(mask);
    }
    config.log_every = 100;
  }
  /// No mask holds zeros any more, and those of the first layer are gone.
  void let_go() {
    for (Parameter* parameter : model->parameters()) parameter->remove_mask();
    std::ranges::fill(model->parameters()[0]->value().span<float>(), 1.0f);
  }
  std::string rows() const { return read_file(folder.path() / "m"); }

  TemporaryFolder folder;
  MetricsFile file{folder.path() / "m", 0, half_a_second};
  std::unique_ptr<Module> model =
      make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  std::unique_ptr<Optimizer> optimizer = make_optimizer({.type = "sgd"}, model->parameters());
  std::string name = "fit";
  TrainConfig config;
  Position position{.step = 7};  // as well where a stage goes on
  TrainState state{.stage = name,
                   .config = config,
                   .model = *model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 400,
                   .total_steps = 400};
};

TEST(MetricsCallback, KnowsTheSparsityFromTheFirstStepOn) {
  Stage stage;
  MetricsCallback callback(stage.file);
  callback.on_stage_begin(stage.state);
  EXPECT_TRUE(callback.state(stage.state).is_null()) << "counted for no row yet";
  stage.position.step = 8;
  callback.after_step(stage.state);
  EXPECT_EQ(stage.state.sparsity, 0.5);
  EXPECT_EQ(stage.rows(), "") << "and no row for it";
}

TEST(MetricsCallback, RowsAfterAResumeHaveTheSparsityOfThoseBefore) {
  Stage stage;
  MetricsCallback before(stage.file);
  before.on_stage_begin(stage.state);
  stage.position.step = 100;
  before.after_step(stage.state);  // counts
  stage.let_go();
  const auto kept = before.state(stage.state);
  EXPECT_EQ(kept, (nlohmann::ordered_json{{"sparsity", 0.5}}));

  MetricsCallback after(stage.file);
  after.restore(kept, "x.safetensors: /callbacks/metrics");
  stage.state.sparsity = 0;
  after.on_stage_begin(stage.state);
  EXPECT_EQ(stage.state.sparsity, 0.5);
  for (MetricsCallback* callback : {&before, &after}) {
    stage.position.step = 200;
    callback->after_step(stage.state);
  }
  std::istringstream rows(stage.rows());
  std::string first, second, third;
  std::getline(rows, first), std::getline(rows, second), std::getline(rows, third);
  EXPECT_EQ(second, third);
  EXPECT_NE(third.find("\"sparsity\":0.5"), std::string::npos) << third;
}

TEST(MetricsCallback, ARowOfMovedMasksIsCountedFor) {
  Stage stage;
  MetricsCallback callback(stage.file);
  callback.on_stage_begin(stage.state);
  stage.let_go();
  stage.position.step = 150;  // before the first row
  stage.state.regrown = RegrowEvent{.type = "rigl", .every = 150};
  callback.after_step(stage.state);
  EXPECT_TRUE(contains(stage.rows(), "\"sparsity\":0.1,")) << "of 160 weights 16 of fc2 are 0";
}

TEST(MetricsCallback, RefusesWhatItCannotHaveKept) {
  const TemporaryFolder folder;
  MetricsFile file(folder.path() / "m", 0, half_a_second);
  MetricsCallback callback(file);
  const std::string place = "x: /callbacks/metrics";
  EXPECT_EQ(message_of([&] {
              callback.restore({{"sparsity", 1.5}}, place);
            }),
            place + "/sparsity: is 1.5, not in 0..1");
  EXPECT_TRUE(contains(message_of([&] { callback.restore({{"macs", 1}}, place); }), place + "/sparsity: "));
}

}  // namespace
}  // namespace espalier
