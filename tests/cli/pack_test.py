"""espalier pack and unpack, and what reads a packed file: the other commands, and a reader in Python."""

import json
import os
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, str(ROOT / "tests" / "support"))
from needs import needs
from support import CliTest, config, sgd

PRUNED = "run/models/pruned.safetensors"


class Pack(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("c.json", config({"name": "trained", "train": sgd(steps=10)}, {"name": "pruned", "prune": {"sparsity": 0.9}}))
        self.succeeds("train", "c.json", "--quiet", "--output", "run")

    def bytes_of(self, file):
        return (self.folder / file).read_bytes()

    def test_comes_back_byte_by_byte(self):
        for file in (PRUNED, "run/models/trained.safetensors", "run/checkpoint.safetensors"):
            with self.subTest(file=file):
                said = self.succeeds("pack", file, "-o", "packed.safetensors")
                before, after = len(self.bytes_of(file)), len(self.bytes_of("packed.safetensors"))
                self.assertTrue(said.endswith(f"\n{100 * after / before:.1f} % of what it was\n"), said)
                self.assertEqual(self.succeeds("unpack", "packed.safetensors", "--output", "back.safetensors"),
                                 f"{before:,} bytes, {after:,} packed\n")
                self.assertEqual(self.bytes_of("back.safetensors"), self.bytes_of(file))
        self.succeeds("pack", PRUNED, "-o", "packed.safetensors")
        self.assertLess(len(self.bytes_of("packed.safetensors")), 0.8 * len(self.bytes_of(PRUNED)), "of small tensors, and the header")

    def test_all_that_takes_a_checkpoint_takes_a_packed_one(self):
        self.succeeds("pack", PRUNED, "-o", "packed.safetensors")
        for command in ("eval", "inspect", "graph"):
            with self.subTest(command=command):
                self.assertEqual(self.succeeds(command, "packed.safetensors"), self.succeeds(command, PRUNED))
        self.write("next.json", {**config({"name": "tuned", "train": sgd(steps=5)}), "model": {"weights": "packed.safetensors"}})
        self.assertIn("packed.safetensors: its masks are kept: 90 % of the weights stay 0",
                      self.succeeds("train", "next.json", "--output", "next"))

    def test_halves(self):
        for values in ("f32", "bf16", "f16"):
            self.succeeds("pack", PRUNED, "-o", f"{values}.safetensors", "--values", values)
            self.assertIn("accuracy", self.succeeds("eval", f"{values}.safetensors"))
        for values in ("bf16", "f16"):
            self.assertLess(len(self.bytes_of(f"{values}.safetensors")), len(self.bytes_of("f32.safetensors")))

    def test_says_what_became_of_each_tensor(self):
        found = json.loads(self.succeeds("pack", PRUNED, "-o", "p.safetensors", "--json"))
        self.assertEqual(found["packed_bytes"], len(self.bytes_of("p.safetensors")))
        self.assertEqual(found["bytes"], len(self.bytes_of(PRUNED)))
        encodings = {row["name"]: row["encoding"] for row in found["tensors"]}
        self.assertIn(encodings["fc1.weight"], ("bitmask", "gaps"))
        self.assertEqual(encodings["fc1.bias"], "dense")

    def test_a_run_and_inspect_tell_its_size(self):
        self.succeeds("pack", PRUNED, "-o", "p.safetensors")
        size = len(self.bytes_of("p.safetensors"))
        self.assertEqual(self.read_json("run/result.json")["stages"][-1]["packed_bytes"], size)
        self.assertRegex(self.succeeds("inspect", PRUNED), r"\n[\d,]+ bytes packed \(`espalier pack`\)\n\Z")
        self.assertLess(json.loads(self.succeeds("inspect", PRUNED, "--json"))["packed_bytes"], size, "without what else a file says")

    def test_mistakes(self):
        self.fails_unwritten(2, "pack: expected -o FILE, where the packed file is to be written", "pack", PRUNED)
        self.fails_unwritten(2, "unpack: expected -o FILE, where the file is to be written", "unpack", PRUNED)
        self.fails_unwritten(2, "values: found 'f64', expected one of f32, bf16, f16",
                             "pack", PRUNED, "-o", "p", "--values", "f64")
        self.fails_unwritten(1, "none.safetensors: cannot open: No such file or directory", "pack", "none.safetensors", "-o", "p")
        self.succeeds("pack", PRUNED, "-o", "p.safetensors")
        whole = self.bytes_of("p.safetensors")
        self.write("cut.safetensors", whole[:-20])
        self.write("broken.safetensors", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        for file, message in (("cut", "cut off"), ("broken", "does not have the checksum that is kept with it")):
            for command in (("eval",), ("unpack", "-o", "u.safetensors")):
                result = self.espalier(command[0], f"{file}.safetensors", *command[1:])
                self.assertEqual(result.returncode, 1)
                self.assertTrue(result.stderr.startswith(f"espalier: {file}.safetensors: ") and message in result.stderr, result.stderr)
        self.assertFalse((self.folder / "u.safetensors").exists())

    @needs("numpy", "safetensors", "zstandard")
    def test_a_reader_in_python(self):
        import numpy as np
        from safetensors.numpy import load_file

        sys.path.insert(0, str(ROOT / "scripts"))
        from read_packed import read

        self.succeeds("pack", PRUNED, "-o", "packed.safetensors")
        plain, packed = load_file(self.folder / PRUNED), read(self.folder / "packed.safetensors")
        self.assertEqual(plain.keys(), packed.keys())
        for name, tensor in plain.items():
            self.assertTrue(np.array_equal(tensor, packed[name]), name)
            self.assertEqual(tensor.dtype, packed[name].dtype)


if __name__ == "__main__":
    unittest.main()
