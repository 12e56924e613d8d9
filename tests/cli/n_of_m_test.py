"""n:m sparsity, as files have it: masks of 2:4 beside those of torch.ao, on the same weights, and padded ones."""

import os
import pathlib
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from needs import needs
from support import CliTest, SIDE, config, safetensors, sgd


@needs("torch", "safetensors")
class BesideTorch(CliTest):
    def masks_by_torch(self, matrix):
        import torch
        from torch.ao.pruning import WeightNormSparsifier

        layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        with torch.no_grad():
            layer.weight.copy_(matrix)
        model = torch.nn.Sequential(layer)
        sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
        sparsifier.prepare(model, config=[{"tensor_fqn": "0.weight"}])
        sparsifier.step()
        return model[0].parametrizations.weight[0].mask != 0

    def test_two_of_four(self):
        from safetensors.torch import load_file

        self.write_data()
        layers = [{"type": "conv", "channels": 8}, {"type": "activation"}, {"type": "conv", "channels": 12}, {"type": "pool"},
                  {"type": "flatten"}, {"type": "linear", "outputs": 16}, {"type": "activation"}, {"type": "linear"}]
        self.write("c.json", config({"name": "dense", "train": sgd(steps=20)},
                                    {"name": "pruned", "prune": {"unit": "2:4", "exclude": ["conv1"]}},
                                    model={"type": "layers", "input": [SIDE, SIDE, 1], "layers": layers}))
        self.succeeds("train", "c.json", "--quiet", "--output", "run")
        dense, pruned = (load_file(self.folder / f"run/models/{stage}.safetensors") for stage in ("dense", "pruned"))
        compared = 0
        for name, weight in dense.items():
            kept = pruned[name] != 0
            if not name.endswith(".weight") or kept.all():
                continue
            self.assertEqual(weight.eq(0).sum(), 0)
            # Groups lie along the inputs: [O,I,Kh,Kw] as [O,Kh,Kw,I].
            in_order = (0, 2, 3, 1) if weight.ndim == 4 else (0, 1)
            matrix = weight.permute(in_order).reshape(weight.shape[0], -1)
            expected = self.masks_by_torch(matrix)
            self.assertTrue(kept.permute(in_order).reshape(matrix.shape).equal(expected), name)
            self.assertTrue(expected.reshape(-1, 4).sum(1).eq(2).all(), name)
            compared += expected.numel()
        self.assertEqual(compared, 12 * 8 * 9 + 16 * 12 * 16 + 10 * 16)


class AfterAFlatten(CliTest):
    def test_groups_go_on_from_channel_to_channel(self):
        """20 channels of 9 pixels: most groups of 4 are of two channels, and in memory far apart."""
        self.write_data()
        layers = [{"type": "conv", "channels": 20, "pad": 0}, {"type": "activation"}, {"type": "pool"}, {"type": "flatten"},
                  {"type": "linear", "outputs": 6}, {"type": "activation"}, {"type": "linear"}]
        for criterion in "l1", "sparsegpt", "wanda":
            self.write("c.json", config({"name": "dense", "train": sgd(steps=20)},
                                        {"name": "pruned", "prune": {"unit": "2:4", "pad": True, "criterion": criterion}},
                                        model={"type": "layers", "input": [SIDE, SIDE, 1], "layers": layers}))
            self.succeeds("train", "c.json", "--quiet", "--output", criterion)
            _, shape, content = safetensors(self.folder / f"{criterion}/models/pruned.safetensors")[0]["linear1.weight"]
            self.assertEqual(shape, [6, 180])
            kept = [value != 0 for value in struct.unpack("<1080f", content)]
            self.assertEqual([sum(kept[i:i + 4]) for i in range(0, 1080, 4)], [2] * 270)


if __name__ == "__main__":
    unittest.main()
