"""The folder of a run: which one it takes, going on from it alone, and making the run longer."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import Outcomes, config, safetensors, sgd, snapshot


class FromTheFolder(Outcomes):
    """--resume FOLDER: the run's own config, and no other, is what it goes on by."""

    def setUp(self):
        super().setUp()
        self.write_data()
        # Steps that take time, and few checkpoints, whose syncs take more on a slow disk.
        long = config({"name": "dense", "train": sgd(epochs=60)})
        long["data"]["batch"] = 1
        self.write("long.json", long)

    def test_no_config_is_needed(self):
        self.succeeds("train", "long.json", "--quiet", "--output", "whole")
        self.interrupt("train", "long.json", "--output", "runs/long")
        (self.folder / "long.json").unlink()
        self.succeeds("train", "--resume", "runs/long")
        self.assert_same_outcome("runs/long", self.outcome("whole"))
        for arguments in (["runs/long/", "--resume"], ["runs/long/config.json", "--resume"],
                          ["--resume", "runs/long", "--output", "./runs/long"]):
            with self.subTest(arguments):
                self.assertIn("runs/long: the run is done already, nothing is left to do\n", self.succeeds("train", *arguments))

    def test_an_interrupt_says_the_command(self):
        (self.folder / "data").rename(self.folder / "my data")
        err = self.interrupt("train", "long.json", "--output", "my run", "--data", "my data", "--threads", "1")
        command = "espalier train --resume 'my run' --data 'my data' --threads 1"
        self.assertEqual(err, "interrupted; my run/checkpoint.safetensors is saved: `" + command +
                         "` goes on from there\n")
        self.succeeds(*shlex.split(command)[1:])

    def test_refused(self):
        self.write("small.json", config())
        self.succeeds("train", "small.json", "--quiet")
        (self.folder / "empty").mkdir()
        self.fails_unwritten(2, "runs/small: is the folder of a run; `espalier train --resume runs/small` goes on with it",
                             "train", "runs/small")
        self.fails_unwritten(2, "empty: is a folder, a file is expected", "train", "empty")
        self.fails_unwritten(2, "empty: holds no run to go on with", "train", "empty", "--resume")
        self.fails_unwritten(2, "train: --output: found 'empty', but the run goes on in runs/small; without --resume a "
                                "config begins anew elsewhere", "train", "--resume", "runs/small", "--output", "empty")
        for file in ("runs/small/checkpoint.safetensors", "runs/small/models/pruned.safetensors"):
            self.fails_unwritten(2, f"{file}: is a file of a run; its folder is what goes on: `espalier train --resume "
                                    "runs/small`", "train", "--resume", file)
        self.write("other/x.safetensors", "")
        self.fails_unwritten(2, "other/x.safetensors: is no config, nor the folder of a run",
                             "train", "--resume", "other/x.safetensors")
        for arguments in (), ("--resume",):
            self.fails_unwritten(2, "other: is no run's folder, and holds x.safetensors; --output DIR writes elsewhere",
                                 "train", "small.json", "--output", "other", *arguments)
        self.fails_unwritten(2, "empty: is a folder, and holds no checkpoint.safetensors", "predict", "empty", "a.png")
        (self.folder / "runs/small/config.json").unlink()
        self.fails_unwritten(2, "runs/small: has no config.json; espalier train CONFIG --resume --output runs/small goes "
                                "on with the config that it was begun with", "train", "--resume", "runs/small")
        self.succeeds("train", "small.json", "--resume", "--output", "runs/small")
        self.assertTrue((self.folder / "runs/small/config.json").exists())


