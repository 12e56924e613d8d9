"""espalier sweep: runs, what becomes of those that are stopped or fail, the table, and what is refused."""

import csv
import io
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, Outcomes, config, sgd, snapshot

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTE = "mean ± sample standard deviation (number of seeds)"


class Sweep(Outcomes):
    def setUp(self):
        super().setUp()
        self.write_data(train=60, test=40, wrong=3)
        self.write("configs/small.json", config({"name": "dense", "train": sgd(steps=12)},
                                                {"name": "pruned", "prune": {"sparsity": 0.5}}))
        self.sweep = {"config": "../configs/small.json", "seeds": [3, 4, 8],
                      "grid": [{"name": "half"}, {"name": "most", "set": {"stages.pruned.prune.sparsity": 0.9}}]}
        self.write("sweeps/s.json", self.sweep)

    def changed(self, **fields):
        return self.write("sweeps/s.json", {**self.sweep, **fields})

    def result(self, point, seed, name="s"):
        return self.read_json(f"runs/{name}/{point}/seed{seed}/result.json")


class Runs(Sweep):
    def test_runs_and_what_they_came_to(self):
        text = self.succeeds("sweep", "sweeps/s.json")
        lines = text.splitlines()
        self.assertEqual(lines[0], "runs/s: 6 runs: 0 done, 0 interrupted, 6 to begin; 1 at a time, on 1 thread each")
        for i, (line, seed, point) in enumerate(zip(lines[1:], (3, 3, 4, 4, 8, 8), 3 * ("half", "most"))):
            self.assertRegex(line, rf"^{i + 1}/6  {point}, seed {seed}  accuracy \d+\.\d\d %, ")
        self.assertEqual(lines[-1], "runs/s/results.csv and results.json hold all numbers of all runs")
        for point, sparsity in (("half", 0.5), ("most", 0.9)):
            for seed in (3, 4, 8):
                saved = self.read_json(f"runs/s/{point}/seed{seed}/config.json")
                self.assertEqual((saved["seed"], saved["stages"][1]["prune"]["sparsity"]), (seed, sparsity))
        self.check_numbers(text)

        # All is done: only the table once more, and no file of a run is touched.
        before = snapshot(self.folder / "runs")
        again = self.succeeds("sweep", "sweeps/s.json")
        self.assertEqual(again, "\n".join(lines[7:]) + "\n")
        self.assertEqual(snapshot(self.folder / "runs"), before)
        # One seed more is one run more of each point.
        text = self.succeeds("sweep", self.changed(seeds=[3, 4, 5, 8]))
        self.assertTrue(text.startswith("runs/s: 8 runs: 6 done, 0 interrupted, 2 to begin; "), text)
        self.assertIn("\n7/8  half, seed 5  ", text)
        self.assertIn(" (4)", text)

    def check_numbers(self, text):
        """Those of the table and the files, against the runs' own."""
        [head] = [line for line in text.splitlines() if line.startswith("point")]
        self.assertEqual(head.split(), ["point", "accuracy", "sparsity", "non-zeros", "parameters", "MACs", "time"])
        file = self.read_json("runs/s/results.json")
        rows = list(csv.DictReader(io.StringIO((self.folder / "runs/s/results.csv").read_text())))
        self.assertEqual([(row["point"], row["seed"], row["state"]) for row in rows],
                         [(point, str(seed), "done") for seed in (3, 4, 8) for point in ("half", "most")])
        for place, point in enumerate(("half", "most")):
            results = [self.result(point, seed) for seed in (3, 4, 8)]
            of_seeds = [result["stages"][-1]["accuracy"] for result in results]
            mean, deviation = statistics.mean(of_seeds), statistics.stdev(of_seeds)
            self.assertRegex(text, rf"(?m)^{point} +{mean:.2f} ± {deviation:.2f} % \(3\) ")
            measured = file["points"][place]["measured"]
            self.assertAlmostEqual(measured["accuracy"]["mean"], mean)
            self.assertAlmostEqual(measured["accuracy"]["deviation"], deviation)
            self.assertEqual(measured["accuracy"]["n"], 3)
            self.assertAlmostEqual(measured["error"]["mean"], 100 - mean)
            self.assertAlmostEqual(measured["seconds"]["mean"],
                                   statistics.mean(sum(stage["seconds"] for stage in r["stages"]) for r in results))
            self.assertAlmostEqual(measured["dense.loss"]["deviation"],
                                   statistics.stdev(result["stages"][0]["loss"] for result in results))
            for row, result in zip([row for row in rows if row["point"] == point], results):
                self.assertEqual(row["folder"], f"runs/s/{point}/seed{result['seed']}")
                for stage, prefix in ((-1, ""), (0, "dense."), (1, "pruned.")):
                    for name in ("accuracy", "loss", "nonzeros", "sparsity", "macs", "bytes"):
                        self.assertEqual(float(row[prefix + name]), result["stages"][stage][name])
                self.assertEqual((row["threads"], row["version"]), (str(result["threads"]), result["version"]))
        self.assertEqual([run["stages"][1]["stage"] for run in file["runs"]], 6 * ["pruned"])

    def test_a_run_is_what_train_makes_of_the_same_options(self):
        self.succeeds("train", "configs/small.json", "--quiet", "--output", "alone", "--set", "seed=4", "--set",
                      "stages.pruned.prune.sparsity=0.9")
        self.succeeds("sweep", "sweeps/s.json")
        self.assert_same_outcome("runs/s/most/seed4", self.outcome("alone"))

    def test_report_and_markdown(self):
        self.changed(seeds=2, report=["error", "dense.error", "nonzeros", "best_accuracy"])
        result = self.espalier("sweep", "sweeps/s.json", "--markdown")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"^runs/s: 4 runs: .*\n1/4  half, seed 0  ")
        lines = result.stdout.splitlines()
        self.assertEqual(lines[:2], ["| point | error | dense error | non-zeros | best |", "|---|---|---|---|---|"])
        errors = [100 - self.result("most", seed)["stages"][1]["accuracy"] for seed in (0, 1)]
        self.assertTrue(lines[3].startswith(f"| most | {statistics.mean(errors):.2f} ± {statistics.stdev(errors):.2f} % (2) | "))
        self.assertTrue(lines[3].endswith(" (2) | - |"))
        self.assertEqual(lines[4:], ["", NOTE])
        self.assertEqual(self.succeeds("sweep", "sweeps/s.json", "--markdown"), result.stdout)

    def test_jobs_share_threads_and_have_folders_of_their_own(self):
        self.succeeds("sweep", "sweeps/s.json", "--jobs", 2, "--threads", 4, "--output", "out/put")
        for seed in (3, 4, 8):
            for point in ("half", "most"):
                self.assertEqual(self.read_json(f"out/put/{point}/seed{seed}/result.json")["threads"], 2)
        self.assertFalse((self.folder / "runs").exists())
        self.assertIn("; 3 at a time, on 1 thread each\n",
                      self.succeeds("sweep", "sweeps/s.json", "--jobs", 3, "--threads", 2))

    def test_combinations(self):
        self.changed(seeds=1, grid={"stages.pruned.prune.sparsity": [0.5, 0.7], "/stages/pruned/prune/criterion": ["l1", "random"]})
        self.succeeds("sweep", "sweeps/s.json", "--data", "data")
        self.assertEqual(sorted(path.name for path in (self.folder / "runs/s").iterdir() if path.is_dir()),
                         sorted(f"sparsity={s},criterion={c}" for s in (0.5, 0.7) for c in ("l1", "random")))
        self.assertAlmostEqual(self.result("sparsity=0.7,criterion=random", 0)["stages"][1]["sparsity"], 0.7, 2)

    def test_points_of_other_stages_and_weights_of_the_same_seed(self):
        self.succeeds("sweep", self.write("sweeps/base.json", {"config": "../configs/small.json", "seeds": 2,
                                                               "set": {"stages.pruned": None}}))
        self.write("sweeps/config.json", config({"name": "gradual", "train": sgd(steps=12, prune={
            "sparsity": 0.5, "schedule": {"type": "cubic", "begin": 1, "every": 2}})}))
        self.changed(seeds=2, set={"model.weights": "runs/base/small/seed{seed}/models/dense.safetensors"},
                     grid=[{"name": "once", "set": {"stages.dense": None}}, {"name": "gradual", "config": "config.json"}],
                     report=["accuracy", "gradual.sparsity"])
        text = self.succeeds("sweep", "sweeps/s.json")
        self.assertRegex(text, r"(?m)^once .* -$")
        self.assertRegex(text, r"(?m)^gradual .* 50.00 % \(2\)$")
        self.assertEqual(self.read_json("runs/s/once/seed1/config.json")["model"]["weights"],
                         "runs/base/small/seed1/models/dense.safetensors")

    def test_dry_run(self):
        self.succeeds("sweep", self.changed(seeds=[3]))
        os.remove(self.folder / "runs/s/most/seed3/result.json")
        self.changed(seeds=[3, 4])
        before = snapshot(self.folder)
        self.assertEqual(self.succeeds("sweep", "sweeps/s.json", "--dry-run"), """\
point  seed  state        folder
half      3  done         runs/s/half/seed3
most      3  interrupted  runs/s/most/seed3
half      4  to begin     runs/s/half/seed4
most      4  to begin     runs/s/most/seed4
4 runs: 1 done, 1 interrupted, 2 to begin
""")
        self.assertEqual(snapshot(self.folder), before)

    def test_help_and_completion(self):
        text = self.succeeds("help", "sweep")
        self.assertTrue(text.startswith(self.succeeds("sweep", "--help")))
        for field in ("name", "config", "seeds", "set", "grid", "report"):
            self.assertRegex(text, rf"(?m)^  {field} ")
        self.assertIn("relative to this file", " ".join(text.split()))
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        self.assertEqual(self.succeeds("__complete", "sweep", "sweeps/"), ":files\n")
        self.assertEqual(self.succeeds("__complete", "sweep", "--dry"),
                         "--dry-run\tList the runs and which are done; run nothing, write nothing\n")

    def test_the_published_sweep_on_synthetic_digits(self):
        text = (ROOT / "configs/sweeps/mnist_lenet300_short.json").read_text()
        text = re.sub(r",(\s*[\]}])", r"\1", re.sub(r"(?m)^//.*$", "", text))
        published = json.loads(text)
        folder = ROOT / "configs/sweeps"
        for place in (published, *published["grid"]):
            if "config" in place:
                place["config"] = str(folder / place["config"])
        published["set"]["data"] = {"type": "synthetic", "batch": 64, "train_images": 256, "test_images": 100}
        self.write("tiny.json", {**published, "seeds": 2})
        text = self.succeeds("sweep", "tiny.json", "--jobs", 2)
        self.assertEqual([line.split()[0] for line in text.splitlines()[7:11]], ["point", "gradual", "gradual_layer", "at_once"])
        for point in ("gradual", "gradual_layer", "at_once"):
            self.assertAlmostEqual(self.result(point, 1, "tiny")["stages"][-1]["sparsity"], 0.95, 3)


