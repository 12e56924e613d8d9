"""scripts/load_in_torch.py: cut networks are built from their files alone and give the same logits."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import safetensors
    import torch
except ImportError:
    torch = None

BINARY = os.environ["ESPALIER_BINARY"]
SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "load_in_torch.py"


def config(model):
    return {"model": {**model, "width": 0.5, "classes": 7},
            "data": {"type": "synthetic", "batch": 32, "train_images": 96, "test_images": 64},
            "stages": [{"name": "dense", "train": {"steps": 3, "optimizer": {"type": "sgd", "lr": 0.01}}},
                       {"name": "pruned", "prune": {"unit": "channel", "criterion": "group_norm", "speedup": 1.5}}]}


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_in(self, *command, **environment):
        return subprocess.run([str(word) for word in command], cwd=self.folder, capture_output=True, text=True,
                              env={**os.environ, **environment})

    def test_says_in_one_line_that_torch_is_missing(self):
        (self.folder / "torch.py").write_text("raise ImportError('not here')\n")
        result = self.run_in(sys.executable, SCRIPT, "a.safetensors", PYTHONPATH=str(self.folder))
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("load_in_torch: needs torch and safetensors"), result.stderr)

    def succeeds(self, *command):
        result = self.run_in(*command)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    @unittest.skipUnless(torch, "torch or safetensors is not installed")
    def test_a_cut_network_gives_the_same_logits(self):
        for model in ({"type": "vgg11", "input": [16, 16, 3]}, {"type": "resnet20", "input": [16, 16, 3]},
                      {"type": "resnet50", "input": [32, 32, 3]}, {"type": "lenet5", "input": [16, 16, 1]}):
            with self.subTest(model["type"]):
                (self.folder / "cut.json").write_text(json.dumps(config(model)))
                run = self.folder / model["type"]
                self.succeeds(BINARY, "train", "cut.json", "--output", run, "--quiet")
                for file in (run / "checkpoint.safetensors", run / "models" / "pruned.safetensors"):
                    self.succeeds(BINARY, "eval", file, "--logits", "pass.safetensors")
                    shown = self.succeeds(sys.executable, SCRIPT, file, "--check", "pass.safetensors")
                    self.assertRegex(shown, r"logits of 32 images differ by \S+e-\d+ of the largest")
                    with safetensors.safe_open(self.folder / "pass.safetensors", "pt") as opened:
                        spread = opened.get_tensor("logits").std(0)
                    self.assertTrue((spread > 0).all(), "images are told apart")
                inspected = json.loads(self.succeeds(BINARY, "inspect", file, "--json"))
                self.assertIn(f"{inspected['parameters']:,} parameters", shown)

    @unittest.skipUnless(torch, "torch or safetensors is not installed")
    def test_averages_stand_for_their_weights(self):
        (self.folder / "cut.json").write_text(json.dumps(config({"type": "lenet5", "input": [16, 16, 1]})))
        self.succeeds(BINARY, "train", "cut.json", "--output", "run", "--quiet")
        file = self.folder / "run/models/pruned.safetensors"
        self.succeeds(BINARY, "eval", file, "--logits", "pass.safetensors")
        with safetensors.safe_open(file, "pt") as opened:
            tensors, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()
        whole = tensors["fc2.weight"]
        from safetensors.torch import save_file
        averaged = self.folder / "averaged.safetensors"
        for weight, average, code in ((whole * 0, whole, 0), (whole, whole * 0, 1)):
            save_file({**tensors, "fc2.weight": weight, "average/fc2.weight": average}, averaged, metadata)
            result = self.run_in(sys.executable, SCRIPT, averaged, "--check", "pass.safetensors")
            self.assertEqual(result.returncode, code, result.stderr)

    @unittest.skipUnless(torch, "torch or safetensors is not installed")
    def test_refuses_logits_that_differ_and_files_of_others(self):
        (self.folder / "cut.json").write_text(json.dumps(config({"type": "lenet5", "input": [16, 16, 1]})))
        self.succeeds(BINARY, "train", "cut.json", "--output", "run", "--quiet")
        self.succeeds(BINARY, "eval", "run/models/dense.safetensors", "--logits", "pass.safetensors")
        self.assertEqual(self.run_in(sys.executable, SCRIPT, "run/models/pruned.safetensors", "--check",
                                     "pass.safetensors").returncode, 1)
        from safetensors.torch import load_file, save_file
        run = load_file(self.folder / "pass.safetensors")
        save_file({**run, "logits": run["logits"] * float("nan")}, self.folder / "nan.safetensors")
        self.assertEqual(self.run_in(sys.executable, SCRIPT, "run/models/dense.safetensors", "--check",
                                     "nan.safetensors").returncode, 1)
        (self.folder / "text.safetensors").write_text("no tensors here")
        for others, message in (("run/models/dense.safetensors", "holds no images and logits: not what `espalier eval "
                                                                 "--logits` writes"),
                                ("text.safetensors", "not a safetensors file: ")):
            result = self.run_in(sys.executable, SCRIPT, "run/models/dense.safetensors", "--check", others)
            self.assertEqual(result.returncode, 1)
            self.assertTrue(result.stderr.startswith(f"load_in_torch: {others}: {message}"), result.stderr)
        result = self.run_in(sys.executable, SCRIPT, "pass.safetensors")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "load_in_torch: pass.safetensors: has no 'espalier.network' in its metadata: "
                                        "not a file of Espalier's\n")


if __name__ == "__main__":
    unittest.main()
