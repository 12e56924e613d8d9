"""sensitivity: what pruning each layer by itself costs, and the table that a selection reads."""

import json
import os
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, sgd, snapshot

MODEL = "run/models/dense.safetensors"


class Sensitivity(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.train(data={"type": "mnist", "batch": 10, "validation": 0.25})

    def train(self, **others):
        self.write("small.json", config({"name": "dense", "train": sgd(steps=60)}, **others))
        self.succeeds("train", "small.json", "--quiet", "--output", "run")

    def measured(self, *arguments):
        """What it prints, and the object that it writes; the checkpoint stays as it is."""
        before = snapshot(self.folder / "run")
        text = self.succeeds("sensitivity", MODEL, "--json", "s.json", *arguments)
        self.assertEqual(snapshot(self.folder / "run"), before)
        return text, self.read_json("s.json")

    def test_a_row_a_layer_and_a_column_a_share(self):
        text, shown = self.measured("--shares", "0.9,0.5")
        self.assertEqual({key: shown[key] for key in ("checkpoint", "data", "images", "criterion", "unit", "shares")},
                         {"checkpoint": MODEL, "data": shown["data"], "images": 30, "criterion": "l1", "unit": "weight",
                          "shares": [0.5, 0.9]})
        self.assertEqual([(layer["layer"], layer["units"], [one["gone"] for one in layer["measured"]]) for layer in shown["layers"]],
                         [("fc1", 768, [384, 691]), ("fc2", 120, [60, 108])])
        self.assertRegex(text, rf"(?m)^accuracy {shown['accuracy']:.2f} %  loss {shown['loss']:.4f}  \(30 of 30 images of mnist.*, "
                               r"held out of training\)$")
        tables = re.split(r"\n\n", text.strip())
        for table, title, value in zip(tables[1:], ("accuracy lost, in points, ", "loss, "),
                                       (lambda one: f"{shown['accuracy'] - one['accuracy']:.2f}",
                                        lambda one: f"{one['loss']:.4f}")):
            lines = table.splitlines()
            self.assertEqual(lines[0], f"{title}by the share of a layer's weights that l1 takes, all others as they are:")
            self.assertEqual([line.split() for line in lines[1:]],
                             [["layer", "weights", "0.5", "0.9"]] +
                             [[layer["layer"], str(layer["units"]), *map(value, layer["measured"])] for layer in shown["layers"]])

    def test_it_is_what_a_run_comes_to(self):
        _, shown = self.measured("--shares", "0.9")
        self.write("p.json", config({"name": "p", "prune": {"sparsity": 0.9, "include": ["fc1"]}},
                                    data={"type": "mnist", "batch": 10}))
        self.succeeds("train", "p.json", "--quiet", "--output", "p", "--set", f"model.weights={MODEL}")
        on_test = json.loads(self.succeeds("eval", "p/models/p.safetensors", "--json"))
        _, of_test = self.measured("--shares", "0.9", "--set", "data.validation=0")
        self.assertEqual(of_test["layers"][0]["measured"][0]["loss"], on_test["loss"])
        self.assertNotEqual(shown["loss"], of_test["loss"])

    def test_without_a_validation_set_it_is_the_test_set_and_says_so(self):
        text, shown = self.measured("--shares", "0.5", "--images", "20", "--set", "data.validation=0")
        self.assertEqual((shown["images"], shown["data"]), (20, "mnist test"))
        self.assertIn("(20 of 40 images of mnist test: its data.validation is 0, so that none were held out of training)", text)

    def test_the_table_has_the_largest_share_within_the_loss(self):
        _, shown = self.measured()
        losses = sorted(one["loss"] for layer in shown["layers"] for one in layer["measured"])
        bound = max(losses[len(losses) // 2], shown["loss"])
        self.measured("--table", "t.json", "--max-loss", str(bound))
        expected = {layer["layer"]: max([one["share"] for one in layer["measured"] if one["loss"] <= bound], default=0)
                    for layer in shown["layers"]}
        self.assertEqual(self.read_json("t.json"), {"sparsity_of": expected})
        self.measured("--table", "t.json", "--max-loss", "100", "--unit", "channel", "--shares", "0.25,0.5")
        fields = self.read_json("t.json")
        self.assertEqual(fields, {"overrides": [{"layers": ["fc1"], "max_ratio": 0.5}]})
        self.write("cut.json", config({"name": "cut", "prune": {"unit": "channel", "ratio": 0.25, **fields}}))
        self.assertIn("is valid", self.succeeds("check", "cut.json"))

    def test_criteria_that_look_at_data_and_other_units(self):
        for arguments, layers in ((("--criterion", "taylor"), ["fc1", "fc2"]), (("--unit", "filter"), ["fc1"]),
                                  (("--unit", "column", "--criterion", "l2"), ["fc1", "fc2"]),
                                  (("--unit", "channel", "--criterion", "group_norm"), ["fc1"])):
            with self.subTest(arguments=arguments):
                text, shown = self.measured("--shares", "0.5,0.99", *arguments)
                self.assertEqual([layer["layer"] for layer in shown["layers"]], layers)
        self.assertEqual(shown["layers"][0]["measured"][1], None)
        self.assertRegex(text, r"(?m)^fc1 +12 +\S+ +-$")

    def test_what_is_wrong_is_told_and_nothing_is_written(self):
        loss = json.loads(self.succeeds("eval", MODEL, "--json"))["loss"]
        self.assertGreater(loss, 0.0001)
        for code, arguments, message in (
                (2, ["none.safetensors"], "none.safetensors: cannot open: No such file or directory"),
                (2, [MODEL, "--shares", "0.5,1.5"],
                 "sensitivity: --shares: found '1.5', expected shares above 0 and below 1, such as 0.5,0.9"),
                (2, [MODEL, "--shares", "half"],
                 "sensitivity: --shares: found 'half', expected shares above 0 and below 1, such as 0.5,0.9"),
                (2, [MODEL, "--criterion", "l3"], "sensitivity: --criterion: found 'l3', expected one of "
                                                  f"{self.allowed('prune', 'criterion').replace('movement, ', '')}, did you mean 'l1'?"),
                (2, [MODEL, "--unit", "chanel"], "sensitivity: --unit: found 'chanel', expected one of weight, filter, row, column, "
                                                 "kernel, channel, did you mean 'channel'?"),
                (2, [MODEL, "--images", "0"], "sensitivity: --images: found '0', expected a whole number from 1 to 1000000000"),
                (2, [MODEL, "--max-loss", "-1"], "sensitivity: --max-loss: found '-1', expected a number of at least 0"),
                (2, [MODEL, "--max-loss", "1"], "sensitivity: --max-loss: needs --table FILE to write to"),
                (2, [MODEL, "--table", "t.json"],
                 "sensitivity: --table: needs --max-loss, the largest loss that is let pass"),
                (2, [MODEL, "--json", "a", "--table", "a", "--max-loss", "1"],
                 "sensitivity: --json and --table: two files are expected"),
                (2, [MODEL, "--json", MODEL],
                 f"sensitivity: --json: {MODEL} is what the command reads, and would be overwritten"),
                (1, [MODEL, "--unit", "channel", "--criterion", "bn_scale"],
                 "prune: criterion bn_scale goes by batch norms, and there is none after fc1")):
            with self.subTest(arguments=arguments):
                self.fails_unwritten(code, message, "sensitivity", *arguments)
        result = self.espalier("sensitivity", MODEL, "--table", "t.json", "--max-loss", "0.0001")
        self.assertRegex(result.stderr, r"^espalier: sensitivity: --max-loss: found 0\.0001, but the loss of nothing pruned is \d+\.\d+\n$")
        self.assertEqual((result.returncode, (self.folder / "t.json").exists()), (2, False))
        self.assertEqual(self.espalier("sensitivity", MODEL, "--json", "nowhere/s.json").returncode, 1)

    def test_an_interrupt_leaves_nothing(self):
        self.write("wide.json", config({"name": "dense", "evaluate": {}}, model={"type": "mlp", "input": [28, 28, 1], "hidden": [600] * 6},
                                       data={"type": "synthetic", "train_images": 10, "test_images": 5000}))
        self.succeeds("train", "wide.json", "--quiet", "--output", "wide")
        before = sorted(self.folder.rglob("*"))
        arguments = ("sensitivity", "wide/models/dense.safetensors", "--images", "5000", "--json", "s.json")
        with subprocess.Popen(**self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while not any(path.name.startswith("s.json.tmp") for path in self.folder.iterdir()):
                self.assertEqual(process.poll(), None)
            process.send_signal(signal.SIGINT)  # from then on data are drawn and layers measured, for seconds
            _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(sorted(self.folder.rglob("*")), before)


if __name__ == "__main__":
    unittest.main()
