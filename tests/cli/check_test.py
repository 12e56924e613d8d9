"""What check says of a config: all that is wrong with it at once, and what is valid and yet hardly meant."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, sgd
from screens_test import Terminal


class Mistakes(CliTest):
    def all_told(self, code, lines, *arguments):
        """It ends with `code`, says these lines and how many they are, and nothing is written."""
        name = arguments[1]
        told = "".join(f"espalier: {line}\n" for line in [*lines, f"{name}: {len(lines)} mistakes"])
        before = sorted(self.folder.rglob("*"))
        result = self.espalier(*arguments)
        self.assertEqual((result.stderr, result.returncode, result.stdout), (told, code, ""))
        self.assertEqual(sorted(self.folder.rglob("*")), before)

    def test_of_the_text(self):
        bad = config()
        bad["model"]["hiden"] = [3]
        bad["data"]["batch"] = "ten"
        bad["stages"][0]["train"] = {"epocs": 3, "optimizer": {"type": "adma", "lr": -1}}
        bad["stages"].append({"name": "dense", "evaluate": {}})
        lines = ["bad.json: /model/hiden: no such field, did you mean 'hidden'?",
                 "bad.json: /data/batch: found the text \"ten\", expected a whole number of at least 1",
                 "bad.json: /stages/0/train/epocs: no such field, did you mean 'epochs'?",
                 "bad.json: /stages/0/train/optimizer/type: found the text \"adma\", expected one of "
                 f"{self.allowed('train', 'optimizer', 'type')}, did you mean 'adam'?",
                 "bad.json: /stages/0/train/optimizer/lr: found -1, expected a number above 0",
                 "bad.json: /stages/2/name: \"dense\" is the name of /stages/0, too"]
        self.write("bad.json", bad)
        for command in ("check", "train", "inspect"):
            with self.subTest(command=command):
                self.all_told(2, lines, command, "bad.json")

    def test_of_what_it_speaks_of(self):
        """Data, layers and weights are looked at, though a stage is wrong; and what is of no use then is not."""
        bad = config({"name": "dense", "train": sgd(steps=0)},
                     {"name": "pruned", "prune": {"sparsity": 0.5, "include": ["fc9"]}},
                     {"name": "cut", "prune": {"unit": "channel", "ratio": 0.1, "exclude": ["conv*"]}})
        lines = ["bad.json: /stages/0/train/steps: found 0, expected a whole number of at least 1",
                 "none.safetensors: cannot open: No such file or directory",
                 "mnist: data/mnist lacks train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
                 "t10k-labels-idx1-ubyte (plain, .gz or .xz); get them by `scripts/get-data mnist`, or say where they "
                 "are by --data or ESPALIER_DATA",
                 "bad.json: /stages/1 (pruned): prune: include 'fc9' names no convolution or linear layer, known: fc1, "
                 "fc2, did you mean 'fc1'?",
                 "bad.json: /stages/2 (cut): prune: exclude 'conv*' names no convolution or linear layer, known: fc1, "
                 "fc2"]
        bad["model"]["weights"] = "none.safetensors"
        self.write("bad.json", bad)
        self.all_told(2, lines, "check", "bad.json")
        bad["stages"][0]["train"]["steps"] = 1
        self.write("bad.json", bad)
        self.all_told(2, lines[1:], "check", "bad.json")
        bad["model"]["type"] = "mpl"
        self.write("bad.json", bad)
        self.assertNotIn("fc9", self.espalier("check", "bad.json").stderr)

    def test_what_does_not_fit_is_not_built_though_a_stage_is_wrong(self):
        self.write("big.json", config({"name": "dense", "train": sgd(steps=0)}, {"name": "pruned", "prune": {"sparsity": 0.5}}))
        result = self.espalier("check", "big.json", "--set", "model.hidden=[1000000,1000000]", "--set", "data.type=synthetic")
        lines = result.stderr.splitlines()
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(lines[0], "espalier: big.json: /stages/0/train/steps: found 0, expected a whole number of at least 1")
        self.assertRegex(lines[1], r"big.json: a run needs about 4\.0 TB: .*; this machine has ")
        self.assertEqual(lines[2:], ["espalier: big.json: 2 mistakes"])

    def test_train_tells_all_that_its_stages_would_stumble_on(self):
        self.write_data()
        self.write("bad.json", config({"name": "a", "prune": {"sparsity": 0.5, "include": ["fc9"]}},
                                      {"name": "b", "evaluate": {"reestimate_norm": 3}}))
        lines = ["bad.json: /stages/0 (a): prune: include 'fc9' names no convolution or linear layer, known: fc1, fc2, "
                 "did you mean 'fc1'?",
                 "bad.json: /stages/1 (b): reestimate_norm: found 3, but the model has no batch norm"]
        for command in ("check", "train"):
            self.all_told(2, lines, command, "bad.json")


class OnATerminal(CliTest):
    def seen(self, columns, *arguments, **environment):
        terminal = Terminal({**self.command(*arguments), "more": environment}, columns)
        self.assertEqual(terminal.finish(), 0)
        return terminal.output.decode().replace("\r\n", "\n")

    def test_lines_fit_and_warnings_have_colour(self):
        self.write_data()
        self.write("odd.json", config({"name": "dense", "train": {"steps": 5, "optimizer": {"type": "adam", "lr": 0.5}}}))
        warning = ("warning  odd.json: /stages/0/train/optimizer/lr: 0.5 is a\n"
                   "         rate that hardly anybody uses with adam: from 1e-07\n"
                   "         to 0.1 are in use\n")
        text = self.seen(60, "check", "odd.json")
        self.assertTrue(text.endswith("".join(f"\x1b[33m{line}\x1b[0m\n" for line in warning.splitlines())), text)
        text = self.seen(60, "check", "odd.json", NO_COLOR="1")
        self.assertTrue(text.endswith(warning), text)
        self.assertLessEqual(max(map(len, text.splitlines())), 60, text)
        self.assertIn("\n        ", text[text.index("memory  about"):text.index("time    ")])

    def test_lines_of_a_cut_fit(self):
        self.write_data()
        self.write("cut.json", config({"name": "dense", "train": sgd(steps=5)},
                                      {"name": "cut", "prune": {"unit": "channel", "ratio": 0.2, "verify": True}},
                                      model={"type": "resnet20", "input": [8, 8, 1], "width": 0.5}))
        for command in ("train", "graph"):
            text = self.seen(60, command, "cut.json")
            self.assertIn("layer2.0.conv1", text)
            self.assertNotIn("#..#", text)
            self.assertLessEqual(max(map(len, text.replace("\x1b[J", "").splitlines())), 60, text)


class Warnings(CliTest):
    def test_are_said_by_check_and_train(self):
        self.write_data()
        self.write("odd.json", config({"name": "dense", "train": {"steps": 5, "optimizer": {"type": "adam", "lr": 0.5}}},
                                      {"name": "much", "prune": {"sparsity": 0.9}},
                                      {"name": "less", "prune": {"sparsity": 0.5}}))
        lines = ["odd.json: /stages/2/prune/sparsity: 0.5 asks for no more than stage 'much' has done, whose sparsity is "
                 "0.9: nothing more goes",
                 "odd.json: /stages/0/train/optimizer/lr: 0.5 is a rate that hardly anybody uses with adam: from 1e-07 to "
                 "0.1 are in use"]
        output = self.succeeds("check", "odd.json")
        self.assertIn("odd.json: is valid\n", output)
        for line in lines:
            self.assertIn(f"warning  {line}\n", output)
        result = self.espalier("train", "odd.json", "--quiet")
        self.assertEqual(result.returncode, 0)
        for line in lines:
            self.assertIn(f"warning: runs/odd: {line}\n", result.stderr)
            self.assertIn(line, (self.folder / "runs/odd/log.txt").read_text())


if __name__ == "__main__":
    unittest.main()
