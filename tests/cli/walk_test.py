"""A new user's way, command by command: from a folder of 600 pictures, odd ones among them, to a product."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

for folder in (".", "../support"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), folder))
from needs import needs
from pictures import CMYK, COLOURS, SIDE, TURNED, write_pictures
from support import Outcomes, safetensors

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "load_in_torch.py"
CLASSES = list(COLOURS)
MODEL = "runs/obst/models/tuned.safetensors"
NORMALIZE = {"mean": [0.5, 0.4, 0.6], "std": [0.25, 0.2, 0.3]}

# The last epoch at a lower rate: few steps at a high one end well or not by what rounding the processor's kernels do.
TRAIN = {"epochs": 3, "optimizer": {"type": "adam", "lr": 0.003},
         "schedule": {"type": "multistep", "milestones": [2], "gamma": 0.1}}
OBST = {
    "name": "obst", "seed": 1,
    "model": {"type": "resnet20", "width": 0.5, "input": [SIDE, SIDE, 3]},
    "data": {"type": "image_folder", "root": ".", "path": "bilder", "batch": 32, "validation": 0.1, "cache": False,
             "normalize": NORMALIZE, "augment": [{"type": "flip"}]},
    "stages": [{"name": "dense", "train": TRAIN},
               {"name": "cut", "prune": {"unit": "channel", "criterion": "group_norm", "speedup": 2}},
               {"name": "tuned", "train": TRAIN}]}

# What `check` and `train` say of the folder.
ODD = ("bilder: class folders without images are left out: leer",
       "bilder: 1 file that is no .jpg, .jpeg, .png, .webp or .bmp: left out: train/birne grün/notizen.txt")
CONVERTED = ("1 of 16 bits cut to 8", "1 from CMYK to RGB", "1 turned upright by EXIF orientation",
             "1 rid of alpha", "1 from grey to RGB")


def installed(*modules):
    return subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], capture_output=True).returncode == 0


class FromPicturesToAProduct(Outcomes):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.drawn = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.drawn.cleanup)
        write_pictures(pathlib.Path(cls.drawn.name))

    def setUp(self):
        super().setUp()
        (self.folder / "bilder").symlink_to(self.drawn.name)
        self.write("obst.json", OBST)

    def stages(self, run):
        return {stage["name"]: stage for stage in self.read_json(f"{run}/result.json")["stages"]}

    def python(self, *arguments):
        result = subprocess.run([sys.executable, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True,
                                timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def assert_says_what_is_odd(self, said):
        for line in ODD:
            self.assertIn(line + "\n", said)
        [converted] = [line for line in said.splitlines() if "bilder: of 600 images" in line]
        for words in CONVERTED:
            self.assertIn(words, converted)

    def test_the_whole_way(self):
        # Is it good, and what does it say of the odd ones?
        checked = self.succeeds("check", "obst.json")
        self.assertIn(f"bilder: 600 images of {SIDE} x {SIDE} x 3, ", checked.splitlines()[0])
        self.assertIn("405 images to train on, 45 held out, 150 to test\n", checked)
        self.assertIn("3 classes: birne grün, zwetschge, äpfel\n", checked)
        self.assert_says_what_is_odd(checked)
        self.assertFalse((self.folder / "runs").exists())

        # Train, prune and tune: as good as before, and really smaller.
        trained = self.succeeds("train", "obst.json")
        self.assert_says_what_is_odd(trained)
        self.assertIn("runs/obst holds the models", trained)
        stages = self.stages("runs/obst")
        for name in ("dense", "tuned"):
            self.assertGreater(stages[name]["accuracy"], 90, name)
        self.assertLessEqual(2 * stages["tuned"]["macs"], stages["dense"]["macs"])
        sizes = [(self.folder / f"runs/obst/models/{name}.safetensors").stat().st_size for name in ("dense", "tuned")]
        self.assertLess(2 * sizes[1], sizes[0])
        self.assertEqual(sizes, [stages[name]["bytes"] for name in ("dense", "tuned")])

        # A second run takes a folder beside the first; both in a table, what differs in their configs first.
        self.assertIn("runs/obst-2", self.succeeds("train", "obst.json", "--set", "stages.cut.prune.speedup=1.5"))
        self.assertLessEqual(1.5 * self.stages("runs/obst-2")["tuned"]["macs"], stages["dense"]["macs"])
        heads, *rows = self.succeeds("compare", "runs/obst", "runs/obst-2").splitlines()
        self.assertEqual(heads.split()[:2], ["run", "speedup"])
        self.assertEqual([row.split()[:2] for row in rows[:2]], [["runs/obst", "2.0"], ["runs/obst-2", "1.5"]])

        # What is on pictures that it has not seen?
        pictures = [f"bilder/test/{name}/bild 000.png" for name in CLASSES]
        found = [json.loads(line) for line in self.succeeds("predict", MODEL, *pictures, "--json").splitlines()]
        self.assertEqual([image["predictions"][0]["name"] for image in found], CLASSES)
        self.write("neu/äpfel/halb gelb.jpg", CMYK)
        self.write("neu/äpfel/gedreht.jpg", TURNED)
        predicted = self.espalier("predict", MODEL, "neu", "--top", "1")
        self.assertEqual((predicted.returncode, predicted.stderr),
                         (0, "predict: of 2 images, 1 from CMYK to RGB, 1 turned upright by EXIF orientation\n"))
        shown = predicted.stdout.splitlines()
        self.assertEqual([line.split("  ")[0] for line in shown], ["neu/äpfel/gedreht.jpg", "neu/äpfel/halb gelb.jpg"])
        for line in shown:
            self.assertRegex(line, r" (birne grün|zwetschge|äpfel) \d+\.\d %$")

        # How good is it on other pictures, of only one class, too?
        evaluated = self.succeeds("eval", MODEL, "--images", "bilder/test")
        self.assertIn(f"accuracy {stages['tuned']['accuracy']:.2f} %  loss {stages['tuned']['loss']:.4f}  ", evaluated)
        self.assertRegex(self.succeeds("eval", MODEL, "--images", "neu"), r"accuracy .* \(neu, 2 images\)\n$")

        # One more epoch changes the last stage alone, and comes to the bits that four at once come to.
        before = {path.name: path.read_bytes() for path in (self.folder / "runs/obst/models").iterdir()}
        more = ("--set", "stages.tuned.train.epochs=4")
        self.assertIn("stage 'tuned' trains for 4 epochs now, not 3 epochs\n",
                      self.succeeds("train", "--resume", "runs/obst", *more))
        after = {path.name: path.read_bytes() for path in (self.folder / "runs/obst/models").iterdir()}
        self.assertEqual({name.split(".")[0] for name in after if after[name] != before.get(name)} & {"dense", "cut"},
                         set())
        self.assertNotEqual(after["tuned.safetensors"], before["tuned.safetensors"])
        self.succeeds("train", "obst.json", *more, "--output", "at once")
        self.assert_same_outcome("runs/obst", self.outcome("at once"), longer=True)

    def test_a_stopped_run_goes_on_from_its_folder_alone(self):
        # Far too many epochs, so that it cannot end before the signal; how many it has made by then sets how many it is
        # to make in the end.
        self.assertIn("--resume runs/obst", self.interrupt("train", "obst.json", "--set", "stages.dense.train.epochs=999"))
        (self.folder / "obst.json").unlink()
        self.interrupt("train", "--resume", "runs/obst")
        rows = map(json.loads, (self.folder / "runs/obst/metrics.jsonl").read_text().splitlines())
        enough = ("--set", f"stages.dense.train.epochs={max(row.get('epoch', 0) for row in rows) + 1}")
        self.succeeds("train", "--resume", "runs/obst", *enough)
        self.write("obst.json", OBST)
        self.succeeds("train", "obst.json", *enough, "--output", "at once")
        self.assert_same_outcome("runs/obst", self.outcome("at once"), longer=True)

    @needs("torch", "safetensors")
    def test_the_product_in_pytorch_and_onnx(self):
        self.succeeds("train", "obst.json", "--quiet")
        self.succeeds("eval", MODEL, "--logits", "pass.safetensors")
        shown = self.python(SCRIPT, MODEL, "--check", "pass.safetensors")
        self.assertRegex(shown, r"logits of 32 images differ by \S+e-\d+ of the largest")
        for name in CLASSES:
            self.assertIn(name, shown)
        if not installed("onnx", "onnxruntime"):
            self.skipTest("in PyTorch it is the same; onnx or onnxruntime is not installed")
        self.python(SCRIPT, MODEL, "--onnx", "obst.onnx")
        # The images and logits as `eval` has them, here by ONNX Runtime; names and normalisation are in the file.
        tensors, _ = safetensors(self.folder / "pass.safetensors")
        for name in ("images", "logits"):
            self.write(name, json.dumps(tensors[name][1]))
            self.write(f"{name}.raw", tensors[name][2])
        difference, facts = json.loads(self.python("-c", """
import json, numpy, onnxruntime
images, logits = (numpy.fromfile(f"{name}.raw", "f4").reshape(json.load(open(name))) for name in ("images", "logits"))
session = onnxruntime.InferenceSession("obst.onnx", providers=["CPUExecutionProvider"])
[computed] = session.run(["logits"], {"images": images})
print(json.dumps([float(abs(computed - logits).max() / abs(logits).max()),
                  session.get_modelmeta().custom_metadata_map]))
"""))
        self.assertLess(difference, 1e-4)
        self.assertEqual(json.loads(facts["classes"]), CLASSES)
        for key, values in NORMALIZE.items():
            for said, value in zip(json.loads(facts[key]), values, strict=True):
                self.assertAlmostEqual(said, value, 6)


if __name__ == "__main__":
    unittest.main()
