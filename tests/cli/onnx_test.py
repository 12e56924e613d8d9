"""espalier export and import: networks to ONNX files and back, and what runs on an ONNX file; ONNX Runtime's word on each."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import unittest

for folder in (".", "../support"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), folder))
from needs import needs
from support import CliTest, config, png, safetensors, sgd

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRUNED = "run/models/pruned.safetensors"
SIDE, COLOURS = 16, 3


class Onnx(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def train(self, *stages, **others):
        self.write("c.json", config(*stages, **others))
        self.succeeds("train", "c.json", "--quiet", "--output", "run")

    def bytes_of(self, file):
        return (self.folder / file).read_bytes()

    def test_comes_back_as_it_was(self):
        self.train({"name": "trained", "train": sgd(steps=10)}, {"name": "pruned", "prune": {"sparsity": 0.5}},
                   model={"type": "resnet20", "input": [8, 8, 1], "width": 0.5})
        said = self.succeeds("export", PRUNED, "--onnx", "net.onnx")
        self.assertRegex(said, r"^net\.onnx: [\d.]+ kB, opset 17\n$")
        result = self.espalier("import", "net.onnx", "-o", "back.safetensors")
        self.assertEqual((result.returncode, result.stderr), (0, ""), "the file says how its images are normalised")
        self.assertRegex(result.stdout, r"^back\.safetensors: images of 8x8x1, 10 outputs, \d+ layers, [\d,]+ parameters, [\d,]+ MACs\n$")
        self.succeeds("export", "back.safetensors", "--onnx", "again.onnx")
        self.assertEqual(self.bytes_of("again.onnx"), self.bytes_of("net.onnx"))
        expected = self.succeeds("eval", PRUNED, "--logits", "expected")
        for file in ("back.safetensors", "net.onnx"):
            with self.subTest(file=file):
                self.assertEqual(self.succeeds("eval", file, "--set", "data.type=mnist", "--set", "data.batch=10", "--logits", "found"), expected)
                self.assertEqual(safetensors(self.folder / "found")[0], safetensors(self.folder / "expected")[0])
                # Classes, parameters and layers are counted alike.
                self.assertEqual(*(sorted(self.succeeds("inspect", each).splitlines()) for each in (file, PRUNED)))

    def test_a_config_trains_prunes_and_cuts_one(self):
        self.train({"name": "pruned", "train": sgd(steps=10)}, model={"type": "resnet20", "input": [8, 8, 1], "width": 0.5})
        self.succeeds("export", PRUNED, "--onnx", "net.onnx")
        stages = [{"name": "cut", "prune": {"unit": "channel", "speedup": 1.5, "min_channels": 1}}, {"name": "tuned", "train": sgd(steps=12)}]
        for name, model in (("there", {"type": "onnx", "file": "net.onnx"}), ("same", {"weights": "net.onnx"})):
            self.write(f"{name}.json", {**config(*stages), "model": model})
            self.assertIn("cut", self.succeeds("train", f"{name}.json", "--output", name))
        shapes, same = ({tensor: shape for tensor, (_, shape, _) in safetensors(self.folder / f"{name}/models/tuned.safetensors")[0].items()}
                        for name in ("there", "same"))
        self.assertEqual(shapes, same)
        # A run has all of its network with it.
        os.remove(self.folder / "net.onnx")
        self.assertIn("accuracy", self.succeeds("eval", "there/models/tuned.safetensors"))
        self.succeeds("export", "there/models/tuned.safetensors", "--onnx", "cut.onnx", "--fold-batchnorm")
        self.assertEqual(self.espalier("eval", "cut.onnx", "--set", "data.type=mnist").returncode, 0)

    def test_fresh_weights_where_only_the_graph_is_wanted(self):
        self.train({"name": "pruned", "train": sgd(steps=10)}, model={"type": "resnet20", "input": [8, 8, 1], "width": 0.5})
        self.succeeds("export", PRUNED, "--onnx", "net.onnx")
        self.write("fresh.json", {**config({"name": "dense", "train": sgd(steps=1, optimizer={"type": "sgd", "lr": 1e-6})}),
                                  "model": {"type": "graph", "file": "net.onnx"}})
        self.succeeds("train", "fresh.json", "--quiet", "--output", "fresh")
        fresh, old = (safetensors(self.folder / file)[0] for file in ("fresh/models/dense.safetensors", PRUNED))
        self.assertEqual(fresh.keys(), old.keys())
        self.assertNotEqual(fresh["conv1.weight"], old["conv1.weight"])

    def test_what_is_known_of_the_data_is_put_in_and_kept(self):
        self.train({"name": "pruned", "train": sgd(steps=2)})
        self.succeeds("export", PRUNED, "--onnx", "net.onnx")
        names = [f"number {i}" for i in range(10)]
        self.write("names.txt", "\n".join(names) + "\n")
        self.succeeds("import", "net.onnx", "-o", "named.safetensors", "--mean", "0.25", "--std", "0.5", "--classes", "names.txt")
        metadata = safetensors(self.folder / "named.safetensors")[1]
        self.assertEqual(json.loads(metadata["espalier.classes"]), names)
        self.assertEqual(json.loads(metadata["espalier.normalize"]), {"mean": [0.25], "std": [0.5]})
        self.succeeds("export", "named.safetensors", "--onnx", "named.onnx", "--softmax", "--normalize")
        result = self.espalier("import", "named.onnx", "-o", "back.safetensors")
        self.assertEqual(result.stderr.splitlines(), [
            "import: the normalisation of its images, which its first two ops do, is the data's from here on",
            "import: Softmax 'Softmax' at the end is left out: a network here puts out logits"])
        self.assertEqual(safetensors(self.folder / "back.safetensors")[0], safetensors(self.folder / "named.safetensors")[0])
        self.assertEqual(safetensors(self.folder / "back.safetensors")[1]["espalier.classes"], metadata["espalier.classes"])

    def test_mistakes(self):
        self.train({"name": "pruned", "train": sgd(steps=2)})
        self.succeeds("export", PRUNED, "--onnx", "net.onnx")
        for message, *arguments in (
                ("import: expected -o FILE, where the network is to be written", "import", "net.onnx"),
                ("import: --mean and --std go together", "import", "net.onnx", "-o", "x", "--mean", "0.5"),
                ("import: --input: found '8x8', expected HEIGHTxWIDTHxCHANNELS, such as 224x224x3",
                 "import", "net.onnx", "-o", "x", "--input", "8x8"),
                *((f"import: {option}: found {found}",
                   "import", "net.onnx", "-o", "x", *(part for name, right in (("--mean", "0.5"), ("--std", "1"))
                                                          for part in (name, given if name == option else right)))
                  for option, given, found in (("--mean", "half", "'half', expected a number"), ("--mean", "nan", "'nan', expected a number"),
                                               ("--mean", "1e308", "'1e308', expected a number"), ("--std", "0", "'0', expected a number above 0"),
                                               ("--std", "1,2,3", "3 numbers, expected 1, one for each channel"))),
                ("import: -o: net.onnx is what the command reads, and would be overwritten",
                 "import", "net.onnx", "-o", "net.onnx"),
                ("export: expected --onnx FILE, where the network is to be written", "export", PRUNED),
                ("export: --opset: found '12', expected a whole number from 13 to 21", "export", PRUNED, "--onnx", "x", "--opset", "12"),
                ("export: --batch: found 'many', expected a number of images, or dynamic",
                 "export", PRUNED, "--onnx", "x", "--batch", "many")):
            with self.subTest(message=message):
                self.fails_unwritten(2, message, *arguments)
        self.fails_unwritten(1, "import.txt: is no ONNX file, or is cut short", "import", self.write("import.txt", "a text"), "-o", "x")
        cut = self.write("cut.onnx", self.bytes_of("net.onnx")[:-100])
        self.assertEqual(self.espalier("import", cut, "-o", "x").returncode, 1)
        self.assertEqual(self.espalier("import", "net.onnx", "-o", "x", "--input", "9x9x1").returncode, 1)
        self.assertFalse((self.folder / "x").exists())


@needs("numpy", "onnx", "onnxruntime", "PIL")
class InOnnxRuntime(CliTest):
    """Every model of the zoo, dense, masked and cut."""

    def setUp(self):
        super().setUp()
        dice = random.Random(1)
        for split, count in (("train", 10), ("test", 7)):
            for label in range(5):
                for i in range(count if split == "train" else 2 if label < 2 else 1):
                    colour = [40 + 40 * (label * k % 5) for k in (1, 2, 3)]
                    pixels = bytes(colour[j % 3] + dice.randrange(50) for j in range(COLOURS * SIDE * SIDE))
                    self.write(f"data/{split}/{label}/{i}.png", png(SIDE, SIDE, COLOURS, pixels))

    def pixels(self):
        """[7,C,H,W] of the test set, in its order, normalised."""
        import numpy
        from PIL import Image
        files = sorted((self.folder / "data" / "test").glob("*/*.png"))
        images = numpy.stack([numpy.asarray(Image.open(file)) for file in files]).astype(numpy.float32) / 255
        return ((images - numpy.float32(0.5)) / numpy.float32(0.25)).transpose(0, 3, 1, 2)

    def expected(self, checkpoint):
        import numpy
        self.succeeds("eval", checkpoint, "--logits", "logits")
        _, shape, content = safetensors(self.folder / "logits")[0]["logits"]
        return numpy.frombuffer(content, numpy.float32).reshape(shape)

    def check(self, checkpoint, *options):
        import numpy
        import onnx
        import onnxruntime
        self.succeeds("export", checkpoint, "--onnx", "net.onnx", *options)
        onnx.checker.check_model(str(self.folder / "net.onnx"), full_check=True)
        session = onnxruntime.InferenceSession(str(self.folder / "net.onnx"), providers=["CPUExecutionProvider"])
        images, expected = self.pixels(), self.expected(checkpoint)
        largest = numpy.abs(expected).max()
        self.assertGreater(numpy.abs(expected[0] - expected[-1]).max(), 1e-3 * largest, "as different as the images")
        for found in (session.run(None, {"images": images})[0],
                      numpy.concatenate([session.run(None, {"images": images[i:i + 1]})[0] for i in range(7)])):
            self.assertEqual(found.shape, expected.shape)
            self.assertLess(numpy.abs(found - expected).max(), 1e-4 * largest, (checkpoint, options))

    def test_the_zoo(self):
        for name in self.allowed("model", "type").split(", "):
            # A SqueezeNet has no norms, and learns nothing in so short a time; bench/onnx_networks.py has one.
            if name in ("graph", "onnx", "layers", "squeezenet"):
                continue
            with self.subTest(model=name):
                norms = {} if name in ("mlp", "lenet300", "lenet5", "vit") else {"reestimate_norm": 5}
                stages = [{"name": "dense", "train": sgd(steps=25, **norms, optimizer={"type": "adam", "lr": 0.002})},
                          {"name": "masked", "prune": {"sparsity": 0.5, **norms}},
                          {"name": "cut", "prune": {"unit": "channel", "speedup": 1.2, "min_channels": 1, **norms}}]
                self.write("c.json", {**config(*stages), "model": {"type": name, "input": [SIDE, SIDE, COLOURS], "classes": 5, "width": 0.2},
                                      "data": {"type": "image_folder", "path": "data", "root": ".", "batch": 10, "cache": False,
                                               "normalize": {"mean": [0.5] * 3, "std": [0.25] * 3}}})
                self.succeeds("train", "c.json", "--quiet", "--output", f"runs/{name}")
                for stage in ("dense", "masked", "cut"):
                    self.check(f"runs/{name}/models/{stage}.safetensors")
                self.check(f"runs/{name}/models/cut.safetensors", "--fold-batchnorm", "--opset", "21")


@needs("numpy", "torch", "torchvision", "onnx", "onnxruntime", "PIL")
class Walk(CliTest):
    """docs/onnx.md as it stands there, on few and small images."""

    def blocks(self):
        """(language, text) of the page, from the walk on."""
        page = (ROOT / "docs" / "onnx.md").read_text()
        walk = page[page.index("## A walk"):page.index("## Without Python")]
        return re.findall(r"```(\w+)\n(.*?)```", walk, re.DOTALL)

    def run_python(self, text):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_it_goes_as_it_says(self):
        dice = random.Random(1)
        for split, count in (("train", 6), ("test", 2)):
            for label, name in enumerate(("daisy", "dandelion", "rose", "sunflower", "tulip")):
                for i in range(count):
                    colour = [40 + 40 * (label * k % 5) for k in (1, 2, 3)]
                    high, wide = (64, 64) if i else (64, 80)
                    pixels = bytes(colour[j % 3] + dice.randrange(40) for j in range(3 * high * wide))
                    self.write(f"flowers/{split}/{name}/{i}.png", png(high, wide, 3, pixels))
        said = ""
        for language, text in self.blocks():
            if language == "python":
                said = self.run_python(text)
            elif language == "json":
                made = json.loads(text)
                made["stages"][-1]["train"]["epochs"] = 1
                made["data"]["cache"] = False
                self.write("flowers.json", made)
            else:
                for line in text.splitlines():
                    self.assertEqual(line.split()[0], "espalier")
                    result = self.espalier(*line.split()[1:])
                    self.assertEqual(result.returncode, 0, result.stderr)
        stages = self.read_json("runs/flowers/result.json")["stages"]
        shown = re.findall(r"^(\S+): ([\d,]+) bytes, [\d.]+ ms an image, accuracy ([\d.]+) %$", said, re.M)
        self.assertEqual([(file, float(accuracy)) for file, _, accuracy in shown],
                         [("resnet18.onnx", stages[0]["accuracy"]), ("half.onnx", stages[-1]["accuracy"])])
        self.assertLess(float(shown[1][1].replace(",", "")), 0.7 * float(shown[0][1].replace(",", "")))
        self.assertGreaterEqual(stages[0]["macs"], 2 * stages[-1]["macs"])
        self.assertLess(stages[-1]["bytes"], 0.7 * stages[0]["bytes"])


if __name__ == "__main__":
    unittest.main()
