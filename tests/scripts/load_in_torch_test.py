"""scripts/load_in_torch.py: cut networks are built from their files alone and give the same logits."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

try:
    import safetensors
    import torch
except ImportError:
    torch = None
try:
    import onnxruntime
except ImportError:
    onnxruntime = None

for folder in ("cli", "support"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))
from needs import needs
from support import png

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

    @needs("torch", "safetensors")
    def test_a_cut_network_gives_the_same_logits(self):
        for model in ({"type": "vgg11", "input": [16, 16, 3]}, {"type": "resnet20", "input": [16, 16, 3]},
                      {"type": "resnet50", "input": [32, 32, 3]}, {"type": "lenet5", "input": [16, 16, 1]},
                      {"type": "vit", "input": [16, 16, 3], "dim": 96, "depth": 2}):
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

    @needs("torch", "safetensors")
    def test_windows_that_are_not_alike_on_axes_and_sides(self):
        values = [[1, 16, 16, 1], [6, 3, 3, 1], [6], [1, 7, 15, 6], [1, 4, 8, 6], [1, 3, 5, 6], [1, 3, 4, 6], [1, 72],
                  [7, 72], [1, 7]]
        mixed, kept = {"rule": "mixed", "values": [1]}, {"rule": "kept", "values": []}
        ops = [("conv2d", {"stride": [2, 1], "pad": [0, 1, 1, 2], "groups": 1, "activation": "none", "dilation": 2},
                [0, 1, 2], mixed),
               ("max_pool2d", {"window": [3, 2], "stride": 2, "pad": [1, 0, 0, 1], "ceil_mode": 1}, [3], kept),
               ("average_pool2d", {"window": 3, "stride": 2, "pad": 1, "ceil_mode": 1, "count_include_pad": 0}, [4],
                kept),
               ("average_pool2d", {"window": [2, 3], "stride": 1, "pad": [0, 1, 1, 0]}, [5], kept),
               ("flatten", {}, [6], {"rule": "flattened", "values": [12]}),
               ("linear", {"activation": "none"}, [7, 8], mixed)]
        parameters = {1: "conv.weight", 2: "conv.bias", 8: "fc.weight"}
        network = {"values": [{"shape": shape, **({"parameter": parameters[i]} if i in parameters else {})}
                              for i, shape in enumerate(values)],
                   "ops": [{"op": op, "attributes": attributes, "inputs": inputs, "channels": channels,
                            "output": 9 if op == "linear" else inputs[0] + (3 if op == "conv2d" else 1)}
                           for op, attributes, inputs, channels in ops]}
        (self.folder / "net.json").write_text(json.dumps(network))
        run = {**config({}), "model": {"type": "graph", "file": "net.json"}}
        run["stages"][1]["prune"]["min_channels"] = 2
        (self.folder / "run.json").write_text(json.dumps(run))
        self.succeeds(BINARY, "train", "run.json", "--output", "run", "--quiet")
        for file in ("run/models/dense.safetensors", "run/models/pruned.safetensors"):
            self.succeeds(BINARY, "eval", file, "--logits", "pass.safetensors")
            self.succeeds(sys.executable, SCRIPT, file, "--check", "pass.safetensors")
        for index, key, value in ((0, "pad", [1, 2]), (1, "window", ["a", 2])):
            network["ops"][index]["attributes"][key] = value
            code, _, err = self.in_process(self.altered(self.folder / file, lambda _: network))
            self.assertEqual((code, len(err.splitlines())), (1, 1), err)
            self.assertIn(f"op {index}: '{key}' is {json.dumps(value)}, expected ", err)
            network["ops"][index]["attributes"][key] = 1
        network["ops"][5].update(op="softmax", attributes={}, inputs=[network["ops"][4]["output"]])
        _, _, err = self.in_process(self.altered(self.folder / file, lambda _: network))
        self.assertIn("op 5: 'softmax' of a flattened image, whose numbers PyTorch has in another order", err)

    def images_config(self):
        """A run on a folder of images of two classes, and its model."""
        for split in ("train", "test"):
            for shade, name in ((60, "dark one"), (190, "hell\u00e9")):
                for i in range(4):
                    place = self.folder / "data" / "shades" / split / name / f"{i}.png"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(png(16, 16, 3, shade + 5 * i))
        (self.folder / "shades.json").write_text(json.dumps({
            "model": {"type": "lenet5", "input": [16, 16, 3], "width": 0.2, "classes": 2},
            "data": {"type": "image_folder", "path": "shades", "batch": 4, "cache": False,
                     "normalize": {"mean": [0.49, 0.25, 0.125], "std": [0.5, 0.25, 2]}},
            "stages": [{"name": "dense", "train": {"steps": 3, "optimizer": {"type": "sgd", "lr": 0.01}}}]}))
        self.succeeds(BINARY, "train", "shades.json", "--output", "shades", "--quiet")
        return "shades/models/dense.safetensors"

    @needs("torch", "safetensors")
    def test_hands_out_classes_and_normalisation(self):
        file = self.images_config()
        predicted = json.loads(self.succeeds(BINARY, "predict", file, "data/shades/test/dark one/1.png", "--json"))
        sys.path.insert(0, str(SCRIPT.parent))
        self.addCleanup(sys.path.remove, str(SCRIPT.parent))
        from load_in_torch import load
        model = load(self.folder / file)
        self.assertEqual((model.classes, model.input), (["dark one", "hell\u00e9"], (16, 16, 3)))
        self.assertEqual((model.mean.flatten().tolist(), model.std.flatten().tolist()),
                         (torch.tensor([0.49, 0.25, 0.125]).tolist(), [0.5, 0.25, 2]))
        with torch.inference_mode():
            odds = model(model.normalized(torch.full((1, 3, 16, 16), 65 / 255))).softmax(1)[0]
        for one in predicted["predictions"]:
            self.assertEqual(one["name"], model.classes[one["class"]])
            self.assertAlmostEqual(one["probability"], odds[one["class"]].item(), 5)
        self.assertIn("2 classes: dark one, hell\u00e9\n", self.succeeds(sys.executable, SCRIPT, file))

        (self.folder / "plain.json").write_text(json.dumps(config({"type": "lenet5", "input": [16, 16, 1]})))
        self.succeeds(BINARY, "train", "plain.json", "--output", "plain", "--quiet")
        plain = load(self.folder / "plain/models/dense.safetensors")
        self.assertEqual(plain.classes, [str(number) for number in range(7)])
        pixels = torch.rand(2, 1, 16, 16)
        self.assertTrue((plain.normalized(pixels) == pixels).all())

    @needs("torch", "safetensors", "onnx", "onnxruntime")
    def test_onnx(self):
        import onnx
        file = self.images_config()
        self.assertRegex(self.succeeds(sys.executable, SCRIPT, file, "--onnx", "out.onnx"),
                         r"\nout\.onnx: logits by ONNX Runtime differ by \S+ of the largest\n$")
        self.assertEqual([path.name for path in self.folder.glob("*onnx*")], ["out.onnx"])
        said = {entry.key: json.loads(entry.value) for entry in onnx.load(self.folder / "out.onnx").metadata_props}
        self.assertEqual(said, {"classes": ["dark one", "hell\u00e9"], "mean": [0.49, 0.25, 0.125], "std": [0.5, 0.25, 2]})
        result = self.run_in(sys.executable, SCRIPT, file, "--onnx", file)
        self.assertEqual((result.returncode, result.stderr), (1, f"load_in_torch: {file}: is the input\n"))
        for arguments, message in (
                ((file, "--onnx", "nowhere/out.onnx"), "nowhere/out.onnx: cannot be written: there is no folder nowhere"),
                ((file, "--onnx", "data"), "data: cannot be written: it is a folder"),
                (("shades",), "shades: is a folder; its checkpoint is shades/checkpoint.safetensors"),
                (("data",), "data: is a folder")):
            code, _, said = self.in_process(*arguments)
            self.assertEqual((code, said), (1, f"load_in_torch: {message}\n"))

    def altered(self, file, network=lambda network: network, name=lambda name: name, **metadata):
        """A copy of a file with other names, another description and other metadata."""
        from safetensors.torch import save_file
        with safetensors.safe_open(file, "pt") as opened:
            tensors, said = {name(key): opened.get_tensor(key) for key in opened.keys()}, opened.metadata()
        text = network(json.loads(said["espalier.network"]))
        said["espalier.network"] = text if isinstance(text, str) else json.dumps(text)
        said.update({"espalier." + key: value for key, value in metadata.items()})
        save_file(tensors, self.folder / "altered.safetensors", said)
        return "altered.safetensors"

    def in_process(self, *arguments):
        """(code, stdout, stderr) of the script, without the seconds that torch takes to start."""
        sys.path.insert(0, str(SCRIPT.parent))
        import load_in_torch
        out, err = io.StringIO(), io.StringIO()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
                unittest.mock.patch.object(sys, "argv", [str(SCRIPT), *map(str, arguments)]):
            code = load_in_torch.main()
        return code or 0, out.getvalue(), err.getvalue()

    @needs("torch", "safetensors")
    def test_layers_may_have_any_names(self):
        sys.path.insert(0, str(SCRIPT.parent))
        from load_in_torch import load
        (self.folder / "cut.json").write_text(json.dumps(config({"type": "resnet20", "input": [16, 16, 3]})))
        self.succeeds(BINARY, "train", "cut.json", "--output", "run", "--quiet")
        file = self.folder / "run/models/pruned.safetensors"
        self.succeeds(BINARY, "eval", file, "--logits", "pass.safetensors")
        clashes = {"conv1": "input", "bn1": "training", "layer1": "mean", "layer2": "names", "layer3": "ops",
                   "fc": "classes", "0": "type", "1": "train", "2": "half", "conv2": "forward", "bn2": "run",
                   "bias": "_modules"}

        def renamed(name):
            return ".".join(clashes.get(part, part) for part in name.split("."))

        def rename(network):
            for value in network["values"]:
                if "parameter" in value:
                    value["parameter"] = renamed(value["parameter"])
            return network

        model = load(self.folder / self.altered(file, rename, renamed))
        self.assertEqual(set(model.state_dict()), set(map(renamed, load(file).state_dict())))
        self.assertIn("names.type.forward.weight", model.state_dict())
        self.assertEqual((model.input, model.classes), ((16, 16, 3), [str(number) for number in range(7)]))
        model.train().eval().double().float().load_state_dict(model.state_dict(), strict=True)
        code, shown, _ = self.in_process("altered.safetensors", "--check", "pass.safetensors")
        self.assertEqual(code, 0, shown)
        if onnxruntime:
            _, shown, _ = self.in_process("altered.safetensors", "--onnx", "out.onnx")
            self.assertIn("logits by ONNX Runtime differ by", shown)

    @needs("torch", "safetensors")
    def test_networks_that_are_none_are_one_line(self):
        (self.folder / "cut.json").write_text(json.dumps(config({"type": "lenet5", "input": [16, 16, 1]})))
        self.succeeds(BINARY, "train", "cut.json", "--output", "run", "--quiet")
        file = self.folder / "run/models/dense.safetensors"
        self.succeeds(BINARY, "eval", file, "--logits", "pass.safetensors")

        def without(key):
            return lambda network: {"values": network["values"],
                                    "ops": [{k: v for k, v in op.items() if k != key} for op in network["ops"]]}

        def changed(place, new):
            def change(network):
                *path, last = place
                at = network
                for step in path:
                    at = at[step]
                at[last] = new
                return network
            return change

        for network, message in (
                (lambda network: {"ops": [], "values": []}, "its first value is no image"),
                (lambda network: {"ops": [], "values": network["values"]}, "has no ops"),
                (lambda network: {"ops": network["ops"]}, "has no 'values'"),
                (lambda network: [], "has no 'values'"), (lambda network: "{", "Expecting property name"),
                (without("inputs"), "op 0: has no 'inputs'"),
                (without("output"), "op 0: has no 'output'"), (without("attributes"), "op 0: has no 'attributes'"),
                (changed(("ops", 0, "attributes"), {}), "op 0: has no 'stride'"),
                (changed(("ops", 0, "attributes", "stride"), "1"), "op 0: 'stride' is \"1\", expected a number"),
                (changed(("ops", 0, "attributes", "activation"), "relu7"), "op 0: 'relu7' is no activation"),
                (changed(("ops", 0, "inputs"), [0]), "op 0: has no input 'weight'"),
                (changed(("ops", 0, "inputs"), {"x": 0}), "op 0: has no input 'weight'"),
                (changed(("ops", 0, "inputs", "wieght"), 1), "op 0: 'inputs': it has none called 'wieght'"),
                (changed(("ops", 0, "attributes", "strid"), 1), "op 0: 'strid' is no attribute of it"),
                (changed(("version",), 3), "found version 3, expected at most 2: it is a later Espalier's"),
                (changed(("ops", 0, "inputs"), [99, 1]), "op 0: 'inputs': value 99 does not exist there"),
                (changed(("ops", -1, "output"), 0), "puts out no row of logits"),
                (changed(("values", 0, "shape"), [4]), "its first value is no image"),
                (changed(("values", 1, "parameter"), "fc9.bias"), "the file has no tensor 'fc9.bias'")):
            with self.subTest(message):
                code, out, err = self.in_process(self.altered(file, network))
                self.assertEqual((code, out, len(err.splitlines())), (1, "", 1), err)
                self.assertTrue(err.startswith(
                    f"load_in_torch: altered.safetensors: its network cannot be read: {message}"), err)
        for metadata, message in (({"classes": '["a"]'}, "1 names of classes for 7 outputs"),
                                  ({"classes": "3"}, "its classes are no list of names"),
                                  ({"config": "{}"}, "has no 'data'"),
                                  ({"config": '{"data": {"normalize": {"mean": [1]}}}'}, "has no 'std'"),
                                  ({"config": '{"data": {"normalize": {"mean": [1, 2], "std": [1]}}}'},
                                   "'mean' is not one number for each of 1 channels")):
            self.assertEqual(self.in_process(self.altered(file, **metadata)),
                             (1, "", f"load_in_torch: altered.safetensors: its network cannot be read: {message}\n"))
        code, _, err = self.in_process(self.altered(file, changed(("ops", 0, "attributes", "stride"), 3)), "--check",
                                       "pass.safetensors")
        self.assertEqual((code, len(err.splitlines())), (1, 1), err)
        self.assertIn("altered.safetensors: its network cannot be run: ", err)

    @needs("torch", "safetensors")
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

    @needs("torch", "safetensors")
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
