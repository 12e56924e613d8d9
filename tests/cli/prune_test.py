"""What a prune takes and leaves: layers by their names, rows of the classifier, whole layers."""

import json
import os
import pathlib
import re
import shutil
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, safetensors, sgd

README = pathlib.Path(__file__).resolve().parents[2] / "prune" / "README.md"


class PruneTest(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def write_run(self, prune, hidden, **train):
        content = config({"name": "dense", "train": sgd(steps=20)},
                         {"name": "pruned", **({"train": sgd(**train, prune=prune)} if train else {"prune": prune})})
        content["model"]["hidden"] = hidden
        return self.write("prune.json", content)

    def sparsities(self, prune, hidden=(16, 12), **train):
        """The share of zeros of each layer."""
        self.write_run(prune, hidden, **train)
        result = self.espalier("train", "prune.json", "--quiet", "--output", "run")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual("leaves nothing" in result.stderr, prune.get("sparsity") == 1, result.stderr)
        found = json.loads(self.succeeds("inspect", "run/models/pruned.safetensors", "--json"))["layers"]
        self.forget("run")
        return {layer["name"]: layer["sparsity"] for layer in found}

    def forget(self, run):
        shutil.rmtree(self.folder / run)


class Filters(PruneTest):
    def test_of_the_output_stay_unless_they_are_included_by_name(self):
        for prune in ({}, {"scope": "layer"}, {"criterion": "l2"}, {"include": ["*"]}, {"include": ["fc1", "fc*"]}):
            for train in ({}, {"steps": 30}):
                schedule = {"schedule": {"type": "linear", "every": 5}} if train else {}
                with self.subTest(prune=prune, train=train):
                    layers = self.sparsities({"unit": "row", "sparsity": 0.3, **prune, **schedule}, **train)
                    self.assertEqual(layers["fc3"], 0)
                    self.assertGreater(layers["fc1"] + layers["fc2"], 0)
        layers = self.sparsities({"unit": "row", "sparsity": 0.3, "include": ["fc3"]})
        self.assertEqual(layers, {"fc1": 0, "fc2": 0, "fc3": 0.3})
        self.write_run({"unit": "row", "sparsity": 0.3}, hidden=[])
        self.fails_unwritten(1, "prune.json: /stages/1 (pruned): prune: nothing to prune: the filters of the "
                                "network's output, fc1, stay unless include names it", "check", "prune.json")

    def test_are_ranked_against_those_of_other_layers_by_their_share_of_the_layers_mean(self):
        # fc1's rows have 64 weights each, fc2's 16: by their sums fc2's would all go first.
        layers = self.sparsities({"unit": "row", "sparsity": 0.3})
        self.assertGreater(layers["fc1"], 0.05)
        self.assertLess(layers["fc2"], 0.6)
        layers = self.sparsities({"unit": "row", "sparsity": 0.3, "normalizer": "none"})
        self.assertEqual(layers["fc1"], 0)
        for prune in ({"scope": "layer", "sparsity": 0.3}, {"threshold": 0.1}):
            self.write_run({"unit": "row", "normalizer": "max", **prune}, hidden=[12])
            self.fails_unwritten(2, "prune.json: /stages/1/prune/normalizer: is for units that are ranked over "
                                    "several layers: scope global, isomorphic, and sparsity or quantile", "check", "prune.json")


class Empty(PruneTest):
    def test_layers_are_an_error_unless_they_are_allowed(self):
        for prune, layer, counted in (
                ({"unit": "row", "normalizer": "none", "sparsity": 0.5}, "fc2, all 12 filters", False),
                ({"unit": "row", "threshold": 1e9}, "fc1, all 16 filters", False),
                ({"threshold": 1e9}, "fc1, all 1024 weights", False),
                ({"sparsity": 1}, "fc1, all 1024 weights", True),
                ({"unit": "row", "scope": "layer", "sparsity": 0.97}, "fc1, all 16 filters", True)):
            with self.subTest(prune=prune):
                self.write_run(prune, hidden=[16, 12])
                message = f"prune: nothing would be left of {layer} of which would go; \"allow_empty\": true lets them"
                if counted:  # whatever the weights are
                    message = "prune.json: /stages/1 (pruned): " + message
                    self.fails_unwritten(1, message, "check", "prune.json")
                    self.fails_unwritten(1, message, "train", "prune.json")
                else:
                    self.assertEqual(self.espalier("train", "prune.json", "--quiet", "--output", "failed").stderr,
                                     f"espalier: {message}\n")
                    self.forget("failed")
                self.assertIn(1, self.sparsities({**prune, "allow_empty": True}).values())
        gradual = {"sparsity": 1, "schedule": {"type": "cubic", "every": 3}}
        self.write_run(gradual, hidden=[12], steps=10)
        self.fails_unwritten(1, "prune.json: /stages/1 (pruned): prune: nothing would be left of fc1, all 768 weights "
                                'of which would go; "allow_empty": true lets them', "check", "prune.json")
        self.assertEqual(self.sparsities({**gradual, "allow_empty": True}, steps=10), {"fc1": 1, "fc2": 1, "fc3": 1})
        self.write_run({"unit": "channel", "ratio": 0.5, "allow_empty": True}, hidden=[12])
        self.assertIn("allow_empty: is for unit weight", self.espalier("check", "prune.json").stderr)

    def test_found_while_training_may_be_allowed_when_it_goes_on(self):
        self.write_run({"unit": "row", "normalizer": "none", "sparsity": 0.5, "schedule": {"type": "linear", "every": 5}},
                       hidden=[16, 12], steps=30)
        message = self.espalier("train", "prune.json", "--quiet", "--output", "run").stderr
        self.assertRegex(message, r"\Aespalier: stage 'pruned', step \d+: prune: nothing would be left of fc2, ")
        result = self.espalier("train", "prune.json", "--quiet", "--output", "run", "--resume", "--set",
                               "stages.pruned.train.prune.allow_empty=true")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"\Awarning: run: stage 'pruned': layer collapse: fc2 is left with \d+ of 192 ")


