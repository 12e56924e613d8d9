"""metrics.jsonl: what happened when, and that a plot needs nothing else; schedules in epochs and shares."""

import csv
import io
import json
import os
import pathlib
import re
import sys
import types
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, safetensors, sgd, without

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
TIMES = {"seconds", "data_seconds"}

# 12 steps an epoch; of 64 x 12 + 12 x 10 = 888 weights llround(s x 888) go at s = 0.8 (1 - (1 - p)^3), p = 0, 1/4 .. 1:
# s = 0, 0.8 x 37/64, 0.8 x 7/8, 0.8 x 63/64, 0.8.
GONE = {13: 0, 19: 411, 25: 622, 31: 699, 37: 710}


def gradual(when, **train):
    return {"name": "gradual", "train": sgd(epochs=4, **train, prune={
        "sparsity": 0.8, "schedule": {"type": "cubic", **when}})}


IN_EPOCHS = {"in": "epochs", "begin": 1, "end": 3, "every": 0.5}


class MetricsTest(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def train(self, *stages, name="small", **others):
        """The rows of a run of these stages, and what it printed."""
        self.write(f"{name}.json", config(*stages, name=name, **others))
        text = self.succeeds("train", f"{name}.json")
        return self.rows(name), text

    def rows(self, name):
        return [json.loads(row) for row in (self.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()]


class Rows(MetricsTest):
    def test_of_a_gradual_run_give_the_schedules_curve(self):
        rows, text = self.train(gradual(IN_EPOCHS, log_every=1))
        events = [row for row in rows if "prune" in row]
        self.assertEqual({row["step"]: row["sparsity"] for row in events},
                         {step: gone / 888 for step, gone in GONE.items()})
        for row in rows:
            last = max((step for step in GONE if step <= row["step"]), default=13)
            self.assertEqual((row["sparsity"], row["macs"]), (GONE[last] / 888, 888), row)
        self.assertEqual(sorted(row["seconds"] for row in rows), [row["seconds"] for row in rows])
        kinds = [sum(key in row for key in ("loss", "accuracy", "prune")) for row in rows]
        self.assertEqual((set(kinds), len(rows)), ({1}, 48 + 4 + 5))
        self.assertEqual([row["epoch"] for row in events], [2, 2, 3, 3, 4])
        # The console shows it from the epoch of the first act to that of the last.
        self.assertEqual(re.findall(r"epoch (\d)/4 .* sparsity ([\d.]+) %", text),
                         [("2", "46.28"), ("3", "78.72"), ("4", "79.95")])

    def test_say_what_was_pruned_layer_by_layer(self):
        rows, _ = self.train(gradual(IN_EPOCHS), {"name": "more", "prune": {"scope": "layer", "sparsity": 0.9}})
        left = {"fc1": 768, "fc2": 120}
        for row in (row for row in rows if "prune" in row):
            event = row["prune"]
            self.assertEqual({key: event[key] for key in ("unit", "criterion")}, {"unit": "weight", "criterion": "l1"})
            for layer in event["layers"]:
                self.assertEqual(layer["nonzeros"]["before"], left[layer["name"]])
                left[layer["name"]] = layer["nonzeros"]["after"]
            self.assertEqual(row["sparsity"], (888 - sum(left.values())) / 888)
        last = rows[-2]
        self.assertEqual((last["stage"], last["epoch"], last["step"], last["total_step"]), ("more", 0, 0, 48))
        self.assertEqual(left, {"fc1": 768 - 691, "fc2": 120 - 108})

    def test_of_cuts_have_channels_and_macs(self):
        cut = {"unit": "channel", "ratio": 0.5, "min_channels": 1}
        rows, text = self.train({"name": "half", "prune": cut},
                                {"name": "gradual", "train": sgd(steps=36, log_every=12, prune={
                                    **cut, "schedule": {"type": "linear", "end": 20, "every": 10}})})
        events = [row for row in rows if "prune" in row]
        self.assertEqual([(row["stage"], row["step"], row["macs"]) for row in events],
                         [("half", 0, 6 * 74), ("gradual", 1, 6 * 74), ("gradual", 11, 4 * 74), ("gradual", 21, 3 * 74)])
        self.assertEqual(events[0]["prune"], {
            "unit": "channel", "criterion": "l1", "scope": "global", "macs": {"before": 12 * 74, "after": 6 * 74},
            "layers": [{"name": "fc1", "channels": {"before": 12, "after": 6}},
                       {"name": "fc2", "channels": {"before": 10, "after": 10}}]})
        self.assertEqual(events[2]["prune"]["layers"][0]["channels"], {"before": 6, "after": 4})
        self.assertEqual([row["macs"] for row in rows if "loss" in row], [4 * 74, 3 * 74, 3 * 74])
        self.assertEqual(re.findall(r"epoch (\d)/3 .* MACs (\d+)", text), [("1", "296"), ("2", "222")])

    def test_count_zeros_that_no_mask_holds_as_they_are(self):
        rows, _ = self.train({"name": "half", "prune": {"sparsity": 0.5, "remove": True}},
                             {"name": "dense", "train": sgd(steps=12, log_every=1)})
        self.assertEqual([row["sparsity"] for row in rows if row["stage"] == "half"], [0.5, 0.5])
        for row in rows[2:]:
            self.assertLess(row["sparsity"], 0.3, row)

    def test_tell_how_good_what_was_pruned_is(self):
        rows, _ = self.train({"name": "dense", "train": sgd(steps=12)}, {"name": "half", "prune": {"sparsity": 0.5}},
                             {"name": "tuned", "train": sgd(steps=24)}, {"name": "again", "evaluate": {"flip": True}})
        stages = self.read_json("runs/small/result.json")["stages"]
        for stage, steps in ((stages[1], 12), (stages[3], 36)):
            row = [row for row in rows if row["stage"] == stage["name"]][-1]
            self.assertGreater(row.pop("seconds"), 0)
            self.assertEqual(row, {"stage": stage["name"], "epoch": 0, "step": 0, "total_step": steps,
                                   "accuracy": stage["accuracy"], "top5": stage["top5"], "test_loss": stage["loss"],
                                   "sparsity": 0.5, "macs": 888})

    def test_count_steps_over_all_stages(self):
        stages = ({"name": "dense", "train": sgd(steps=12, log_every=6)},
                  {"name": "stopped", "train": {**sgd(epochs=50, early_stop={"patience": 1}),
                                                "optimizer": {"type": "sgd", "lr": 1e-6}}},
                  {"name": "half", "prune": {"sparsity": 0.5}}, {"name": "tuned", "train": sgd(steps=9, log_every=3)})
        data = {"type": "mnist", "batch": 10, "validation": 0.25}
        rows, _ = self.train(*stages, data=data)
        made = {stage["name"]: max(row["step"] for row in rows if row["stage"] == stage["name"]) for stage in stages}
        self.assertLess(made["stopped"], 100)
        before = 0
        for name, steps in made.items():
            for row in rows:
                if row["stage"] == name:
                    self.assertEqual(row["total_step"], before + row["step"])
            before += steps

    def test_are_drawn_by_what_the_docs_show(self):
        dense = {"name": "dense", "train": sgd(steps=12)}
        rows, _ = self.train(dense, gradual(IN_EPOCHS), {"name": "again", "evaluate": {}}, name="mnist_lenet300_gradual")
        code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.S)[1]
        self.assertLessEqual(len(code.splitlines()), 5)
        drawn = []
        plot = types.ModuleType("matplotlib.pyplot")
        plot.step = lambda x, y, **_: drawn.append(dict(zip(x, y)))
        plot.savefig = plot.legend = lambda *_: None
        package = types.ModuleType("matplotlib")
        package.pyplot = plot
        before = os.getcwd()
        with unittest.mock.patch.dict(sys.modules, {"matplotlib": package, "matplotlib.pyplot": plot}):
            os.chdir(self.folder)
            try:
                exec(code, {})  # pylint: disable=exec-used
            finally:
                os.chdir(before)
        accuracy = {row["total_step"]: row["accuracy"] for row in rows if "accuracy" in row}
        self.assertEqual(list(accuracy), [12, 24, 36, 48, 60])
        self.assertEqual(drawn, [accuracy, {12 + step: gone / 888 for step, gone in GONE.items()}])


class Schedules(MetricsTest):
    def test_in_epochs_and_shares_are_those_in_steps(self):
        found = {}
        for name, schedule in (("steps", {"begin": 12, "end": 36, "every": 6}), ("epochs", IN_EPOCHS),
                               ("share", {"in": "share", "begin": 0.25, "end": 0.75, "every": 0.125})):
            rows, _ = self.train(gradual(schedule), name=name)
            found[name] = (without(rows, TIMES), safetensors(self.folder / "runs" / name / "models/gradual.safetensors")[0])
        self.assertEqual(found["epochs"], found["steps"])
        self.assertEqual(found["share"], found["steps"])

    def test_begin_with_the_sparsity_that_is_there(self):
        rows, _ = self.train({"name": "half", "prune": {"sparsity": 0.4}}, gradual({**IN_EPOCHS, "initial": 0.4}))
        gone = {step: round(888 * (0.8 - 0.4 * left)) for step, left in ((13, 1), (19, 27 / 64), (25, 1 / 8), (31, 1 / 64),
                                                                         (37, 0))}
        self.assertEqual({row["step"]: row["sparsity"] for row in rows if "prune" in row and row["stage"] == "gradual"},
                         {step: count / 888 for step, count in gone.items()})

    def test_are_said_in_steps_by_check(self):
        one_shot = gradual({"in": "share", "begin": 0.5}, schedule={"type": "cosine", "warmup_epochs": 1.5})
        one_shot["train"]["prune"]["schedule"]["type"] = "one_shot"
        self.write("run.json", config(gradual(IN_EPOCHS), {**one_shot, "name": "once"}))
        text = self.succeeds("check", "run.json")
        for line in ("gradual: prunes 5 times, at steps 12 to 36 (from 0), every 6",
                     "once: the learning rate climbs over 18 steps", "once: prunes once, at step 24 (from 0)"):
            self.assertIn(f"        {line}\n", text)

    def test_past_the_stage_say_so(self):
        at = "run.json: /stages/0/train/prune/schedule/"
        for schedule, message in (
                ({"begin": 0.5}, f'{at}begin: found 0.5, expected a whole number of steps; "in": "epochs" or "share" '
                                 "counts otherwise"),
                ({"in": "share", "end": 20}, f"{at}end: found 20, expected at most 1, the whole stage"),
                ({"in": "epochs", "end": 5}, f"{at}end: found 5, but the stage has 4 epochs"),
                ({"in": "epochs", "every": 0}, f"{at}every: found 0, expected a number above 0"),
                ({"in": "epoch"}, f'{at}in: found the text "epoch", expected one of steps, epochs, share, did you mean '
                                  "'epochs'?")):
            with self.subTest(schedule=schedule):
                self.write("run.json", config(gradual(schedule)))
                self.fails_unwritten(2, message, "check", "run.json")
        stage = gradual({"in": "epochs", "end": 3})
        del stage["train"]["epochs"]
        stage["train"]["steps"] = 30
        self.write("run.json", config(stage))
        self.fails_unwritten(2, "run.json: /stages/0 (gradual): prune.schedule: acts at step 36 (epoch 3), but the stage "
                                "has steps 0 to 29", "check", "run.json")


class Cuts(MetricsTest):
    LINE = r"MACs 888 -> 444 \(2.00x fewer\), latency [\d.e-]+ -> [\d.e-]+ ms \([\d.]+x\)"

    def test_say_what_they_save_in_milliseconds(self):
        cut = {"unit": "channel", "ratio": 0.5, "min_channels": 1}
        stages = [{"name": "half", "prune": cut},
                  {"name": "half", "train": sgd(steps=24, prune={**cut, "schedule": {"type": "linear", "end": 15, "every": 9}})}]
        for stage in stages:
            name = next(key for key in stage if key != "name")
            _, text = self.train(stage, name=name)
            self.assertEqual(len(re.findall(self.LINE, text)), 1, text)
            before, after, ratio = map(float, re.search(r"latency (\S+) -> (\S+) ms \((\S+)x\)", text).groups())
            self.assertAlmostEqual(before / after, ratio, delta=0.02 * ratio)  # of the digits shown
            self.assertEqual(self.succeeds("train", f"{name}.json", "--quiet", "--output", f"quiet-{name}"), "")
            self.assertRegex((self.folder / f"quiet-{name}" / "log.txt").read_text(), self.LINE)

    def test_speed_up_of_each_stage_is_against_the_first_network(self):
        cut = {"unit": "channel", "ratio": 0.5, "min_channels": 1}
        _, text = self.train({"name": "dense", "train": sgd(steps=6)}, {"name": "half", "prune": cut},
                             {"name": "tuned", "train": sgd(steps=6)})
        stages = self.read_json("runs/small/result.json")["stages"]
        self.assertEqual(stages[0]["latency_speedup"], 1)  # as fast as itself, whatever a clock says
        for stage, row in zip(stages, re.search(r"^stage .* speed-up .*\n((?:.*\n){3})", text, re.M)[1].splitlines()):
            self.assertIn(f" {stage['latency_speedup']:.2f}x ", row)
        self.assertIn("\nspeed-up: of the latency, against the network that the run began with, measured in turns; ", text)
        rows = csv.DictReader(io.StringIO(self.succeeds("compare", "runs/small", "--stages", "--csv")))
        self.assertEqual([float(row["latency_speedup"]) for row in rows], [stage["latency_speedup"] for stage in stages])
        self.assertEqual(stages[2]["latency_speedup"], stages[1]["latency_speedup"])  # nothing more is cut
        # What goes on from a cut network is compared with that, not with one that the run never had.
        self.write("on.json", {**config({"name": "more", "prune": {"sparsity": 0.5}}),
                               "model": {"weights": "runs/small/models/tuned.safetensors"}})
        text = self.succeeds("train", "on.json")
        self.assertNotIn("speed-up", text)
        self.assertEqual(self.read_json("runs/on/result.json")["stages"][0]["latency_speedup"], 1)

    def test_what_a_stage_has_cut_is_measured_once(self):
        cut = {"unit": "channel", "ratio": 0.5, "min_channels": 1}
        self.write("small.json", config({"name": "half", "prune": cut}, {"name": "again", "prune": cut},
                                        {"name": "same", "prune": {**cut, "ratio": 0}}, {"name": "more", "prune": {"sparsity": 0.5}}))
        text = self.espalier("train", "small.json").stdout  # which warns that ratio 0 cuts nothing
        stages = self.read_json("runs/small/result.json")["stages"]
        half, again, same, more = (stage["latency_speedup"] for stage in stages)
        said = [(float(after), float(ratio)) for after, ratio in re.findall(r"latency \S+ -> (\S+) ms \((\S+)x\)", text)]
        self.assertEqual(len(said), 2, text)
        self.assertEqual([float(f"{stage['latency_ms']:.3g}") for stage in stages[:2]], [after for after, _ in said])
        self.assertEqual(f"{half:.2f}", f"{said[0][1]:.2f}")
        self.assertAlmostEqual(again / half, said[1][1], delta=0.006)  # of the network as the stage found it
        self.assertEqual((same, more), (again, again))

    def test_a_target_that_is_met_is_warned_of(self):
        for name, stage in (("now", {"prune": {"unit": "channel", "macs": 900}}),
                            ("step", {"train": sgd(steps=6, prune={"unit": "channel", "macs": 900,
                                                                   "schedule": {"type": "one_shot", "begin": 2}})})):
            self.write("met.json", config({"name": name, **stage}))
            warning = f"warning: stage '{name}': macs 900 is met already, the network has 888: nothing is cut\n"
            result = self.espalier("train", "met.json", "--output", name)
            self.assertEqual(result.stderr, warning)
            self.assertRegex(result.stdout, r"MACs 888 -> 888 \(1.00x fewer\), latency [\d.e-]+ ms\n")
            self.assertIn(warning.replace("warning: ", "").strip(), " ".join(self.succeeds("check", "met.json").split()))

    def test_what_went_now_and_in_all(self):
        _, text = self.train({"name": "half", "prune": {"sparsity": 0.5}}, {"name": "more", "prune": {"sparsity": 0.75}})
        self.assertIn("half  444 of 888 weights pruned by l1\n", text)
        self.assertIn("more  222 more weights pruned by l1, 666 of 888 in all\n", text)

    def test_hint_at_round_to_where_convolutions_have_ragged_widths(self):
        width = {"avx2": 8, "avx512": 16}[re.search(r"avx\w+", self.succeeds("version"))[0]]
        hint = f'widths that are multiples of {width} run faster: "round_to": {width}\n'
        for prune, hinted in (({"ratio": 0.4}, True), ({"ratio": 0.4, "round_to": width}, False), ({"ratio": 0}, False)):
            stage = {"name": "cut", "prune": {"unit": "channel", "min_channels": 1, **prune}}
            whole = config(stage)
            whole["model"] = {"type": "resnet20", "input": [8, 8, 1], "width": 1}
            self.write("net.json", whole)
            text = self.espalier("train", "net.json", "--output", f"runs/{hinted}{len(prune)}{prune['ratio']}").stdout
            self.assertEqual(text.count(hint), hinted, text)


if __name__ == "__main__":
    unittest.main()
