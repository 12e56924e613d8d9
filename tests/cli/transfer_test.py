"""Transfer: another network's weights under a new head, frozen layers, rates by layer; docs/transfer.md as it stands there."""

import json
import math
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import unittest

for folder in (".", "../support"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), folder))
from needs import needs
from support import CliTest, png, safetensors, safetensors_bytes

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
NARROW = ("--set", "model.width=0.125", "--set", "model.input=[32, 32, 3]", "--set", "model.stem=imagenet",
          "--set", "data.batch=10", "--set", "data.cache=false")
QUICK = ("--set", "stages.head.train.epochs=2", "--set", "stages.whole.train.epochs=1",
         "--set", "stages.tuned.train.epochs=1", "--set", "stages.cut.prune.speedup=1.3",
         "--set", "stages.cut.prune.min_channels=2")


def resnet18(width, classes):
    """{name: shape} of torchvision's ResNet-18 whose first layer has `width` channels, without counts of batches."""
    shapes = {}

    def layer(convolution, norm, inputs, outputs, kernel):
        shapes[f"{convolution}.weight"] = [outputs, inputs, kernel, kernel]
        shapes.update({f"{norm}.{name}": [outputs] for name in ("weight", "bias", "running_mean", "running_var")})

    layer("conv1", "bn1", 3, width, 7)
    inputs = width
    for stage in range(1, 5):
        outputs = width << (stage - 1)
        for block in range(2):
            name = f"layer{stage}.{block}"
            layer(f"{name}.conv1", f"{name}.bn1", inputs, outputs, 3)
            layer(f"{name}.conv2", f"{name}.bn2", outputs, outputs, 3)
            if inputs != outputs:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", inputs, outputs, 1)
            inputs = outputs
    return {**shapes, "fc.weight": [classes, inputs], "fc.bias": [classes]}