class Longer(Outcomes):
    """More epochs and steps for a run that is there come to the bits that all at once do."""

    GONE = "stage 'tuned' is done, and left no last_step.safetensors to go on from to {}; without --resume, --set " \
           "model.weights=runs/run/models/tuned.safetensors begins another run with its weights"

    def succeeds(self, *arguments, **options):
        """What it prints; warnings, of milestones that a short stage does not reach, are no matter here."""
        result = self.espalier(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def setUp(self):
        super().setUp()
        self.write_data(wrong=4)
        self.base = config(
            {"name": "dense", "train": sgd(epochs=2)},
            {"name": "tuned", "train": sgd(epochs=2, ema=0.9, eval_every=2, log_every=3,
                                           schedule={"type": "multistep", "milestones": [1, 3]},
                                           prune={"sparsity": 0.5, "remove": True, "schedule": {
                                               "type": "cubic", "begin": 1, "end": 8, "every": 3}})},
            {"name": "final", "evaluate": {"flip": True}})
        self.base["data"]["validation"] = 0.3
        self.write("run.json", self.base)

    def longer(self, *path_and_values, output="run"):
        """Runs with the first value, goes on to each that follows, and holds the outcome to that of the last alone."""
        path, first, *values = path_and_values
        self.succeeds("train", "run.json", "--quiet", "--set", f"{path}={first}", "--output", output)
        for value in values:
            text = self.succeeds("train", "--resume", output, "--set", f"{path}={value}")
            unit = path.split(".")[-1]
            self.assertRegex(text, f"{output}: goes on with stage 'tuned', step .*\n{output}: stage 'tuned' trains for "
                                   f"{value} {unit} now, not {first} {unit}\n")
            first = value
        shutil.rmtree(self.folder / "whole", ignore_errors=True)
        self.succeeds("train", "run.json", "--quiet", "--set", f"{path}={first}", "--output", "whole")
        self.assert_same_outcome(output, self.outcome("whole"), longer=True)
        self.assertEqual(self.read_json(f"{output}/config.json"), self.read_json("whole/config.json"))

    def test_more_epochs(self):
        self.longer("stages.tuned.train.epochs", 2, 5, 6, 8)

    def test_more_steps(self):
        # Both end in the middle of an epoch, where the whole run evaluates nothing.
        self.longer("stages.tuned.train.steps", 13, 15, 31)

    def test_broken_off_before_the_checkpoint_was_changed(self):
        self.succeeds("train", "run.json", "--quiet", "--output", "whole", "--set", "stages.tuned.train.epochs=5")
        self.succeeds("train", "run.json", "--quiet")
        file = self.folder / "runs/run/config.json"
        file.write_bytes((self.folder / "whole/config.json").read_bytes())
        self.succeeds("train", "--resume", "runs/run")
        self.assert_same_outcome("runs/run", self.outcome("whole"), longer=True)

    def test_of_a_stage_that_has_not_ended(self):
        self.base["stages"][0]["train"]["epochs"] = 60
        self.base["data"]["batch"] = 1
        self.write("run.json", self.base)
        more = ("--set", "stages.dense.train.epochs=61", "--set", "stages.tuned.train.epochs=3")
        self.succeeds("train", "run.json", "--quiet", "--output", "whole", *more)
        self.interrupt("train", "run.json")
        text = self.succeeds("train", "run.json", "--resume", *more)
        self.assertIn("runs/run: stage 'tuned' trains for 3 epochs now, not 2 epochs\n", text)
        self.assert_same_outcome("runs/run", self.outcome("whole"), longer=True)

    def test_what_has_happened_stays(self):
        self.succeeds("train", "run.json", "--quiet")

        def refused(message, *set_, end="; --output DIR writes elsewhere"):
            arguments = [part for each in set_ for part in ("--set", each)]
            self.fails_unwritten(2, f"runs/run: {message}{end}", "train", "--resume", "runs/run", *arguments)

        refused("stage 'dense' is done after 2 epochs, and what follows it began from there",
                "stages.dense.train.epochs=3")
        refused("stage 'tuned' has made 18 steps already, which is more than 1 epoch",
                "stages.tuned.train.epochs=1")
        refused("holds a run of another config, which differs at stages.tuned.train.ema", "stages.tuned.train.epochs=3",
                "stages.tuned.train.ema=0.8")
        (self.folder / "runs/run/last_step.safetensors").unlink()
        refused(self.GONE.format("3 epochs, as earlier versions did not"), "stages.tuned.train.epochs=3", end="")

    def test_what_decides_nothing_may_change(self):
        """How often it writes down where it is, and where its data lie."""
        self.succeeds("train", "run.json", "--quiet", "--output", "whole", "--set", "stages.tuned.train.epochs=5")
        self.succeeds("train", "run.json", "--quiet")
        (self.folder / "data").rename(self.folder / "elsewhere")
        text = self.succeeds("train", "--resume", "runs/run", "--set", "stages.tuned.train.epochs=5", "--set",
                             "stages.tuned.train.log_every=1", "--set", "stages.tuned.train.checkpoint_every=1", "--set",
                             "data.root=elsewhere")
        self.assertIn("runs/run: goes on with stage 'tuned', step ", text)
        for name in ("tuned", "tuned.best"):
            model, whole = (self.folder / folder / "models" / f"{name}.safetensors" for folder in ("runs/run", "whole"))
            self.assertEqual(safetensors(model)[0], safetensors(whole)[0])
        stage = self.read_json("runs/run/config.json")["stages"][1]["train"]
        self.assertEqual((stage["log_every"], stage["checkpoint_every"]), (1, 1))

    def test_by_the_config_it_was_begun_with(self):
        """train CONFIG --resume comes to what --resume FOLDER does, also when that has made the run longer."""
        more = ("--set", "stages.tuned.train.epochs=5")
        self.succeeds("train", "run.json", "--quiet")
        self.succeeds("train", "--resume", "runs/run", *more)
        told = "runs/run: stage 'tuned' trains for 5 epochs, as the run was told since it began, not 2 epochs\n"
        text = self.succeeds("train", "run.json", "--resume")
        self.assertIn("runs/run: the run is done already, nothing is left to do\n", text)
        self.assertIn(told, text)
        self.assertNotIn(told, self.succeeds("train", "run.json", "--resume", *more))
        self.assertNotIn(told, self.succeeds("train", "--resume", "runs/run"))
        self.fails_unwritten(2, "runs/run: stage 'tuned' has made 45 steps already, which is more than 2 epochs; --output "
                                "DIR writes elsewhere", "train", "run.json", "--resume", "--set",
                             "stages.tuned.train.epochs=2")
        # Where the longer run is broken off before the old length, the config of then does not make it short again.
        self.base["stages"] = [{"name": "tuned", "train": sgd(epochs=59)}]
        self.base["data"]["batch"] = 1
        self.write("run.json", self.base)
        shutil.rmtree(self.folder / "runs")
        self.interrupt("train", "run.json")
        self.interrupt("train", "--resume", "runs/run", "--set", "stages.tuned.train.epochs=60")
        self.assertIn("trains for 60 epochs, as the run was told", self.succeeds("train", "run.json", "--resume"))

    def test_other_data_are_refused(self):
        self.succeeds("train", "run.json", "--quiet")
        for sizes, found, expected in (({"train": 150}, "105 images to train on", "84"),
                                       ({"train": 60}, "42 images to train on", "84"),
                                       ({"train": 120, "test": 41}, "41 images to test", "40")):
            with self.subTest(sizes):
                shutil.rmtree(self.folder / "data")
                self.write_data(**sizes)
                self.assertIn("the run is done already", self.succeeds("train", "--resume", "runs/run"))
                self.fails_unwritten(1, f"data/mnist: found {found}, expected {expected}, as when "
                                        "runs/run/last_step.safetensors was written: with the data of then the run goes "
                                        "on, and without --resume another begins", "train", "--resume", "runs/run",
                                     "--set", "stages.tuned.train.epochs=3")

    def test_schedules_that_go_by_all_steps(self):
        for change, message in (
                ({"schedule": {"type": "cosine"}}, "learning rate: the schedule cosine"),
                ({"schedule": {"type": "onecycle"}},
                 "learning rate: the schedule onecycle"),
                ({"prune": {"sparsity": 0.5, "schedule": {"type": "linear", "every": 1}}},
                 "sparsity: the schedule linear")):
            with self.subTest(change):
                self.write("run.json", config({"name": "tuned", "train": sgd(epochs=2, **change)}))
                self.succeeds("train", "run.json", "--quiet")
                self.fails_unwritten(2, "runs/run: stage 'tuned' has made 24 of 24 steps, and if it had 3 epochs, step 2 "
                                        f"would have had another {message} goes by the number of all steps; --output "
                                        "DIR writes elsewhere", "train", "--resume", "runs/run", "--set",
                                     "stages.tuned.train.epochs=3")
                shutil.rmtree(self.folder / "runs")

    def test_early_stopping_is_an_end(self):
        stage = {"name": "tuned", "train": sgd(epochs=50, early_stop={"patience": 1, "min_delta": 50})}
        self.base["stages"] = [stage]
        self.write("run.json", self.base)
        self.succeeds("train", "run.json", "--quiet")
        gone = self.GONE.format("60 epochs: where early_stop ends a stage, it would have ended a longer one, too")
        self.fails_unwritten(2, f"runs/run: {gone}", "train", "--resume", "runs/run", "--set",
                             "stages.tuned.train.epochs=60")


class Numbered(Outcomes):
    """Without --output, a run takes a folder of its own."""

    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())

    def test_each_run_has_its_own(self):
        self.succeeds("train", "small.json", "--quiet")
        before = snapshot(self.folder / "runs/small")
        text = self.succeeds("train", "small.json", "--set", "seed=1")
        self.assertEqual(text.splitlines()[0], "runs/small-2: this run's folder, for runs/small holds a run already")
        self.assertIn("\nruns/small-2 holds the models", text)
        text = self.succeeds("train", "small.json", "--set", "seed=1")
        self.assertEqual(text.splitlines()[0],
                         "runs/small-3: this run's folder, for runs/small and runs/small-2 hold runs already")
        self.assertEqual(snapshot(self.folder / "runs/small"), before)
        self.assertEqual(self.read_json("runs/small-2/result.json")["seed"], 1)

    def test_one_that_runs_or_is_not_done_counts(self):
        self.write("endless.json", config({"name": "dense", "train": sgd(epochs=10**7, eval_every=10**7)}, name="small"))
        with subprocess.Popen(**self.command("train", "endless.json"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.readline()  # the header: the folder is taken
            second = self.espalier("train", "small.json")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        self.assertEqual((second.returncode, second.stderr), (0, ""))
        self.assertEqual(second.stdout.splitlines()[0], "runs/small-2: this run's folder, for runs/small holds a run "
                         "already; another process is running in runs/small")
        self.assertTrue((self.folder / "runs/small-2/result.json").exists())
        (self.folder / "runs/small-2").rename(self.folder / "runs/other")
        text = self.succeeds("train", "small.json")
        self.assertEqual(text.splitlines()[0], "runs/small-2: this run's folder, for runs/small holds a run already; "
                         "`espalier train --resume runs/small` goes on with what is not done there")

    def test_resume_chooses(self):
        """The last of this config that is not done; else the last; one of the very config before one that differs in
        the length of its stages."""
        for number in range(1, 5):
            self.succeeds("train", "small.json", "--quiet", "--set", f"seed={number // 4}")
            if number < 4:
                os.utime(self.folder / "runs" / ("small" if number == 1 else f"small-{number}") /
                         "checkpoint.safetensors", (10**9 + number,) * 2)

        def first_lines(*arguments):
            return self.succeeds("train", "small.json", "--resume", *arguments).splitlines()[:2]

        among = "of 4 runs from runs/small to runs/small-4"
        chooses = "; `espalier train --resume FOLDER` chooses another"
        self.assertEqual(first_lines(), [f"runs/small-3: {among} the last of this config, and all are done{chooses}",
                                         "runs/small-3: the run is done already, nothing is left to do"])
        self.assertEqual(first_lines("--set", "seed=1")[0],
                         f"runs/small-4: {among} the one that this config fits{chooses}")
        (self.folder / "runs/small-2/result.json").unlink()
        self.assertEqual(first_lines(), [f"runs/small-2: {among} the last of this config that is not done{chooses}",
                                         "runs/small-2: goes on after its last stage"])
        self.fails_unwritten(2, "runs/small: holds a run of another config, which differs at seed; --output DIR writes "
                                "elsewhere", "train", "small.json", "--resume", "--set", "seed=9")


if __name__ == "__main__":
    unittest.main()