class Collapse(PruneTest):
    def test_of_a_layer_is_warned_of(self):
        line = "stage 'pruned': layer collapse: fc1 is left with 1 of 1,024 weights, in 1 of 16 filters"
        foreseen = "stage 'pruned': layer collapse: fc1 will be left with 1 of 1,024 weights, and has 16 outputs"
        for prune, train in (({}, {}), ({"schedule": {"type": "cubic", "every": 5}}, {"steps": 20})):
            with self.subTest(prune=prune):
                self.write_run({"scope": "layer", "sparsity": 0.9995, "exclude": ["fc2"], **prune}, hidden=[16], **train)
                self.assertIn(line, " ".join(self.succeeds("check", "prune.json").split()))
                result = self.espalier("train", "prune.json", "--quiet", "--output", "run")
                self.assertEqual((result.returncode, result.stderr),
                                 (0, f"warning: run: {foreseen}\nwarning: run: {line}\n"))
                self.forget("run")

    def test_is_foreseen_where_the_target_says_it(self):
        """After training a global target says nothing of a layer, unless it is the only one."""
        for prune, warned in (({"sparsity": 0.999, "include": ["fc1"]}, True), ({"sparsity": 0.99}, False)):
            with self.subTest(prune=prune):
                self.write_run(prune, hidden=[16])
                said = " ".join(self.succeeds("check", "prune.json").split())
                self.assertEqual("stage 'pruned': layer collapse: fc1 will be left with 1 of 1,024 weights, and has 16 outputs"
                                 in said, warned, said)

    def test_dead_units_are_counted_in_a_line(self):
        self.write_run({"scope": "layer", "sparsity": 0.9, "criterion": "random"}, hidden=[16])
        said = self.succeeds("train", "prune.json", "--output", "run")
        [line] = [line for line in said.splitlines() if line.startswith("pruned  dead: ")]
        self.assertRegex(line, r"^pruned  dead: .* columns of .*have no weight that is not masked")
        masks = {name.removeprefix("mask/").removesuffix(".weight"): (shape, content) for name, (_, shape, content)
                 in safetensors(self.folder / "run/checkpoint.safetensors")[0].items() if name.startswith("mask/")}
        dead = sum(not any(content[column::columns]) for (_, columns), content in masks.values() for column in range(columns))
        self.assertIn(f" {dead} of ", line)
        self.write_run({"scope": "layer", "sparsity": 0.9, "criterion": "random"}, hidden=[16])
        first = {"name": "pruned", "prune": {"scope": "layer", "sparsity": 0.9, "criterion": "random"}}
        self.write("first.json", config(first, {"name": "sparse", "train": sgd(steps=1)}))
        self.assertIn("warning  stage 'pruned': dead: ", self.succeeds("check", "first.json"))