def as_trained(shapes):
    """{name: (shape, numbers)}: weights drawn as for relu, norms about what they start as."""
    dice = random.Random(0)
    tensors = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        bound = math.sqrt(6 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
        middle = 1 if name.endswith("running_var") or "bn" in name and name.endswith("weight") else 0
        tensors[name] = (shape, [middle + bound * (2 * dice.random() - 1) for _ in range(count)])
    return tensors


def write_flowers(folder):
    """Pictures that differ in colour by their class."""
    dice = random.Random(1)
    for split, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(FLOWERS):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                colour = [40 + 40 * (label * k % 5) for k in (1, 2, 3)]
                pixels = bytes(colour[j % 3] + dice.randrange(40) for j in range(3 * 36 * 36))
                (folder / split / name / f"{i}.png").write_bytes(png(36, 36, 3, pixels))


def blocks(language):
    """The code blocks of that language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "transfer.md").read_text(), re.DOTALL)


class Transfer(CliTest):
    def setUp(self):
        super().setUp()
        write_flowers(self.folder / "data" / "flowers")
        self.trained = as_trained(resnet18(8, 1000))
        self.write("resnet18.safetensors", safetensors_bytes(self.trained))
        [self.config] = map(json.loads, blocks("json"))
        self.write("flowers.json", self.config)

    def tensors(self, run, stage):
        return safetensors(self.folder / run / "models" / f"{stage}.safetensors")[0]

    def assert_frozen(self, tensors, layers):
        """Those layers are as in the file, and no others."""
        for name, (shape, values) in self.trained.items():
            frozen = name.split(".")[0] in layers
            same = tensors[name][2] == struct.pack(f"<{len(values)}f", *values)
            self.assertEqual(same, frozen, name)

    def test_the_page_from_end_to_end(self):
        checked = self.succeeds("check", "flowers.json", *NARROW, *QUICK)
        self.assertIn("note    resnet18.safetensors: not read, but started afresh: fc\n", checked)
        said = self.succeeds("train", "flowers.json", *NARROW, *QUICK)
        self.assertIn("resnet18.safetensors: not read, but started afresh: fc\n", said)
        self.assertIn("head  325 of 177,037 parameters learn, the others are frozen\n", said)
        head, whole = self.tensors("runs/flowers", "head"), self.tensors("runs/flowers", "whole")
        frozen = {name.split(".")[0] for name in self.trained} - {"fc"}
        self.assertEqual(head["fc.weight"][1], [5, 64])
        self.assert_frozen({**head, "fc.weight": ("", [], b""), "fc.bias": ("", [], b"")}, frozen)
        counts = {content for name, (_, _, content) in head.items() if name.endswith("num_batches_tracked")}
        self.assertEqual(counts, {struct.pack("<q", 0)}, "frozen norms count no batches")
        self.assert_frozen({**whole, "fc.weight": ("", [], b""), "fc.bias": ("", [], b"")}, ())
        stages = self.read_json("runs/flowers/result.json")["stages"]
        self.assertGreater(stages[1]["macs"] / stages[2]["macs"], 1.29)

        # The product names the new classes.
        said = self.succeeds("predict", "runs/flowers/models/tuned.safetensors", "data/flowers/test", "--json")
        images = [json.loads(line) for line in said.splitlines()]
        self.assertEqual([image["path"] for image in images],
                         [f"data/flowers/test/{name}/{i}.png" for name in FLOWERS for i in range(2)])
        for image in images:
            self.assertEqual({one["name"] for one in image["predictions"]}, set(FLOWERS))

        # The file of that run says what network it is; its cut is kept, its head is not.
        cut_width = self.tensors("runs/flowers", "tuned")["fc.weight"][1][1]
        self.write("next.json", {"model": {"weights": "runs/flowers/models/tuned.safetensors", "classes": 3,
                                           "skip": ["fc"]},
                                 "data": {"type": "synthetic", "train_images": 20, "test_images": 10},
                                 "stages": [{"name": "seen", "evaluate": {}}]})
        self.assertIn("not read, but started afresh: fc\n", self.succeeds("train", "next.json"))
        weight = self.tensors("runs/next", "seen")["fc.weight"]
        self.assertEqual(weight[1], [3, cut_width])
        largest = max(map(abs, struct.unpack(f"<{3 * cut_width}f", weight[2])))
        self.assertTrue(0.9 < largest * math.sqrt(cut_width) <= 1, "PyTorch's bound is 1 / sqrt(inputs)")

    def test_frozen_layers_stay_whatever_happens_around_them(self):
        train = {"steps": 6, "freeze": ["bn1", "layer2", "layer3.?.conv1"], "ema": 0.5, "label_smoothing": 0.1,
                 "optimizer": {"type": "adamw", "lr": 0.01, "weight_decay": 0.1, "clip_norm": 1,
                               "lr_of": {"layer4": 0.001, "fc": 0.02}},
                 "regularize": {"type": "group_norm"}, "reestimate_norm": 2}
        self.write("flowers.json", {**self.config, "stages": [{"name": "part", "train": train}]})
        self.succeeds("train", "flowers.json", *NARROW)
        tensors = self.tensors("runs/flowers", "part")
        for name, (_, values) in self.trained.items():
            frozen = name.startswith(("bn1", "layer2", "layer3.0.conv1", "layer3.1.conv1"))
            same = tensors[name][2] == struct.pack(f"<{len(values)}f", *values)
            self.assertEqual(same, frozen, name)
        # A pruner takes frozen weights, too, and masks hold there.
        train["prune"] = {"sparsity": 0.5, "scope": "layer", "schedule": {"type": "one_shot", "begin": 1}}
        self.write("flowers.json", {**self.config, "stages": [{"name": "part", "train": train}]})
        self.succeeds("train", "flowers.json", *NARROW, "--output", "pruned")
        for name, (_, shape, content) in self.tensors("pruned", "part").items():
            if len(shape) > 1:
                values = struct.unpack(f"<{len(content) // 4}f", content)
                self.assertEqual(values.count(0), round(len(values) / 2), name)
                if name.startswith("layer2"):
                    kept = [(a, b) for a, b in zip(values, self.trained[name][1]) if a]
                    self.assertEqual([a for a, _ in kept],
                                     list(struct.unpack(f"<{len(kept)}f", struct.pack(f"<{len(kept)}f",
                                                                                     *(b for _, b in kept)))))

    def test_mistakes_are_named(self):
        for command in ("check", "train"):
            self.fails(1, "resnet18.safetensors: 'fc.weight' has shape [1000, 64], the model's is [5, 64]; "
                       '"skip": ["fc"] in the config\'s model starts that layer afresh',
                       command, "flowers.json", *NARROW, *QUICK, "--set", "model.skip=[]")
            self.fails(1, "flowers.json: model.skip: 'fcc' names no layer, known: bn1, conv1, fc, layer1, "
                       "layer2, layer3, layer4, did you mean 'fc'?",
                       command, "flowers.json", *NARROW, *QUICK, "--set", 'model.skip=["fcc"]')
            self.fails(1, "flowers.json: stages.head: train: freeze 'layer5' names no layer, known: bn1, "
                       "conv1, fc, layer1, layer2, layer3, layer4, did you mean 'layer1'?",
                       command, "flowers.json", *NARROW, *QUICK, "--set", 'stages.head.train.freeze=["layer5"]')
            self.fails(2, "flowers.json: stages.head: train: freeze leaves no layer that learns",
                       command, "flowers.json", *NARROW, *QUICK, "--set", 'stages.head.train.freeze=["*"]')
            self.fails(1, "flowers.json: stages.whole: optimizer: lr_of 'layer4.2' names no layer or kind "
                       "of parameter, known: bias, bn1, conv1, embedding, fc, layer1, layer2, layer3, layer4, norm, did "
                       "you mean 'layer4'?",
                       command, "flowers.json", *NARROW, *QUICK, "--set",
                       "stages.whole.train.optimizer.lr_of.layer4.2=0.1")
        self.fails(2, "flowers.json: stages.whole.train.optimizer.lr_of.fc: found 0, expected a number above 0 "
                   "(set on the command line)", "check", "flowers.json", *NARROW, *QUICK, "--set",
                   "stages.whole.train.optimizer.lr_of.fc=0")
        self.fails(2, "flowers.json: model.skip: is for weights that are read, which 'weights' names",
                   "check", "flowers.json", "--set", "model.weights=null")


class TorchvisionsFile(CliTest):
    @needs("torch", "torchvision")
    def test_is_read_but_for_its_head(self):
        command, convert = blocks("sh")[0].splitlines()
        code = re.fullmatch("python3 -c '(.*)'", command)[1].replace('weights="DEFAULT"', "weights=None")
        made = subprocess.run([sys.executable, "-c", code], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        converted = subprocess.run([sys.executable, ROOT / convert.split()[0], convert.split()[1]], cwd=self.folder,
                                   capture_output=True, text=True)
        self.assertEqual(converted.returncode, 0, converted.stderr)
        flowers = json.loads(blocks("json")[0])
        flowers["model"]["classes"] = 5  # else the images would say so, which are not here
        self.write("flowers.json", flowers)
        self.assertIn("layer4.1.conv2", self.succeeds("inspect", "flowers.json"))
        ours = set(resnet18(64, 1000))
        tensors, _ = safetensors(self.folder / "resnet18.safetensors")
        self.assertEqual({name for name in tensors if not name.endswith("num_batches_tracked")}, ours)


if __name__ == "__main__":
    unittest.main()
