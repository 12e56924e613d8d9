"""What install_test.sh has saved by programs against the installed library: built in PyTorch from the files alone."""

import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from needs import needs

SCRIPTS = ROOT / "scripts"  # install_test.sh holds the installed copies to them
SAVED = pathlib.Path(os.environ["ESPALIER_BUILD_DIR"]) / "installed_test"


@needs("torch", "safetensors")
class InTorch(unittest.TestCase):
    def test_logits_are_the_same(self):
        for file, recorded in (("mlp", "pass"), ("tuned", "own_pass")):
            with self.subTest(file):
                result = subprocess.run([sys.executable, SCRIPTS / "load_in_torch.py", f"{file}.safetensors", "--check",
                                         f"{recorded}.safetensors"], cwd=SAVED, capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_an_op_of_the_programs_own(self):
        sys.path.insert(0, str(SCRIPTS))
        import torch
        from load_in_torch import load
        net = load(SAVED / "small_net.safetensors", {"swish": lambda attributes, x: x * x.sigmoid()})
        self.assertEqual((net.classes, net.input), (["across", "upright"], (8, 8, 1)))
        for name in net.classes:
            bar = torch.zeros(1, 1, 8, 8)
            bar[(0, 0, 3) if name == "across" else (0, 0, slice(None), 3)] = 200 / 255
            self.assertEqual(net.classes[net(net.normalized(bar)).argmax()], name)


if __name__ == "__main__":
    unittest.main()
