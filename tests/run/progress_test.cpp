// What a person reads of a run: the console and its log, and the line of an epoch.
#include "espalier/run/progress.h"

#include <gtest/gtest.h>

#include "espalier/util/input_file.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

TEST(Console, KeepsEveryLineInTheLogEvenWhenQuiet) {
  const TemporaryFolder folder;
  testing::internal::CaptureStdout();
  {
    Console console(true);
    console.line("before the log");
    console.log_to(folder / "log.txt");
    console.line("one\ntwo");
    console.live({"not kept"});
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  const std::string log = read_file(folder / "log.txt");
  EXPECT_TRUE(contains(log, "  one\n"));
  EXPECT_TRUE(contains(log, "  two\n"));
  EXPECT_FALSE(contains(log, "before"));
  EXPECT_FALSE(contains(log, "not kept"));
}

TEST(Console, PrintsNoLiveLineWhereThereIsNoTerminal) {
  testing::internal::CaptureStdout();
  {
    Console console(false);
    console.live({"live"});
    console.line("line");
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "line\n");
}

TEST(Console, ALogThatCannotBeWrittenIsAnError) {
  Console console(true);
  EXPECT_TRUE(contains(message_of([&] { console.log_to("/dev/null/log.txt"); }),
                       "/dev/null/log.txt: cannot be written"));
}

TEST(Progress, AnEpochIsOneLine) {
  const Dataset data = columns(40, 1);
  const auto model = make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4}, 0);
  const auto optimizer = make_optimizer({.type = "sgd"}, model->parameters());
  TrainConfig config;
  Position position{.epoch = 1, .batch = 4, .step = 8, .loss_sum = 20.0, .images = 40, .correct = 30};
  const std::string name = "dense";
  TrainState state{.stage = name,
                   .config = config,
                   .model = *model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 4,
                   .total_steps = 12,
                   .epoch_seconds = 0.01,
                   .wait_seconds = 0.001,
                   .test = Evaluation{90.5, 99.0, 0.4},
                   .validation = Evaluation{91.25, 99.0, 0.4}};
  testing::internal::CaptureStdout();
  {
    Console console(false);
    ProgressCallback(console).on_epoch_end(state);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "dense  epoch 2/3  loss 0.5000  train 75.00 %  validation 91.25 %  test 90.50 %  4,000 images/s  "
            "data wait 10.0 %\n");
}

}  // namespace
}  // namespace espalier
