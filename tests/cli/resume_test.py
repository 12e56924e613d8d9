"""--resume: whenever and however a run is stopped, it comes to the same bits as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIGNALS, CliTest, Outcomes, config, safetensors, sgd

# Everything that has a state of its own: momentum, moments, averages, masks, schedules, the best epoch, patience;
# and frozen layers, which have none.
STAGES = [
    {"name": "dense", "train": {"epochs": 300, "optimizer": {"type": "adam", "lr": 0.003}, "ema": 0.95, "log_every": 3,
                                "schedule": {"type": "cosine", "warmup_steps": 20}, "label_smoothing": 0.05,
                                "early_stop": {"patience": 50}, "checkpoint_every": 0.02}},
    {"name": "gradual", "train": {"steps": 12001, "log_every": 7, "eval_every": 2, "ema": 0.9,
                                  "optimizer": {"type": "sgd", "lr": 0.02, "momentum": 0.9, "clip_norm": 1},
                                  "regrow": {"type": "rigl", "every": 57},
                                  "prune": {"sparsity": 0.8, "schedule": {"type": "cubic", "begin": 5, "every": 101}}}},
    {"name": "rows", "prune": {"unit": "row", "scope": "layer", "criterion": "random", "sparsity": 0.2,
                               "exclude": ["fc3"], "remove": True}},
    {"name": "narrow", "train": {"steps": 3001, "log_every": 7, "eval_every": 2, "ema": 0.9, "freeze": ["fc1"],
                                 "optimizer": {"type": "sgd", "lr": 0.02, "momentum": 0.9, "lr_of": {"fc3": 0.03}},
                                 "regularize": {"type": "greg2", "growth": 0.001, "max": 0.1, "ratio": 0.4},
                                 "distill": {"teacher_stage": "dense", "features": [{"student": "fc2"}]},
                                 "prune": {"unit": "channel", "criterion": "taylor", "batches": 2, "ratio": 0.4,
                                           "min_channels": 2,
                                           "schedule": {"type": "cubic", "begin": 1500, "every": 101}}}},
    {"name": "tuned", "train": {"epochs": 100, "accumulate": 3, "optimizer": {"type": "adamw", "lr": 0.001},
                                "distill": {"teacher_stage": "gradual", "temperature": 2, "weight": 0.7}}},
    {"name": "final", "evaluate": {}},
]


# Masks that are let go and chosen anew, zeros that are not held, and rounds that begin with earlier weights.
COMING_AND_GOING = [
    {"name": "first", "evaluate": {}},
    {"name": "alternating", "train": {"steps": 6001, "log_every": 7, "eval_every": 2, "ema": 0.9, "checkpoint_every": 0.02,
                                      "optimizer": {"type": "adam", "lr": 0.003},
                                      "prune": {"sparsity": 0.8, "scope": "erk",
                                                "schedule": {"type": "alternating", "begin": 5, "every": 331}}}},
    {"name": "loose", "train": {"steps": 4001, "log_every": 7, "optimizer": {"type": "sgd", "lr": 0.02, "momentum": 0.9},
                                "prune": {"unit": "row", "sparsity": 0.5, "hold": False, "exclude": ["fc3"],
                                          "schedule": {"type": "linear", "initial": 0.5, "every": 101}}}},
    {"name": "table", "train": {"steps": 2001, "log_every": 7, "optimizer": {"type": "sgd", "lr": 0.02},
                                "prune": {"sparsity": 0.9, "scope": "uniform_plus", "sparsity_of": {"fc2": 0.8},
                                          "schedule": {"type": "table",
                                                       "table": [[100, 0.75], [1000, 0.8], [1500, 0.9]]}}}},
    {"name": "round", "repeat": 3, "stages": [
        {"name": "pruned", "prune": {"sparsity": 0.2, "of": "remaining", "rewind": "first"}},
        {"name": "tuned", "train": {"steps": 1500, "log_every": 7,
                                    "optimizer": {"type": "sgd", "lr": 0.02, "momentum": 0.9}}}]},
]


class Resume(Outcomes):
    def setUp(self):
        super().setUp()
        self.write_data(train=400, test=100, wrong=4)
        self.write_run(STAGES)

    def write_run(self, stages):
        whole = config(*stages)
        whole["model"]["hidden"] = [24, 16]
        whole["data"]["validation"] = 0.2
        whole["data"]["batch"] = 7
        whole["data"]["path"] = "mnist"
        whole["data"]["augment"] = [{"type": "crop", "pad": 2}, {"type": "flip"}, {"type": "mixup", "alpha": 0.2}]
        self.write("run.json", whole)

    def stop_at_random(self, output, signals, dice, rows):
        """Starts, stops by one of `signals` at a random time before it begins, then wherever its metrics have reached one
        of a few random sizes below `rows` bytes, and goes on until done; what each part printed."""
        parts = []
        metrics = self.folder / output / "metrics.jsonl"
        sizes = sorted(dice.uniform(0, rows) for _ in range(5))
        while True:
            with (tempfile.TemporaryFile("w+") as printed,
                  subprocess.Popen(**self.command("train", "run.json", "--threads", 1, "--resume", "--output", output),
                                   stdout=printed, stderr=subprocess.PIPE) as process):
                which = dice.choice(signals)
                if not parts:
                    time.sleep(dice.uniform(0.02, 0.3))
                    process.send_signal(which)
                elif sizes:
                    size = sizes.pop(0)
                    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size >= size):
                        time.sleep(0.001)
                    time.sleep(dice.uniform(0, 0.01))  # a row is often followed by a checkpoint
                    process.send_signal(which)
                try:
                    _, err = process.communicate(timeout=200)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
                printed.seek(0)
                parts.append(printed.read())
            if process.returncode == 0:
                return parts
            if which == signal.SIGKILL:
                self.assertEqual(process.returncode, -signal.SIGKILL, err)
            elif process.returncode != -which:  # a signal that came before the program listened
                self.assertEqual(process.returncode, SIGNALS[which], err)
                command = f"`espalier train --resume {output} --threads 1`"
                self.assertRegex(err, f"^interrupted(; .* is saved: {command} goes on from there| before the first "
                                      f"checkpoint: {command} starts afresh| before it began: the same command begins "
                                      "again)\n$")

    def test_same_bits_however_it_was_stopped(self):
        expected = self.assert_same_bits()
        epochs = sum(row["stage"] == "dense" and "accuracy" in row for row in expected["metrics"])
        self.assertTrue(20 < epochs < 300, f"{epochs} epochs: early stopping has no part in this")
        self.assertIn("dense.best.safetensors", expected["models"])

    def test_same_bits_of_masks_that_come_and_go(self):
        self.write_run(COMING_AND_GOING)
        expected = self.assert_same_bits()
        self.assertIn("round3.pruned.safetensors", expected["models"])

    def test_a_model_may_be_there_before_the_first_checkpoint(self):
        """As where the run was killed between the two, which only a first stage that does not train has in this order."""
        for name, stage in (("first", {"evaluate": {}}), ("dense", {"train": sgd(epochs=1)})):
            self.write_run([{"name": name, **stage}, {"name": "tuned", "train": sgd(epochs=1)}])
            self.succeeds("train", "run.json", "--output", name)
            expected = self.outcome(name)
            for file in (self.folder / name).rglob("*"):
                if file.is_file() and file.name not in ("config.json", f"{name}.safetensors"):
                    file.unlink()
            again = subprocess.run(**self.command("train", "run.json", "--resume", "--output", name), capture_output=True)
            if name == "first":
                self.assertEqual((again.returncode, again.stderr), (0, ""))
                self.assertIn("has no checkpoint to go on from, so the run starts afresh", again.stdout)
                self.assert_same_outcome(name, expected)
            else:
                self.assertEqual((again.returncode, again.stderr),
                                 (2, "espalier: dense: holds models/dense.safetensors of a run, but no checkpoint to go on "
                                     "from; --output DIR writes elsewhere\n"))

    def assert_same_bits(self):
        """Of run.json, whenever it is stopped; the outcome."""
        seed = random.randrange(10**6)
        dice = random.Random(seed)
        self.succeeds("train", "run.json", "--threads", 1, "--output", "whole")
        rows = (self.folder / "whole" / "metrics.jsonl").stat().st_size
        expected = self.outcome("whole")
        for name, signals in (("terminated", list(SIGNALS)), ("killed", [signal.SIGKILL])):
            with self.subTest(name, seed=seed):
                parts = self.stop_at_random(name, signals, dice, rows)
                self.assertGreater(len(parts), 4, "was hardly ever stopped")
                self.assertTrue(any("goes on with stage" in part for part in parts))
                self.assert_same_outcome(name, expected)
                left = [path.name for path in (self.folder / name).rglob("*.tmp-*")]
                self.assertEqual(left, [])
        return expected

    def test_signals_save_first(self):
        self.write("endless.json", config({"name": "dense", "train": sgd(epochs=10**7, eval_every=10**7)}))
        for which, code in SIGNALS.items():
            output = f"run{code}"
            with subprocess.Popen(**self.command("train", "endless.json", "--output", output),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdout.readline()  # the header
                process.stdout.readline()  # the first epoch
                process.send_signal(which)
                try:
                    _, err = process.communicate(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            self.assertEqual((process.returncode, err),
                             (code, f"interrupted; {output}/checkpoint.safetensors is saved: `espalier train --resume "
                                    f"{output}` goes on from there\n"))
            position = json.loads(safetensors(self.folder / output / "checkpoint.safetensors")[1]["espalier.position"])
            self.assertGreater(position["step"], 40)

    def test_signals_ignored_at_the_start_stay_ignored(self):
        self.write("short.json", config({"name": "dense", "train": sgd(epochs=200)}))
        command = self.command("train", "short.json")
        command["args"] = ["sh", "-c", 'trap "" INT TERM HUP; exec "$@"', "sh", *command["args"]]  # as nohup does
        with subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()  # the header
            for which in SIGNALS:
                process.send_signal(which)
            _, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (0, ""))


class NothingToDo(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())

    def test_a_finished_run_stays_as_it_is(self):
        self.succeeds("train", "small.json", "--quiet")
        run = self.folder / "runs" / "small"
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
        text = self.succeeds("train", "small.json", "--resume")
        self.assertEqual(text, "runs/small: the run is done already, nothing is left to do\n")
        self.succeeds("train", "small.json", "--resume", "--threads", "2")  # without a warning of what it will not do
        self.assertEqual({path: path.read_bytes() for path in before}, before)

    def test_another_config_is_refused(self):
        self.succeeds("train", "small.json", "--quiet")
        self.fails_unwritten(2, "runs/small: holds a run of another config, which differs at "
                                "stages.dense.train.optimizer.lr; --output DIR writes elsewhere", "train", "small.json",
                             "--resume", "--set", "stages.dense.train.optimizer.lr=1")

    def test_another_order_of_rates_is_another_config(self):
        """Of several that mean a layer, the last counts."""
        rates = {"fc2": 0.01, "*": 0.03}
        stage = {"name": "dense", "train": {"steps": 20, "optimizer": {"type": "sgd", "lr": 0.05, "lr_of": rates}}}
        self.write("small.json", config(stage))
        self.succeeds("train", "small.json", "--quiet")
        stage["train"]["optimizer"]["lr_of"] = dict(reversed(rates.items()))
        self.write("small.json", config(stage))
        self.fails_unwritten(2, "runs/small: holds a run of another config, which differs at "
                                "stages.dense.train.optimizer.lr_of; --output DIR writes elsewhere", "train",
                             "small.json", "--resume")

    def test_without_a_run_it_starts_afresh(self):
        text = self.succeeds("train", "small.json", "--resume")
        first = "runs/small: has no checkpoint to go on from, so the run starts afresh"
        self.assertEqual(text.splitlines()[0], first)

    def test_broken_checkpoint(self):
        self.succeeds("train", "small.json", "--quiet")
        file = self.folder / "runs/small/checkpoint.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        self.fails_unwritten(1, "runs/small/checkpoint.safetensors: tensor 'mask/fc2.weight': data_offsets [4408, "
                                "4528] reach beyond the file, which has 4527 bytes of data: is it cut off?", "train",
                             "small.json", "--resume")
        file.write_bytes((self.folder / "runs/small/models/dense.safetensors").read_bytes())
        self.fails_unwritten(1, "runs/small/checkpoint.safetensors: has no position to go on from: it holds only "
                                "weights", "train", "small.json", "--resume")


if __name__ == "__main__":
    unittest.main()
