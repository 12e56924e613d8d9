"""A run begun on the CPU goes on on a card, or on a card's emulation, and the other way round: its losses are those of
a run that never moved."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import Outcomes, config, safetensors, sgd

# What has a state that moves along: Adam's moments, a mask, momentum and an average, a channel that was cut.
STAGES = [
    {"name": "dense", "train": {"steps": 12, "log_every": 1, "optimizer": {"type": "adam", "lr": 0.003}}},
    {"name": "narrow", "prune": {"unit": "channel", "ratio": 0.25}},
    {"name": "masked", "prune": {"sparsity": 0.5}},
    {"name": "tuned", "train": sgd(epochs=1, log_every=1, ema=0.6,
                                   optimizer={"type": "sgd", "lr": 0.02, "momentum": 0.9, "clip_norm": 1})},
]
HALF, WHOLE = ("--set", "stages.tuned.train.epochs=1"), ("--set", "stages.tuned.train.epochs=3")
TOLERANCE = 1e-4


@unittest.skipUnless(os.environ.get("ESPALIER_CUDA") == "EMULATED", "knows one device")
class ResumeElsewhere(Outcomes):
    def setUp(self):
        super().setUp()
        self.write_data(train=120, test=40)
        whole = config(*STAGES, precision="f32")
        whole["model"]["hidden"] = [24, 16]
        whole["data"]["validation"] = 0.25
        self.write("run.json", whole)

    def losses(self, output):
        """By stage, step and kind, of all rows of metrics."""
        return {(row["stage"], row["step"], key): value for row in self.outcome(output)["metrics"]
                for key, value in row.items() if key.endswith("loss")}

    def masks(self, output):
        """Those of the run's last checkpoint."""
        tensors, _ = safetensors(self.folder / output / "checkpoint.safetensors")
        return {name: value for name, value in tensors.items() if name.startswith("mask/")}

    def test_losses_are_those_of_a_run_that_stayed(self):
        self.succeeds("train", "run.json", "--quiet", "--output", "stayed", *WHOLE)
        stayed = self.losses("stayed")
        self.assertGreaterEqual(len({step for stage, step, _ in stayed if stage == "tuned"}), 27)
        self.assertTrue(self.masks("stayed"))
        for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
            with self.subTest(first=first, second=second):
                output = f"{first}-{second}"
                self.succeeds("train", "run.json", "--quiet", "--output", output, "--device", first, *HALF)
                result = self.espalier("train", "--resume", output, "--device", second, *WHOLE)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(f"{output}: goes on with stage 'tuned', step ", result.stdout)
                moved = self.losses(output)
                self.assertEqual(moved.keys(), stayed.keys())
                for place, loss in stayed.items():
                    self.assertAlmostEqual(moved[place], loss, delta=TOLERANCE, msg=place)
                self.assertEqual(self.masks(output), self.masks("stayed"))


if __name__ == "__main__":
    unittest.main()