class Names(PruneTest):
    def test_mean_a_layer_and_not_those_whose_names_it_begins(self):
        hidden = [8] * 10
        layers = self.sparsities({"sparsity": 0.5, "scope": "layer", "include": ["fc1"]}, hidden)
        self.assertEqual([name for name, share in layers.items() if share], ["fc1"])
        layers = self.sparsities({"sparsity": 0.5, "scope": "layer", "include": ["fc1*"]}, hidden)
        self.assertEqual([name for name, share in layers.items() if share], ["fc1", "fc10", "fc11"])

    def test_that_once_meant_more_are_told_so_once(self):
        note = "prune.json: /stages/1 (pruned): {} 'fc1' does not mean fc10, fc11, as it once did: 'fc1*' means all " \
               "that begin with it"
        for prune, lists in (
                ({"sparsity": 0.5, "exclude": ["fc1"], "include": ["fc1", "fc1*", "fc2"]},
                 ["prune: include", "prune: exclude"]),
                ({"unit": "channel", "ratio": 0.1, "min_channels": 1,
                  "overrides": [{"layers": ["fc1"], "max_ratio": 0}]}, ["prune: layers"])):
            for train in ({}, {"steps": 10, "regularize": {"type": "group_norm", "exclude": ["fc1"]}}):
                schedule = {"schedule": {"type": "linear", "every": 2}} if train else {}
                self.write_run({**prune, **schedule}, [8] * 10, **train)
                expected = [note.format(name) for name in lists + (["regularize: exclude"] if train else [])]
                said = self.succeeds("train", "prune.json", "--output", "run").splitlines()
                self.assertEqual([line for line in said if "once did" in line], expected)
                said = self.succeeds("check", "prune.json").splitlines()
                self.assertEqual([line for line in said if "once did" in line],
                                 ["note    " + line for line in expected])
                self.forget("run")

    def test_that_mean_nothing_any_more_say_what_would(self):
        self.write_run({"sparsity": 0.5, "include": ["fc"]}, [8])
        self.fails_unwritten(1, "prune.json: /stages/1 (pruned): prune: include 'fc' names no convolution or linear "
                                "layer; 'fc*' means those whose names begin with it", "check", "prune.json")


class Array:
    """As much of numpy's as the docs use."""

    def __init__(self, shape, numbers):
        self.shape, self.numbers = shape, list(numbers)

    def __ne__(self, other):
        return Array(self.shape, (number != other for number in self.numbers))

    def __mul__(self, other):
        return Array(self.shape, (a * b for a, b in zip(self.numbers, other.numbers)))


def load_arrays(path):
    return {name: Array(shape, struct.unpack(f"<{len(content) // 4}f", content))
            for name, (_, shape, content) in safetensors(path)[0].items()}


class MethodsAsStages(PruneTest):
    """The configs of prune/README.md, cut short."""

    def blocks(self):
        text = README.read_text().split("## Methods as stages")[1].split("\n## ")[0]
        return [json.loads(block)["stages"] for block in re.findall(r"```json\n(.*?)```", text, re.S)]

    def shorten(self, stages):
        for stage in stages:
            self.shorten(stage.get("stages", []))
            if "train" not in stage:
                continue
            stage["train"]["epochs"] = 4
            schedule = stage["train"].get("prune", {}).get("schedule", {})
            if "end" in schedule:
                schedule.update(begin=1, end=4, every=1)

    def run_block(self, stages, name):
        self.shorten(stages)
        self.write(f"{name}.json", config(*stages, name=name))
        self.succeeds("train", f"{name}.json", "--quiet")
        result = json.loads((self.folder / "runs" / name / "result.json").read_text())
        return {stage["name"]: stage for stage in result["stages"]}

    def test_lottery_tickets_begin_with_the_first_weights_that_are_left(self):
        stages = self.run_block(self.blocks()[0], "ticket")
        first, pruned, tuned = (load_arrays(self.folder / f"runs/ticket/models/{model}.safetensors") for model in (
            "first", "round5.pruned", "round5.tuned"))
        for name in ("fc1.weight", "fc2.weight"):
            self.assertEqual(pruned[name].numbers, (first[name] * (pruned[name] != 0)).numbers)
            self.assertEqual((tuned[name] != 0).numbers, (pruned[name] != 0).numbers)
            self.assertNotEqual(tuned[name].numbers, pruned[name].numbers)
        self.assertEqual(pruned["fc1.bias"].numbers, first["fc1.bias"].numbers)
        self.assertAlmostEqual(stages["round5.tuned"]["sparsity"], 1 - 0.8 ** 5, delta=0.01)

    def test_the_others_end_as_sparse_as_they_say(self):
        _, dense, alternating, soft = self.blocks()
        stages = self.run_block(dense, "dsd")
        self.assertAlmostEqual(stages["free"]["sparsity"], 0.5, delta=0.01)
        self.assertLess(stages["again"]["sparsity"], 0.45)
        self.assertAlmostEqual(self.run_block(alternating, "acdc")["acdc"]["sparsity"], 0.9, delta=0.01)
        self.run_block(soft, "soft")
        filters = load_arrays(self.folder / "runs/soft/models/soft.safetensors")["fc1.weight"]
        size = len(filters.numbers) // filters.shape[0]
        gone = sum(not any(filters.numbers[i:i + size]) for i in range(0, len(filters.numbers), size))
        self.assertEqual(gone, round(0.3 * filters.shape[0]))


if __name__ == "__main__":
    unittest.main()
