"""Networks that a config writes down: "model": {"type": "layers", "layers": [...]}."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, sgd

LAYERS = [{"type": "conv", "channels": 8}, {"type": "norm"}, {"type": "activation"},
          {"type": "residual", "layers": [{"type": "conv", "channels": 8}, {"type": "norm"}]}, {"type": "activation"},
          {"type": "flatten"}, {"type": "linear", "outputs": 16}, {"type": "activation"}, {"type": "dropout"},
          {"type": "linear"}]
DENSE = {"name": "dense", "train": sgd(epochs=2)}
CUT = {"name": "cut", "prune": {"unit": "channel", "criterion": "l1", "ratio": 0.25}}
TUNED = {"name": "tuned", "train": sgd(epochs=1)}


class Layers(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def own(self, *stages, layers=None, **model):
        self.write("own.json", {**config(*stages), "model": {"type": "layers", "input": [SIDE, SIDE, 1],
                                                             "layers": layers or LAYERS, **model}})

    def refused(self, layers, message):
        self.own(DENSE, layers=layers)
        self.fails_unwritten(2, f"own.json: {message}", "train", "own.json")

    def test_are_trained_cut_tuned_and_evaluated(self):
        self.own(DENSE, CUT, TUNED)
        self.succeeds("train", "own.json", "--quiet", "--output", "own")
        dense, cut, tuned = self.read_json("own/result.json")["stages"]
        self.assertLess(cut["macs"], dense["macs"])
        os.remove(self.folder / "own.json")  # what a checkpoint says is enough
        for command in ("eval", "inspect", "graph"):
            self.succeeds(command, "own/checkpoint.safetensors")
        self.assertIn("residual1.conv1", self.succeeds("inspect", "own/models/tuned.safetensors"))

    def test_a_run_that_goes_on_drops_the_same_numbers(self):
        self.own(DENSE)
        self.succeeds("train", "own.json", "--quiet", "--output", "at-once")
        self.succeeds("train", "own.json", "--quiet", "--output", "own", "--set", "stages.dense.train.epochs=1")
        self.succeeds("train", "--resume", "own", "--quiet", "--set", "stages.dense.train.epochs=2")
        self.assertEqual((self.folder / "own/models/dense.safetensors").read_bytes()[-1000:],
                         (self.folder / "at-once/models/dense.safetensors").read_bytes()[-1000:])

    def test_mistakes_name_the_layer(self):
        self.refused([{"type": "conv", "channels": 8}, {"type": "linear"}],
                     f"model: layers/1 (linear): takes a row [I], but an image [{SIDE}, {SIDE}, 8] comes in: a "
                     "'flatten', or a 'pool' of kind 'global_average', makes a row of it")
        self.refused([{"type": "flatten"}, {"type": "linear", "outputs": 3}],
                     "model: layers: put out [3], expected [10], a number for each class: a 'linear' without "
                     "'outputs' does")
        self.refused([{"type": "convolution", "channels": 8}, {"type": "linear"}],
                     "/model/layers/0/type: found the text \"convolution\", expected one of conv, norm, activation, pool, linear, "
                     "flatten, dropout, repeat, residual, concat, did you mean 'conv'?")
        self.refused([{"type": "pool", "kind": "global_average", "window": 4}, {"type": "linear"}],
                     "/model/layers/0/window: is for kind max or average, and the kind is global_average")
        self.refused([{"type": "repeat", "times": 2, "layers": [{"type": "conv", "chanels": 8}]}],
                     "/model/layers/0/layers/0/chanels: no such field, did you mean 'channels'?")
        self.write("own.json", {**config(DENSE), "model": {"type": "layers", "layers": LAYERS}})
        self.fails_unwritten(2, "own.json: /model/input: missing, expected height, width and channels of an image",
                             "train", "own.json")
        self.refused([{"type": "linear", "name": "a.b"}],
                     "/model/layers/0/name: found the text \"a.b\", expected a name without '.', which separates levels")
        self.refused([{"type": "linear", "channels": 8}],
                     "/model/layers/0/channels: is for type conv, and the type is linear")
        deep = [{"type": "linear"}]
        for _ in range(30):
            deep = [{"type": "repeat", "times": 1, "layers": deep}]
        self.own(DENSE, layers=deep)
        self.assertIn("lies too deep, in too many lists of layers within each other", self.espalier("train", "own.json").stderr)
        self.write("own.json", {**config(DENSE), "model": {"type": "layers", "input": [SIDE, SIDE, 1]}})
        self.fails_unwritten(2, "own.json: /model/layers: missing, expected a list of 1 to 1000, each an object", "train",
                             "own.json")

    def test_help_lists_them(self):
        text = self.succeeds("help", "layers")
        for word in ("residual", "global_average", "shortcut", "branches"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