class Stopped(Sweep):
    def setUp(self):
        super().setUp()
        long = config({"name": "dense", "train": sgd(epochs=60)})
        long["data"]["batch"] = 1
        self.write("configs/long.json", long)
        self.write("sweeps/long.json", {"config": "../configs/long.json", "seeds": [1, 2, 3]})
        for seed in (1, 2, 3):
            self.succeeds("train", "configs/long.json", "--quiet", "--output", f"whole/{seed}", "--set", f"seed={seed}")

    def begin(self, *arguments):
        """`espalier sweep` on sweeps/long.json, once its first run has trained an epoch more than before."""
        log = self.folder / "runs/long/long/seed1/log.txt"
        epochs = lambda: log.read_text().count("  epoch ") if log.exists() else 0
        before = epochs()
        process = subprocess.Popen(**self.command("sweep", "sweeps/long.json", *arguments), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(process.kill)
        end = time.monotonic() + 60
        while epochs() == before:
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(process.poll())
            time.sleep(0.005)
        return process

    def check_outcome(self):
        self.assertIn(" (3)", self.succeeds("sweep", "sweeps/long.json"))
        for seed in (1, 2, 3):
            self.assert_same_outcome(f"runs/long/long/seed{seed}", self.outcome(f"whole/{seed}"))

    def test_by_a_signal_and_again(self):
        for which, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = self.begin("--jobs", "2")
            process.send_signal(which)
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, code, err)
            self.assertRegex(err, r"^interrupted; \d of 3 runs are done: the same command goes on\n$")
            self.assertNotIn(NOTE, out)
            listed = self.succeeds("sweep", "sweeps/long.json", "--dry-run")
            self.assertIn("  interrupted  ", listed)
            self.assertFalse((self.folder / "runs/long/long/seed3").exists(), "a run began after the signal")
        self.check_outcome()

    def test_by_a_terminal_which_tells_all_of_them(self):
        process = self.begin()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertTrue((self.folder / "runs/long/long/seed1/checkpoint.safetensors").exists())
        self.check_outcome()

    def test_by_what_cannot_be_caught(self):
        process = self.begin()
        process.kill()
        process.wait()
        self.check_outcome()  # at once, while the run may be saving what it has
        self.assertIn("interrupted; ", (self.folder / "runs/long/long/seed1/log.txt").read_text())

    def test_a_run_that_is_killed_is_named_and_the_others_go_on(self):
        process = self.begin()
        [child] = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err, r"^1/3  long, seed 1  failed: ended by signal 9 \(Killed\); its last line: \S.*\n"
                              r"espalier: runs/long: 1 of 3 runs failed: long, seed 1\n$")
        self.assertIn(" (2)", out)
        self.assertIn("missing: long, seed 1 (ended by signal 9", out)
        self.check_outcome()

    def test_one_sweep_at_a_time(self):
        process = self.begin()
        result = self.espalier("sweep", "sweeps/long.json")
        self.assertEqual((result.returncode, result.stderr),
                         (2, "espalier: runs/long: another sweep is running in this folder\n"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.check_outcome()


class Failed(Sweep):
    def test_one_that_diverges_is_named_and_the_others_go_on(self):
        self.changed(seeds=2, grid=[{"name": "hot", "set": {"stages.dense.train.optimizer.lr": 1e30}}, {"name": "half"}])
        result = self.espalier("sweep", "sweeps/s.json", "--jobs", "2")
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 3, lines)
        for line in lines[:2]:
            self.assertRegex(line, r"^\d/4  hot, seed [01]  failed: stage 'dense': the loss is nan at step ")
        self.assertEqual(lines[2], "espalier: runs/s: 2 of 4 runs failed: hot, seed 0; hot, seed 1")
        self.assertRegex(result.stdout, r"(?m)^hot +- ")
        self.assertRegex(result.stdout, r"(?m)^half +\d.* \(2\)")
        self.assertIn("missing: hot, seed 0 (stage 'dense': the loss is nan", result.stdout)
        rows = list(csv.DictReader(io.StringIO((self.folder / "runs/s/results.csv").read_text())))
        self.assertEqual([row["state"] for row in rows], ["failed", "done", "failed", "done"])
        self.assertIn("the loss is nan", self.read_json("runs/s/results.json")["runs"][0]["failure"])

    def test_warnings_are_counted(self):
        self.changed(seeds=1, grid=[{"name": "few", "set": {
            "stages.dense.train.schedule": {"type": "step", "step_size": 100}}}])
        self.assertRegex(self.succeeds("sweep", "sweeps/s.json"),
                         r"\n1/1  few, seed 0  accuracy .*; 1 warning: runs/s/few/seed0/log.txt\n")
        self.assertIn("the rate never drops", (self.folder / "runs/s/few/seed0/log.txt").read_text())


class Refused(Sweep):
    def refuses(self, message, *arguments, code=2):
        self.fails_unwritten(code, message, "sweep", "sweeps/s.json", *arguments)

    def test_arguments(self):
        for arguments, message in (("sweep", "sweep: SWEEP is required; see `espalier sweep --help`"),
                                   ("sweep s.json --jobs 0", "sweep: --jobs: found '0', expected a whole number from 1 to 1024"),
                                   ("sweep s.json --job 2", "sweep: no option '--job', did you mean '--jobs'?"),
                                   ("sweep s.json --set a=1", "sweep: no option '--set'; see `espalier sweep --help`"),
                                   ("sweep s.json", "s.json: cannot open: No such file or directory")):
            with self.subTest(arguments):
                self.fails_unwritten(2, message, *arguments.split())

    def test_what_the_file_says(self):
        self.changed(sedes=3)
        self.refuses("sweeps/s.json: /sedes: no such field, did you mean 'seeds'?")
        self.changed(config="../configs/smal.json")
        self.refuses("sweeps/s.json: configs/smal.json: cannot open: No such file or directory, did you mean "
                     "'configs/small.json'?")
        self.changed(config="no_recipe")
        self.refuses("sweeps/s.json: no_recipe: there is no such file, and no recipe of that name; `espalier help recipes` "
                     "lists them")

    def test_two_values_for_a_field(self):
        self.changed(set={"/stages/1/prune/sparsity": 0.3})
        self.refuses("sweeps/s.json: point 'most': '/stages/1/prune/sparsity' and 'stages.pruned.prune.sparsity' are the same "
                     "field, expected one value for it")
        self.changed(set={"seed": 3})
        self.refuses("sweeps/s.json: 'seed' is what the sweep's seeds say, expected no other value for it")

    def test_a_point_that_would_fail_before_any_runs(self):
        self.changed(grid=[{"name": "fine"}, {"name": "wrong", "set": {"stages.dense.train.optimizer.lr": -1}}])
        self.refuses("sweeps/s.json: point 'wrong': configs/small.json: stages.dense.train.optimizer.lr: found -1, expected a "
                     "number above 0 (set in the sweep)")
        self.changed(set={"model.input": [9, 9, 1]})
        result = self.espalier("sweep", "sweeps/s.json")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("sweeps/s.json: ", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertFalse((self.folder / "runs").exists())
        self.changed(report=["tuned.error"])
        self.refuses("sweeps/s.json: /report/0: no point has a stage 'tuned', did you mean 'pruned'?")

    def test_missing_data(self):
        result = self.espalier("sweep", "sweeps/s.json", "--data", "nowhere")
        self.assertEqual((result.returncode, result.stderr.count("\n")), (1, 1))
        self.assertTrue(result.stderr.startswith("espalier: sweeps/s.json: mnist: nowhere/mnist lacks "), result.stderr)
        self.assertFalse((self.folder / "runs").exists())

    def test_runs_of_another_config(self):
        self.succeeds("sweep", self.changed(seeds=1))
        self.changed(seeds=1, set={"stages.dense.train.steps": 13})
        self.refuses("runs/s/half/seed0: holds a run of another config, which differs at stages.dense.train.steps, and so does 1 "
                     "more; another --output DIR or name begins anew")
        self.succeeds("sweep", "sweeps/s.json", "--output", "elsewhere")

    def test_folders_of_others(self):
        self.succeeds("train", "configs/small.json", "--quiet", "--output", "runs/s")
        self.refuses("runs/s: holds a run, and a sweep has a folder of its own; --output DIR writes elsewhere")


if __name__ == "__main__":
    unittest.main()
