"""Networks of which there is nothing but a graph: "model": {"type": "graph", "file": ...}."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, safetensors, sgd

TUNED = {"name": "tuned", "train": sgd(epochs=1)}
CUT = {"name": "cut", "prune": {"unit": "channel", "criterion": "l1", "ratio": 0.25}}


class GraphModel(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("first.json", {**config({"name": "dense", "train": sgd(epochs=1)}, CUT),
                                  "model": {"type": "vgg11", "width": 0.05, "input": [SIDE, SIDE, 1]}})
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        os.rename(self.folder / "first/models/cut.safetensors", self.folder / "net.safetensors")

    def own(self, *stages, **model):
        self.write("own.json", {**config(*stages), "model": {"type": "graph", **model}})

    def test_is_trained_cut_resumed_and_evaluated(self):
        self.own(CUT, TUNED, file="net.safetensors", weights="net.safetensors")
        self.succeeds("train", "own.json", "--quiet", "--output", "own")
        stages = self.read_json("own/result.json")["stages"]
        dense = self.read_json("first/result.json")["stages"]
        self.assertLess(stages[0]["parameters"], dense[1]["parameters"])
        longer = ("train", "--resume", "own", "--set", "stages.tuned.train.epochs=2", "--quiet")
        self.succeeds(*longer)
        self.own(CUT, {"name": "tuned", "train": sgd(epochs=2)}, file="net.safetensors", weights="net.safetensors")
        self.succeeds("train", "own.json", "--quiet", "--output", "at-once")
        self.assertEqual(safetensors(self.folder / "own/models/tuned.safetensors")[0],
                         safetensors(self.folder / "at-once/models/tuned.safetensors")[0])
        os.remove(self.folder / "net.safetensors")  # a checkpoint needs it no more
        for command in ("eval", "inspect", "graph"):
            self.succeeds(command, "own/checkpoint.safetensors")

    def test_of_a_json_begins_afresh(self):
        self.write("net.json", safetensors(self.folder / "net.safetensors")[1]["espalier.network"])
        self.own(TUNED, file="net.json")
        self.succeeds("train", "own.json", "--quiet", "--output", "own")
        self.assertEqual(self.read_json("own/result.json")["stages"][0]["parameters"],
                         self.read_json("first/result.json")["stages"][1]["parameters"])

    def test_what_does_not_fit_is_one_line(self):
        self.own(TUNED, file="nothing.json")
        self.fails_unwritten(2, "own.json: /model/file: nothing.json: cannot open: No such file or directory", "train",
                             "own.json")
        self.write("broken.json", '{"values": [{"shape": [1, 8, 8, 1]}], "ops": [{"op": "flattn"')
        self.own(TUNED, file="broken.json")
        self.assertIn("own.json: /model/file: broken.json:1:", self.espalier("train", "own.json").stderr)
        self.own(TUNED, file="net.safetensors", input=[99, 99, 3])
        self.assertIn(f"net.safetensors takes images of [{SIDE}, {SIDE}, 1], found input [99, 99, 3]",
                      self.espalier("train", "own.json").stderr)
        self.own(TUNED)
        self.assertIn("own.json: /model/file: missing, expected the file that describes the network",
                      self.espalier("train", "own.json").stderr)


if __name__ == "__main__":
    unittest.main()
