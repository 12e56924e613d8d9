"""scripts/from-torch: what it writes, read back without the safetensors package, and what it refuses."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import torch
    from torch.nn.utils import prune
except ImportError:
    torch = None

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from needs import needs

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "from-torch"


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} and the metadata, by the format's description."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    metadata = header.pop("__metadata__")
    tensors, end = {}, 0
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        assert start % 8 == 0 and begin == end, name
        tensors[name] = (entry["dtype"], entry["shape"], content[start + begin:start + stop])
        end = stop
    assert start + end == len(content)
    return tensors, metadata


def load_script():
    loader = importlib.machinery.SourceFileLoader("from_torch", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("from_torch", loader))
    loader.exec_module(module)
    return module


class AsProgram(unittest.TestCase):
    def test_says_in_one_line_that_torch_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "torch.py").write_text("raise ImportError('not here')\n")
            result = subprocess.run([sys.executable, SCRIPT, "a.pt"], cwd=folder, capture_output=True, text=True,
                                    env={**os.environ, "PYTHONPATH": folder})
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("from-torch: needs PyTorch"), result.stderr)

    def test_help_needs_no_torch(self):
        result = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("--force", result.stdout)


@needs("torch")
class FromTorch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.script = load_script()

    def run_script(self, *arguments):
        """What it prints."""
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.script.main(arguments)
        return output.getvalue()

    def assert_refused(self, arguments, *parts):
        with self.assertRaises(self.script.Failure) as caught:
            self.run_script(*arguments)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        for part in parts:
            self.assertIn(part, message)

    def save(self, content, name="in.pt", **options):
        torch.save(content, self.folder / name, **options)

    def convert(self, content):
        self.save(content)
        self.run_script("in.pt", "--force")
        return read_safetensors(self.folder / "in.safetensors")

    def refuse(self, content, *parts):
        self.save(content)
        self.assert_refused(["in.pt"], "in.pt: ", *parts)
        self.assertEqual(os.listdir(self.folder), ["in.pt"])

    def test_values_shapes_and_dtypes(self):
        values = {
            "f": torch.tensor([[1.5, -2.0]]), "d": torch.tensor([0.1], dtype=torch.float64),
            "h": torch.tensor([0.5], dtype=torch.float16), "b": torch.tensor([3.0], dtype=torch.bfloat16),
            "l": torch.tensor(7), "i": torch.tensor([-6], dtype=torch.int32),
            "c": torch.tensor([-1], dtype=torch.int8), "u": torch.tensor([255], dtype=torch.uint8),
            "empty": torch.zeros(0, 3), "\u00e9 \"": torch.zeros(1),
        }
        tensors, metadata = self.convert(values)
        self.assertEqual(metadata, {"format": "pt"})
        self.assertEqual(tensors, {
            "f": ("F32", [1, 2], bytes.fromhex("0000c03f000000c0")),
            "d": ("F64", [1], bytes.fromhex("9a9999999999b93f")),
            "h": ("F16", [1], bytes.fromhex("0038")), "b": ("BF16", [1], bytes.fromhex("4040")),
            "l": ("I64", [], bytes([7] + [0] * 7)), "i": ("I32", [1], bytes.fromhex("faffffff")),
            "c": ("I8", [1], b"\xff"), "u": ("U8", [1], b"\xff"),
            "empty": ("F32", [0, 3], b""), "\u00e9 \"": ("F32", [1], bytes(4)),
        })
        self.assertEqual([dtype for dtype, _, _ in tensors.values()],
                         ["I64", "F64", "F32", "F32", "F32", "I32", "BF16", "F16", "I8", "U8"])

    @needs("safetensors")
    def test_bytes_of_the_safetensors_package(self):
        from safetensors.torch import save
        values = {"w": torch.rand(3, 2), "b": torch.rand(3), "n": torch.tensor(1), "m": torch.ones(5).bool().byte()}
        self.convert(values)
        self.assertEqual((self.folder / "in.safetensors").read_bytes(), save(values, {"format": "pt"}))

    def test_strided_and_shared_tensors_are_written_whole(self):
        base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
        tensors, _ = self.convert({"a": base, "same": base, "transposed": base.t(), "part": base[:, 1]})
        self.assertEqual(tensors["same"], tensors["a"])
        self.assertEqual(tensors["transposed"][1:], ([3, 2], base.t().contiguous().numpy().tobytes()))
        self.assertEqual(tensors["part"][1:], ([2], base[:, 1].contiguous().numpy().tobytes()))

    def test_wrappers_and_prefixes(self):
        weights = {"fc.weight": torch.ones(1), "fc.bias": torch.zeros(1)}
        plain = self.convert(weights)
        for wrapper in ("state_dict", "model_state_dict", "model"):
            self.assertEqual(self.convert({"epoch": 3, wrapper: weights}), plain)
        for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "model.", "_orig_mod.model.module."):
            self.assertEqual(self.convert({prefix + name: value for name, value in weights.items()}), plain)
            self.assertEqual(self.run_script("in.pt", "--force").splitlines()[0],
                             f"in.pt: '{prefix}' is taken off all its names")
        kept, _ = self.convert({"module.a": torch.ones(1), "b": torch.ones(1)})
        self.assertEqual(sorted(kept), ["b", "module.a"])

    def test_what_was_pruned_is_multiplied_and_its_mask_kept(self):
        layer = torch.nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]))
        prune.custom_from_mask(layer, "weight", torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
        tensors, _ = self.convert({"module.fc." + name: value for name, value in layer.state_dict().items()})
        self.assertEqual(sorted(tensors), ["fc.bias", "fc.weight", "mask/fc.weight"])
        self.assertEqual(tensors["fc.weight"], ("F32", [2, 3], struct.pack("<6f", 1, 0, 3, 0, 0, -6)), "no -0")
        self.assertEqual(tensors["mask/fc.weight"], ("U8", [2, 3], bytes([1, 0, 1, 0, 0, 1])))
        others = {"w_orig": torch.ones(2), "v_orig": torch.ones(1), "v_mask": torch.zeros(1), "v": torch.ones(1)}
        self.assertEqual(sorted(self.convert(others)[0]), sorted(others), "what another tool calls so")
        self.save({"w_orig": torch.ones(2), "w_mask": torch.ones(3)})
        self.assert_refused(["in.pt", "--force"], "in.pt: 'w_mask' is [3], expected [2], as 'w_orig' is")

    def test_parameters_and_the_old_file_form(self):
        self.save({"w": torch.nn.Parameter(torch.ones(2))}, _use_new_zipfile_serialization=False)
        self.run_script("in.pt", "out")
        self.assertEqual(read_safetensors(self.folder / "out")[0]["w"][1], [2])

    def test_prints_what_it_wrote(self):
        self.save({"fc1.weight": torch.ones(2, 3), "n": torch.tensor(1)})
        lines = self.run_script("in.pt").splitlines()
        size = (self.folder / "in.safetensors").stat().st_size
        self.assertEqual(lines, ["fc1.weight  F32   [2, 3]", "n           I64   []",
                                 f"in.safetensors: 2 tensors, {size} bytes"])

    def test_refuses_what_is_no_state_dict(self):
        self.refuse([torch.ones(1)], "holds a list, not a state_dict")
        self.refuse({}, "holds an empty dictionary")
        self.refuse({"epoch": 3}, "'epoch' is a int, expected a tensor")
        self.refuse({"state_dict": {"w": torch.ones(1), "name": "x"}}, "'name' is a str, expected a tensor")
        self.refuse(torch.nn.Linear(2, 2), "save model.state_dict() instead")
        self.refuse({"w": torch.ones(1, dtype=torch.complex64)}, "'w' is complex64, expected a dense tensor of")
        self.refuse({"w": torch.ones(2).to_sparse()}, "'w' is a torch.sparse_coo tensor")
        self.refuse({"w": torch.ones(1, 1, 1, 1, 1, 1)}, "'w' has 6 axes, at most 5")

    def test_refuses_broken_and_missing_files(self):
        self.assert_refused(["none.pt"], "none.pt: no such file")
        self.save({"w": torch.ones(100)})
        whole = (self.folder / "in.pt").read_bytes()
        for content in (b"", b"junk\n", whole[:len(whole) // 2]):
            (self.folder / "in.pt").write_bytes(content)
            self.assert_refused(["in.pt"], "in.pt: is no")

    def test_an_output_that_exists_stays_unless_forced(self):
        self.save({"w": torch.ones(1)})
        output = self.folder / "in.safetensors"
        output.write_text("old")
        self.assert_refused(["in.pt"], "in.safetensors: exists; --force replaces it")
        self.assertEqual(output.read_text(), "old")
        self.run_script("in.pt", "--force")
        self.assertEqual(list(read_safetensors(output)[0]), ["w"])
        self.assert_refused(["in.pt", "in.pt", "--force"], "in.pt: is the input")
        self.assert_refused(["in.pt", ".", "--force"], "is not a regular file")
        self.assert_refused(["in.pt", "in.pt/x"], "cannot write: Not a directory")

    def test_at_a_file_size_limit_the_old_file_stays(self):
        self.save({"w": torch.ones(2000)})
        output = self.folder / "in.safetensors"
        output.write_text("old")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            self.assert_refused(["in.pt", "--force"], "cannot write: File too large")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.assertEqual(output.read_text(), "old")
        self.assertEqual(sorted(os.listdir(self.folder)), ["in.pt", "in.safetensors"])


if __name__ == "__main__":
    unittest.main()
