"""`espalier compare`: docs/compare.md's loop and its means; unfinished runs; what differs comes first."""

import csv
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import BINARY, SIDE, CliTest, config, sgd

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "compare.md").read_text()
LOOP, TABLES = re.findall(r"^```sh\n(.*?)^```", DOCS, re.M | re.S)
FIELDS = ["criterion", "scope", "pruned.sparsity"]


def finished(accuracy, **others):
    stage = {"name": "tuned", "kind": "train", "seconds": 4280, "images_per_second": 1000.5, "accuracy": accuracy,
             "top5": 99.0, "loss": 0.25, "parameters": 235146, "nonzeros": 23515, "sparsity": 0.9, "macs": 234752,
             "bytes": 943176, "latency_ms": 0.5, **others}
    return {"name": "x", "seed": 0, "device": "cpu", "threads": 1, "version": "0", "commit": "c", "stages": [stage]}


class Sweep(CliTest):
    """What docs/compare.md shows, on a small network and small data."""

    def shell(self, script):
        """What it prints; `espalier` is the program under test."""
        command = self.command(environment={"PATH": f"{os.path.dirname(BINARY)}:{os.environ['PATH']}"})
        command["args"] = ["bash", "-ec", script]
        result = subprocess.run(**command, capture_output=True, timeout=200)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def setUp(self):
        super().setUp()
        self.write_data(train=100, test=50, wrong=4)
        recipe = json.loads((ROOT / "configs" / "mnist_mlp.json").read_text())
        recipe["model"].update(input=[SIDE, SIDE, 1], hidden=[64, 64])
        recipe["data"]["batch"] = 10
        for stage in ("dense", "tuned"):
            [trained] = (one["train"] for one in recipe["stages"] if one["name"] == stage)
            trained["optimizer"]["lr"] = 0.01
        self.write("mnist_mlp.json", recipe)  # is found before the recipe of that name

    def test_the_loop_and_its_tables(self):
        self.assertLessEqual(len(LOOP.splitlines()), 5)
        said = self.shell(LOOP).stderr.splitlines()
        collapsed = [line for line in said if ": layer collapse: " in line]  # of 64 outputs, and as many weights or fewer
        for line in collapsed:
            self.assertRegex(line, r"^warning: sweep/\w+-global-0\.98-\d: stage 'pruned': layer collapse: fc\d is left with ")
        warnings = [line for line in said if line not in collapsed]
        self.assertEqual({warning.split(": stages.")[0] for warning in warnings},
                         {f"warning: sweep/lamp-layer-{p}-{seed}: mnist_mlp.json" for p in ("0.9", "0.95", "0.98")
                          for seed in (0, 1, 2)})
        self.assertEqual(len(warnings), 9)
        self.assertEqual({"lamp in scope layer prunes what l1 does" in warning for warning in warnings}, {True})
        names = [f"{c}-{s}-{p}-{seed}" for c in ("l1", "lamp", "random") for s in ("global", "layer")
                 for p in ("0.9", "0.95", "0.98") for seed in (0, 1, 2)]
        self.assertEqual(sorted(path.name for path in (self.folder / "sweep").iterdir()), names)

        runs = [f"sweep/{name}" for name in names]
        text = self.succeeds("compare", *runs, "--group-by", "criterion,scope,sparsity")
        keys = [[c, s, p, "3"] for c in ("l1", "lamp", "random") for s in ("global", "layer")
                for p in ("0.9", "0.95", "0.98")]
        shown = re.search(r"^```text\n(.*?)^```", DOCS, re.M | re.S)[1]
        for table in (text, shown):
            lines = table.splitlines()
            self.assertEqual(lines[0].split()[:5], [*FIELDS, "n", "accuracy"])
            self.assertEqual([line.split()[:4] for line in lines[1:19]], keys)
            self.assertIn("\nmean +- sample standard deviation of n runs over seed, weights\n", table)
        # l1 and lamp are the same within layers.
        rows = {tuple(line.split()[:3]): line.split()[3:8] for line in shown.splitlines()[1:19]}
        for sparsity in ("0.9", "0.95", "0.98"):
            self.assertEqual(rows["lamp", "layer", sparsity], rows["l1", "layer", sparsity])

        printed = self.shell(TABLES).stdout
        self.assertIn(text, printed)
        self.check_means(list(csv.DictReader(io.StringIO(self.succeeds("compare", *runs, "--csv")))),
                         list(csv.DictReader(io.StringIO((self.folder / "means.csv").read_text()))))

    def check_means(self, rows, groups):
        """Of CSV, all digits, against Python's."""
        self.assertEqual((len(rows), list(rows[0])[:5]), (54, ["run", "seed", "weights", *FIELDS[:2]]))
        self.assertEqual((len(groups), list(groups[0])[:4]), (18, [*FIELDS, "n"]))
        measured = [name.removesuffix("_mean") for name in groups[0] if name.endswith("_mean")]
        self.assertIn("accuracy", measured)
        spread = 0
        for group in groups:
            for name in measured:
                found = [float(row[name]) for row in rows
                         if row[name] and all(row[field] == group[field] for field in FIELDS)]
                self.assertEqual(len(found), int(group["n"]) if found else 0)
                mean, deviation = group[f"{name}_mean"], group[f"{name}_deviation"]
                if not found:
                    self.assertEqual((mean, deviation), ("", ""))
                    continue
                scale = max(map(abs, found)) or 1
                self.assertAlmostEqual(float(mean) / scale, statistics.mean(found) / scale, 12)
                self.assertAlmostEqual(float(deviation) / scale, statistics.stdev(found) / scale, 12)
                spread += name == "loss" and statistics.stdev(found) > 0
        self.assertEqual(spread, len(groups))  # or the seeds would make no difference


