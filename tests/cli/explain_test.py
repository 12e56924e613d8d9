"""explain: what a pruner would take, in numbers that are those of the run."""

import json
import os
import statistics
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, safetensors, sgd, snapshot


def magnitudes(path):
    """{layer: |w| of its weights}, as doubles of what the file has."""
    return {name.removesuffix(".weight"): [abs(w) for w in struct.unpack(f"<{len(content) // 4}f", content)]
            for name, (_, _, content) in safetensors(path)[0].items() if name.endswith(".weight")}


class ExplainTest(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def explained(self, *arguments):
        """The object that it prints; nothing is written. What there is to say of the weights goes to standard error."""
        before = snapshot(self.folder)
        result = self.espalier("explain", *arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"\A(\S+: its masks are kept: .*\n)?\Z")
        self.assertEqual(snapshot(self.folder), before)
        return json.loads(result.stdout)

    def layers(self, *arguments):
        return {layer["layer"]: layer for layer in self.explained(*arguments)["layers"]}


class OfARun(ExplainTest):
    def setUp(self):
        super().setUp()
        self.write("small.json", config({"name": "dense", "train": sgd(steps=20)}, {"name": "pruned", "prune": {"sparsity": 0.5}},
                                        {"name": "more", "prune": {"sparsity": 0.75, "scope": "layer"}}))
        self.succeeds("train", "small.json", "--quiet", "--output", "run")

    def test_numbers_are_those_of_the_weights_that_the_stage_found(self):
        shown = self.explained("run")
        self.assertEqual([shown[key] for key in ("stage", "unit", "criterion", "scope", "target", "schedule", "weights")],
                         ["pruned", "weight", "l1", "global", {"sparsity": 0.5}, None, "run/models/dense.safetensors"])
        self.assertIn("Han, Pool", shown["paper"])
        found = magnitudes(self.folder / "run/models/dense.safetensors")
        everything = sorted(score for scores in found.values() for score in scores)
        bound = everything[len(everything) // 2 - 1]  # the last that goes
        after = magnitudes(self.folder / "run/models/pruned.safetensors")
        for layer in shown["layers"]:
            scores = sorted(found[layer["layer"]])
            gone = [score for score in scores if score <= bound]
            self.assertEqual((layer["units"], layer["gone_before"], layer["go_now"]), (len(scores), 0, len(gone)))
            self.assertEqual(layer["go_now"], after[layer["layer"]].count(0))
            self.assertEqual(layer["scores"], {"min": scores[0], "median": statistics.median(scores), "max": scores[-1]})
            self.assertEqual((layer["highest_gone"], layer["lowest_kept"]), (gone[-1], scores[len(gone)]))
        self.assertEqual(shown["total"], {"units": 888, "gone_before": 0, "go_now": 444})
        self.assertEqual({layer["class"] for layer in shown["layers"]}, {0})

    def test_a_later_stage_finds_what_was_pruned_before(self):
        layers = self.layers("run", "--stage", "more")
        before = magnitudes(self.folder / "run/models/pruned.safetensors")
        for name, layer in layers.items():
            self.assertEqual(layer["gone_before"], before[name].count(0))
            self.assertEqual(layer["gone_before"] + layer["go_now"], round(0.75 * len(before[name])))
            self.assertEqual(layer["scores"]["min"], min(score for score in before[name] if score))
        self.assertEqual([layer["class"] for layer in layers.values()], [0, 1])
        text = self.succeeds("explain", "run", "--stage", "more")
        self.assertIn("weights    run/models/pruned.safetensors\n", text)
        self.assertIn("scope      layer: each layer is ranked by itself\n", text)
        self.assertRegex(text, r"\nlayer +weights +gone before +go now +share +min +median +max +went up to +stay from\n")
        self.assertIn(" 75.00 % ", text)

    def test_weights_may_be_others(self):
        pruned = "run/models/pruned.safetensors"
        for subject in ("run", "small.json"):
            shown = self.explained(subject, "--weights", pruned)
            self.assertEqual((shown["weights"], shown["total"]), (pruned, {"units": 888, "gone_before": 444, "go_now": 0}))
        text = self.succeeds("explain", "small.json")
        self.assertIn("weights    initial ones, of seed 0; a run comes to others by then, with dense (train): --weights FILE, or a "
                      "run's folder, has them\n", text)
        self.assertNotEqual(self.layers("small.json")["fc1"]["scores"], self.layers("run")["fc1"]["scores"])

    def test_what_is_wrong_is_told(self):
        self.write("plain.json", config({"name": "dense", "train": sgd(steps=1)}))
        (self.folder / "empty").mkdir()
        for arguments, message in (
                (["plain.json"], "plain.json: no stage prunes"),
                (["small.json", "--stage", "prund"], "small.json: no stage 'prund', did you mean 'pruned'?"),
                (["small.json", "--stage", "dense"], "small.json: stage 'dense' does not prune; those that do: pruned, more"),
                (["small.json", "--at", "3"], "small.json: stage 'pruned': prunes at once, and has no step 3"),
                (["small.json", "--at", "-3"], "explain: --at: found '-3', expected a whole number from 0 to 9007199254740992"),
                (["empty"], "empty: is a folder, and holds no run"),
                (["small.json", "--weights", "none"], "none: cannot open: No such file or directory"),
                (["smal.json"], "smal.json: cannot open: No such file or directory, did you mean 'small.json'?")):
            with self.subTest(arguments=arguments):
                self.fails_unwritten(2, message, "explain", *arguments)
        self.fails_unwritten(1, "small.json: stage 'pruned': prune: exclude 'fc9' names no convolution or linear layer, known: fc1, "
                                "fc2, did you mean 'fc1'?", "explain", "small.json", "--set", 'stages.pruned.prune.exclude=["fc9"]')


class OfAConfig(ExplainTest):
    def write_stage(self, prune, hidden=(12,), **train):
        stage = {"name": "pruned", **({"train": sgd(**train, prune=prune)} if train else {"prune": prune})}
        self.write("c.json", config(stage, model={"type": "mlp", "input": [8, 8, 1], "hidden": list(hidden)}))

    def test_it_needs_no_data_for_a_criterion_that_looks_at_none(self):
        self.write_stage({"sparsity": 0.5})
        (self.folder / "data").rename(self.folder / "elsewhere")
        self.assertIn("data       the criterion looks at none\n", self.succeeds("explain", "c.json"))
        self.write_stage({"sparsity": 0.5, "criterion": "taylor"})
        self.assertEqual(self.espalier("explain", "c.json").returncode, 1)
        self.assertIn("data       mnist train, 120 images\n", self.succeeds("explain", "c.json", "--data", "elsewhere"))
        self.assertGreater(self.layers("c.json", "--data", "elsewhere")["fc1"]["go_now"], 0)

    def test_layers_that_are_left_out_are_listed_with_the_reason(self):
        self.write_stage({"unit": "filter", "sparsity": 0.3, "exclude": ["fc2"]}, hidden=[12, 9, 8])
        shown = self.explained("c.json")
        self.assertEqual(shown["left_out"],
                         [{"layer": "fc2", "why": "exclude has 'fc2'"},
                          {"layer": "fc4", "why": "its filters are the network's output, and stay unless include names it"}])
        self.assertEqual([layer["layer"] for layer in shown["layers"]], ["fc1", "fc3"])
        self.assertEqual(shown["normalizer"], "mean")
        text = self.succeeds("explain", "c.json")
        self.assertIn("left out  fc2: exclude has 'fc2'\n", text)
        self.assertIn("scores     of each layer divided by its mean\n", text)

    def test_the_limit_that_held(self):
        self.write_stage({"sparsity": 0.5, "overrides": [{"layers": ["fc2"], "max_ratio": 0.1}]})
        layers = self.layers("c.json")
        self.assertEqual([layers[name]["go_now"] for name in ("fc1", "fc2")], [432, 12])
        self.assertEqual(layers["fc1"]["held"], None)
        self.assertEqual(layers["fc2"]["held"]["kept"], 108)
        wanted = layers["fc2"]["held"]["wanted"]
        self.assertLess(wanted, 108)
        self.assertGreater(layers["fc1"]["highest_gone"], layers["fc2"]["lowest_kept"])
        text = self.succeeds("explain", "c.json")
        self.assertIn(f"limit  fc2 is held at 108 of 120 weights; the selection would have left {wanted}\n", text)
        self.assertRegex(text, r"\nfc2 .* held at 108\n")

    def test_n_of_m(self):
        self.write_stage({"unit": "2:4", "exclude": ["fc2"]})
        shown = self.explained("c.json")
        self.assertEqual((shown["target"], shown["total"]["go_now"]), ({"n": 2, "m": 4}, 384))
        text = self.succeeds("explain", "c.json")
        self.assertIn("unit       2:4\n", text)
        self.assertIn("target     2 of each 4 stay\n", text)

    def test_a_schedule_is_explained_at_its_end_or_at_a_step(self):
        self.write_stage({"sparsity": 0.8, "schedule": {"type": "linear", "begin": 0, "end": 8, "every": 4}}, steps=10)
        shown = self.explained("c.json")
        self.assertEqual((shown["schedule"], shown["total"]["go_now"]), ({"type": "linear", "step": None}, round(0.8 * 888)))
        self.assertIn("stage      pruned, prunes while it trains, schedule linear: shown is its end, at the weights of its "
                      "beginning\n", self.succeeds("explain", "c.json"))
        shown = self.explained("c.json", "--at", "4")
        self.assertEqual((shown["schedule"]["step"], shown["total"]["go_now"]), (4, round(0.4 * 888)))
        self.assertIn("target     sparsity 0.4 of 0.8\n", self.succeeds("explain", "c.json", "--at", "4"))
        self.fails_unwritten(2, "c.json: stage 'pruned': its schedule does not act at step 5, but at steps 0 to 8, every 4 (from 0)",
                             "explain", "c.json", "--at", "5")

    def test_warns_of_what_would_be_left(self):
        self.write_stage({"scope": "layer", "sparsity": 0.9995, "exclude": ["fc2"]}, hidden=[16])
        shown = self.explained("c.json")
        self.assertEqual(shown["warnings"], ["layer collapse: fc1 is left with 1 of 1,024 weights, in 1 of 16 filters"])
        self.assertEqual([(layer["dead_filters"], layer["dead_columns"]) for layer in shown["layers"]], [(15, 63)])
        text = self.succeeds("explain", "c.json")
        self.assertIn("dead      15 of 16 filters and 63 of 64 columns of fc1 have no weight that is not masked\n", text)
        self.assertIn("warning  layer collapse: fc1 is left with 1 of", text)

    def test_alike_layers_have_a_class(self):
        self.write("c.json", config({"name": "cut", "prune": {"unit": "channel", "scope": "isomorphic", "ratio": 0.2,
                                                              "min_channels": 1}},
                                    model={"type": "resnet20", "input": [8, 8, 1], "width": 0.5}))
        layers = self.layers("c.json")
        classes = [layer["class"] for layer in layers.values()]
        self.assertTrue(1 < len(set(classes)) < len(classes), classes)
        self.assertIn("isomorphic: layers of the same class are ranked against each other",
                      self.succeeds("explain", "c.json"))
        before = sum(layer["units"] for layer in layers.values())
        self.assertAlmostEqual(sum(layer["go_now"] for layer in layers.values()) / before, 0.2, delta=0.05)


if __name__ == "__main__":
    unittest.main()