class ByHand(CliTest):
    def run_folder(self, name, result, lr=0.05, seed=0, criterion="l1", **others):
        made = config({"name": "tuned", "train": sgd(steps=20)}, name="x", seed=seed, **others)
        made["stages"][0]["train"]["optimizer"]["lr"] = lr
        made["stages"].insert(0, {"name": "pruned", "prune": {"sparsity": 0.9, "criterion": criterion}})
        self.write(f"runs/{name}/config.json", made)
        if result:
            self.write(f"runs/{name}/result.json", result)
        return f"runs/{name}"

    def setUp(self):
        super().setUp()
        self.runs = [self.run_folder("a", finished(97.0)), self.run_folder("b", finished(98.0), seed=1),
                     self.run_folder("c", finished(90.0), criterion="random"),
                     self.run_folder("d", finished(91.5), criterion="random", seed=1)]

    def test_what_differs_comes_first_and_what_does_not_is_said_once(self):
        self.assertEqual(self.succeeds("compare", *self.runs), """\
run     seed  criterion  accuracy
runs/a     0  l1          97.00 %
runs/b     1  l1          98.00 %
runs/c     0  random      90.00 %
runs/d     1  random      91.50 %
the same in all: stage tuned, sparsity 90.00 %, MACs 234,752, latency 0.5 ms, loss 0.2500, top-5 99.00 %, \
parameters 235,146, non-zeros 23,515, size 943 kB, images/s 1,001, time 1:11:20
`--columns all` or NAME,NAME,... shows others, with `--csv` and `--json`, too
""")

    def test_mean_and_sample_deviation(self):
        text = self.succeeds("compare", *self.runs, "--group-by", "criterion")
        self.assertTrue(text.startswith("criterion  n         accuracy\n"
                                        "l1         2  97.50 +- 0.71 %\n"
                                        "random     2  90.75 +- 1.06 %\n"), text)
        [row] = csv.DictReader(io.StringIO(self.succeeds("compare", *self.runs, "--group-by", "scope", "--csv")))
        self.assertEqual((row["scope"], row["n"]), ("global", "4"))  # by the name that was typed
        [first, second] = csv.DictReader(io.StringIO(self.succeeds("compare", *self.runs, "--group-by", "criterion", "--csv",
                                                                   "--columns", "criterion,n,accuracy")))
        self.assertEqual((first["criterion"], first["n"], first["accuracy_mean"]), ("l1", "2", "97.5"))
        self.assertAlmostEqual(float(second["accuracy_deviation"]), 1.0606601717798212)

    def test_sort(self):
        for column, order in (("accuracy", "cdab"), ("-accuracy", "badc"), ("-seed", "bdac"), ("criterion", "abcd")):
            rows = json.loads(self.succeeds("compare", *self.runs, "--json", "--sort", column))
            self.assertEqual([row["run"][-1] for row in rows], list(order), column)

    def test_mistyped(self):
        lr = self.run_folder("e", finished(91.5), lr=0.1)
        for arguments, message in (
                (("--sort", "-acuracy"), "--sort: there is no column 'acuracy', did you mean 'accuracy'?"),
                (("--group-by", "criterio"), "--group-by: the configs of these runs have no field 'criterio', did you mean "
                                             "'criterion'?"),
                (("--columns", "run,sed"), "--columns: there is no column 'sed', did you mean 'seed'?"),
                (("--csv", "--json"), "--csv and --json: one of them")):
            self.fails_unwritten(2, "compare: " + message, "compare", *self.runs, lr, *arguments)

    def test_what_is_no_run_or_damaged_is_left_out(self):
        self.write("runs/means.csv", "accuracy")
        (self.folder / "runs/empty").mkdir()
        broken = self.run_folder("z", finished(91.5))
        (self.folder / broken / "result.json").write_text("{")
        result = self.espalier("compare", *self.runs, "runs/means.csv", "runs/empty", broken)
        self.assertEqual((result.returncode, result.stdout), (0, self.succeeds("compare", *self.runs)))
        self.assertEqual([line.split(": ")[0] for line in result.stderr.splitlines()],
                         ["runs/means.csv", "runs/empty", "runs/z/result.json:1:2"])
        self.assertEqual({line.rsplit("; ")[-1] for line in result.stderr.splitlines()}, {"left out"})
        self.fails_unwritten(2, "runs/empty: is not the folder of a run", "compare", "runs/means.csv", "runs/empty")
        self.fails_unwritten(2, "runs/typo: there is no such folder", "compare", *self.runs, "runs/typo")

    def test_a_config_that_a_person_has_commented(self):
        file = self.folder / self.runs[0] / "config.json"
        file.write_text("// the first\n" + file.read_text())
        self.assertEqual(self.succeeds("compare", *self.runs).splitlines()[1].split()[:3], ["runs/a", "0", "l1"])

    def test_a_run_without_its_config_differs_by_what_it_says(self):
        for run in self.runs[1:]:
            (self.folder / run / "config.json").unlink()  # their results say seed 0
        self.assertEqual(self.succeeds("compare", *self.runs[:2]).splitlines()[:3],
                         ["run     accuracy", "runs/a   97.00 %", "runs/b   98.00 %"])

    def test_rows_say_whose_they_are_whatever_is_chosen(self):
        [head, first, *_] = self.succeeds("compare", *self.runs, "--columns", "accuracy").splitlines()
        self.assertEqual((head.split(), first.split()), (["run", "accuracy"], ["runs/a", "97.00", "%"]))
        run = self.run_folder("e", None, seed=2)
        [head, *_] = self.succeeds("compare", *self.runs, run, "--columns", "accuracy").splitlines()
        self.assertEqual(head.split(), ["run", "state", "accuracy"])
        [head, *_] = self.succeeds("compare", *self.runs, "--columns", "accuracy", "--group-by", "criterion").splitlines()
        self.assertEqual(head.split(), ["criterion", "accuracy"])
        self.assertEqual(self.succeeds("compare", *self.runs, "--columns", "accuracy", "--csv").splitlines()[0], "accuracy")

    def test_a_run_named_twice_is_one(self):
        self.assertEqual(self.succeeds("compare", *self.runs, "runs/a/", "./runs/b"), self.succeeds("compare", *self.runs))

    def test_the_time_of_a_run_is_that_of_all_its_stages(self):
        result = finished(80.0, seconds=60)
        result["stages"].insert(0, {**result["stages"][0], "name": "dense", "seconds": 40})
        self.write("runs/a/result.json", result)
        [row] = json.loads(self.succeeds("compare", "runs/a", "--json"))
        self.assertEqual(row["seconds"], 100)
        self.assertEqual([row["seconds"] for row in json.loads(self.succeeds("compare", "runs/a", "--json", "--stages"))],
                         [40, 60])

    def test_numbers_beyond_reason_stay_short(self):
        run = self.run_folder("z", finished(1e300, seconds=1e300))
        line = self.succeeds("compare", run, self.runs[0], "--columns", "run,accuracy,seconds").splitlines()[1]
        self.assertEqual(line.split()[:3], ["runs/z", "1e+300", "%"])
        self.assertLess(len(line), 60)

    def test_who_made_a_run_where_that_differs(self):
        for run, others in ((self.runs[0], {}), (self.runs[1], {"threads": 4}), (self.runs[2], {"version": "1", "commit": "d"})):
            self.write(f"{run}/result.json", {**finished(97.0), **others})
        rows = json.loads(self.succeeds("compare", *self.runs, self.run_folder("e", None, seed=2), "--json"))
        self.assertEqual([(row["threads"], row["version"], row["commit"]) for row in rows],
                         [(1, "0", "c"), (4, "0", "c"), (1, "1", "d"), (1, "0", "c"), (None, None, None)])
        rows = json.loads(self.succeeds("compare", self.runs[0], "runs/e", "--json"))
        self.assertNotIn("threads", rows[0])  # which an unfinished run does not say
        self.assertIn("over seed, threads\n", self.succeeds("compare", *self.runs[:2], "--group-by", "criterion"))

    def test_repeats_are_said_to_be_and_count_once(self):
        again = self.run_folder("a-2", finished(97.0))
        said = "the same config and seed once more: runs/a-2 of runs/a"
        self.assertIn(f"\n{said}\n", self.succeeds("compare", *self.runs, again))
        grouped = self.succeeds("compare", *self.runs, again, "--group-by", "criterion")
        self.assertIn("\nl1         2  97.50 +- 0.71 %\n", grouped)
        self.assertIn(f"\n{said}; of each the first counts\n", grouped)
        self.assertNotIn("once more", self.succeeds("compare", *self.runs))
        for form in ("--csv", "--json"):
            self.assertEqual(self.espalier("compare", *self.runs, again, form).stderr, f"{said}\n")
            self.succeeds("compare", *self.runs, form)  # and says nothing
        rows = json.loads(self.espalier("compare", *self.runs, again, "--json").stdout)
        self.assertEqual([row.get("repeats") for row in rows], [None] * 4 + ["runs/a"])

    def test_what_runs_are_grouped_by_tells_repeats_apart(self):
        runs = [self.runs[0], self.run_folder("a-2", {**finished(97.0), "threads": 4, "version": "1", "commit": "d"}),
                self.run_folder("a-3", {**finished(98.0), "threads": 4, "version": "1", "commit": "d"})]
        for field, values in (("threads", (1, 4)), ("version", ("0", "1")), ("commit", ("c", "d"))):
            grouped = ["compare", *runs, "--group-by", field]
            rows = json.loads(self.espalier(*grouped, "--json").stdout)
            self.assertEqual([(row[field], row["n"], row["accuracy_mean"]) for row in rows], [(v, 1, 97.0) for v in values])
            self.assertIn("once more: runs/a-3 of runs/a-2; of each the first counts\n", self.succeeds(*grouped))
        self.assertIn("once more: runs/a-2 of runs/a, runs/a-3 of runs/a;",
                      self.succeeds("compare", *runs, "--group-by", "criterion"))

    def test_a_field_of_several_stages_is_one_where_they_agree(self):
        for name, criterion in (("g", "l1"), ("h", "lamp")):
            prune = {"sparsity": 0.9, "criterion": criterion, "schedule": {"type": "cubic", "end": 9, "every": 2}}
            self.write(f"runs/{name}/config.json", config({"name": "gradual", "train": sgd(steps=20, prune=prune)}, name="x"))
            self.write(f"runs/{name}/result.json", finished(95.0))
        rows = json.loads(self.succeeds("compare", *self.runs, "runs/g", "runs/h", "--group-by", "criterion", "--json"))
        self.assertEqual([(row["criterion"], row["n"]) for row in rows], [("l1", 3), ("lamp", 1), ("random", 2)])
        for name, criteria in (("i", ("lamp", "lamp")), ("j", ("lamp", "l1"))):  # in turns
            made = config(*({"name": f"turn{i}", "prune": {"sparsity": share, "criterion": criterion}}
                            for i, (share, criterion) in enumerate(zip((0.5, 0.9), criteria))), name="x")
            self.write(f"runs/{name}/config.json", made)
            self.write(f"runs/{name}/result.json", finished(96.0))
        runs = [*self.runs, "runs/g", "runs/h", "runs/i"]
        rows = json.loads(self.succeeds("compare", *runs, "--group-by", "criterion", "--json"))
        self.assertEqual([(row["criterion"], row["n"]) for row in rows], [("l1", 3), ("lamp", 2), ("random", 2)])
        self.assertIn("which are not the same in runs/j\n",
                      self.espalier("compare", *runs, "runs/j", "--group-by", "criterion").stderr)

    def test_type_alone_may_mean_many(self):
        result = self.espalier("compare", *self.runs, "--group-by", "type")
        self.assertEqual(result.returncode, 2)
        self.assertIn("compare: --group-by: 'type' may mean model.type or data.type or ", result.stderr)

    def test_diverged(self):
        run = self.run_folder("e", None, seed=2)
        line = "[12:00:00] stage 'tuned': the loss is nan at step 12 (epoch 2); a lower rate may help\n"
        self.write("runs/e/log.txt", "[11:59:59] tuned epoch 1\n" + line)
        self.assertIn("\nruns/e     2  l1         diverged\n", self.succeeds("compare", *self.runs, run))
        self.assertIn("in no group: runs/e (diverged)\n", self.succeeds("compare", *self.runs, run, "--group-by", "criterion"))
        self.write("runs/e/log.txt", line + "[12:01:00] runs/e: goes on with stage 'tuned', step 9\n")
        self.assertIn("\nruns/e     2  l1         unfinished\n", self.succeeds("compare", *self.runs, run))

    def test_what_one_run_alone_has_is_not_the_same_in_all(self):
        best = {"epoch": 2, "validation_accuracy": 42.0, "accuracy": 42.08, "top5": 90.0, "loss": 0.5, "nonzeros": 1,
                "sparsity": 0.9}
        self.write("runs/a/result.json", finished(97.0, best=best))
        for arguments, row in (((), "runs/a     0  l1          97.00 %  42.08 %           2"),
                               (("--group-by", "criterion"), "l1         2  97.50 +- 0.71 %  42.08 %           2")):
            text = self.succeeds("compare", *self.runs, *arguments)
            self.assertIn(f"\n{row}\n", text)
            self.assertNotIn("best", text.split("the same in all")[1])
        for run in self.runs:
            self.write(f"{run}/result.json", finished(97.0, best=best))
        for arguments in (), ("--group-by", "criterion"):
            self.assertRegex(self.succeeds("compare", *self.runs, *arguments),
                             r"the same in all: .*best 42.08 %, best epoch 2")

    def test_a_stage_that_does_not_train_has_no_rate(self):
        self.write("runs/b/result.json", finished(98.0, images_per_second=0))
        rows = json.loads(self.succeeds("compare", *self.runs, "--json"))
        self.assertEqual([row["images_per_second"] for row in rows], [1000.5, None, 1000.5, 1000.5])
        rows = list(csv.DictReader(io.StringIO(self.succeeds("compare", *self.runs, "--csv"))))
        self.assertEqual([row["images_per_second"] for row in rows], ["1000.5", "", "1000.5", "1000.5"])
        by = ("--group-by", "criterion")
        rows = json.loads(self.succeeds("compare", *self.runs, *by, "--json"))
        self.assertEqual([row["images_per_second_mean"] for row in rows], [1000.5, 1000.5])
        for run in self.runs[:2]:
            self.write(f"{run}/result.json", finished(98.0, images_per_second=0))
        self.write("runs/d/result.json", finished(91.5, images_per_second=3000.5))
        lines = self.succeeds("compare", *self.runs, *by).splitlines()
        self.assertEqual(lines[0].split(), ["criterion", "n", "accuracy", "images/s"])
        self.assertEqual(lines[1], "l1         2  98.00 +- 0.00 %" if "98.00 +-" in lines[1] else "l1         2          98.00 %")
        self.assertRegex(lines[2], r"  2,001 \+- 1,414$")

    def test_short_names_stay_unique(self):
        made = config({"name": "dense", "train": sgd(steps=20)}, {"name": "tuned", "train": sgd(steps=20)}, name="x")
        for run, lr, width in (("f", 0.1, 12), ("g", 0.2, 13)):
            for stage in made["stages"]:
                stage["train"]["optimizer"]["lr"] = lr
            made["model"]["hidden"] = [width]
            self.write(f"runs/{run}/config.json", made)
            self.write(f"runs/{run}/result.json", finished(90))
        rows = json.loads(self.succeeds("compare", "runs/f", "runs/g", "--json"))
        self.assertEqual(list(rows[1].items())[:5], [("run", "runs/g"), ("hidden", [13]), ("dense.lr", 0.2), ("tuned.lr", 0.2),
                                                     ("state", "done")])
        made["stages"][1]["train"]["optimizer"]["lr"] = 0.3
        self.write("runs/g/config.json", made)
        self.fails_unwritten(2, "compare: --group-by: 'lr' may mean stages.dense.train.optimizer.lr or "
                                "stages.tuned.train.optimizer.lr, which are not the same in runs/g", "compare", "runs/f",
                             "runs/g", "--group-by", "lr")

    def test_unfinished(self):
        run = self.run_folder("e", None, seed=2)
        self.assertIn("\nruns/e     2  l1         unfinished\n", self.succeeds("compare", *self.runs, run))
        self.write("runs/e/metrics.jsonl", "\n".join(map(json.dumps, (
            {"stage": "tuned", "epoch": 1, "step": 12, "accuracy": 71.0, "top5": 90.0, "test_loss": 0.5},
            {"stage": "tuned", "epoch": 2, "step": 24, "accuracy": 72.5, "top5": 91.0, "test_loss": 0.4},
            {"stage": "tuned", "epoch": 3, "step": 30, "loss": 0.1}))) + '\n{"stage": "tuned", "epo')
        rows = json.loads(self.succeeds("compare", *self.runs, run, "--json", "--sort", "accuracy"))
        self.assertEqual({key: rows[0][key] for key in ("run", "state", "stage", "epoch", "accuracy", "loss", "macs")},
                         {"run": "runs/e", "state": "unfinished", "stage": "tuned", "epoch": 2, "accuracy": 72.5, "loss": 0.4,
                          "macs": None})
        text = self.succeeds("compare", *self.runs, run, "--group-by", "criterion")
        self.assertIn("\nl1         2 ", text)
        self.assertIn("\nunfinished, in no group: runs/e\n", text)
        self.fails_unwritten(2, "compare: --group-by: none of these runs is done", "compare", run, "--group-by", "seed")

    def test_what_an_unfinished_run_does_not_know_is_not_the_same(self):
        run = self.run_folder("e", None, criterion="random")
        self.write("runs/e/metrics.jsonl", '{"stage": "tuned", "epoch": 1, "step": 9, "accuracy": 70.5, "top5": 90.0, '
                                           '"test_loss": 0.5, "macs": 234752}\n')
        self.assertIn("\nthe same in all that are done: ",
                      self.succeeds("compare", *self.runs, run))
        [row] = json.loads(self.succeeds("compare", run, "--json"))
        self.assertEqual(str(row["macs"]), "234752")  # not 234752.0

    def test_a_stage_that_others_lack_is_no_difference_in_each_of_its_fields(self):
        made = config({"name": "other", "train": sgd(steps=20)}, name="x")
        self.write("runs/e/config.json", made)
        self.write("runs/e/result.json", finished(80.0))
        [first, *_] = self.succeeds("compare", self.runs[0], "runs/e").splitlines()
        self.assertEqual(first.split(), ["run", "accuracy"])

    def test_an_interrupted_run_has_the_numbers_of_its_stages(self):
        self.write_data(train=40, test=20)
        self.write("small.json", config({"name": "dense", "train": sgd(steps=4)}, {"name": "pruned", "prune": {"sparsity": 0.5}}))
        self.succeeds("train", "small.json", "--quiet")
        (self.folder / "runs/small/result.json").unlink()
        [row] = json.loads(self.succeeds("compare", "runs/small", "--json"))
        self.assertEqual((row["state"], row["stage"], row["epoch"], row["macs"]), ("unfinished", "pruned", None, 888))


if __name__ == "__main__":
    unittest.main()
