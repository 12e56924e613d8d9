#!/usr/bin/env python3
"""Records from PyTorch what tests/optim/golden_test.cpp holds Espalier to: tests/golden/*.json.

For each case: logits and gradients of the first batch at the initial weights, and the training losses under each
optimizer, a new batch each step. Weights, images and labels come from formula.py, so that the files hold figures only.
With --double nothing is written: the same is computed in double precision, and the largest relative departure of
PyTorch's own single precision from it is printed: the room that rounding needs.
"""

import argparse
import dataclasses
import json
import pathlib

from need import need

need("torch", "numpy")

import torch
from torch.nn import functional as F

from formula import golden_batch, initial_weights, probe
from models import MODELS

BATCH, SHOWN = 64, 4  # SHOWN: how many images' logits are kept


@dataclasses.dataclass
class Case:
    """One file. `sgd` and `adam` are learning rates, `steps` the losses to record.

    ReLU amplifies rounding: where a sum is 0 but for its last bit, one implementation takes the gradient and another
    does not, and Adam makes a step of full size of any gradient. Hence the MLPs' small rates, and seeds at which
    weights shaken by 1e-6, ten times their rounding, move no loss by more than a third of what the test allows.
    """
    model: str
    options: dict
    seed: int
    sgd: float
    adam: float
    steps: int = 100

    def optimizers(self):
        """As a config's `optimizer` has them."""
        sgd = {"type": "sgd", "lr": self.sgd, "momentum": 0.9, "weight_decay": 5e-4}
        return {"sgd": sgd, "nesterov": {**sgd, "nesterov": True},
                "adam": {"type": "adam", "lr": self.adam},
                "adamw": {"type": "adamw", "lr": self.adam, "weight_decay": 0.01}}


CASES = {
    "mlp": Case("mlp", {}, seed=103, sgd=0.005, adam=1e-4),
    "lenet300": Case("lenet300", {}, seed=78, sgd=0.005, adam=1e-4),
    "lenet5_gelu_average": Case("lenet5", {"activation": "gelu", "pool": "average"}, seed=1, sgd=0.1, adam=1e-3),
    "lenet5": Case("lenet5", {}, seed=3, sgd=0.01, adam=1e-3, steps=10),
}
TORCH_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def start(case, dtype):
    """The model with its initial weights by formula."""
    network = MODELS[case.model].build(**case.options)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    weights = {name: torch.from_numpy(value) for name, value in initial_weights(shapes, case.seed).items()}
    network.load_state_dict(weights, strict=False)
    return network.to(dtype)


def batch(case, step, dtype):
    """Images [N,C,H,W] and labels of one step."""
    row = MODELS[case.model]
    images, labels = golden_batch(case.seed, step, BATCH, row.input, row.classes)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(dtype), torch.from_numpy(labels)


def first_batch(case, dtype):
    """Logits of the first images, and each parameter's gradient as two numbers: its norm, and its projection."""
    network = start(case, dtype)
    images, labels = batch(case, 0, dtype)
    logits = network(images)
    F.cross_entropy(logits, labels).backward()
    gradients = {}
    for place, (name, parameter) in enumerate(network.named_parameters()):
        gradient = parameter.grad.double().flatten()
        along = torch.from_numpy(probe(case.seed, place, gradient.numel())).double()
        gradients[name] = {"norm": gradient.norm().item(), "projection": gradient.dot(along).item()}
    return logits[:SHOWN].tolist(), gradients


def losses(case, optimizer, dtype):
    """Training losses, step by step."""
    network = start(case, dtype)
    settings = {key: value for key, value in optimizer.items() if key != "type"}
    stepper = TORCH_OPTIMIZERS[optimizer["type"]](network.parameters(), **settings)
    found = []
    for step in range(case.steps):
        images, labels = batch(case, step, dtype)
        stepper.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        stepper.step()
        found.append(loss.item())
    return found


def record(case):
    logits, gradients = first_batch(case, torch.float32)
    runs = {name: {"optimizer": optimizer, "losses": losses(case, optimizer, torch.float32)}
            for name, optimizer in case.optimizers().items()}
    return {"model": {"type": case.model, **case.options}, "seed": case.seed, "batch": BATCH,
            "torch": torch.__version__, "logits": logits, "gradients": gradients, "runs": runs}


def rounded(value):
    """9 significant digits: all of a float's."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


def print_departure(name, case):
    for run, optimizer in case.optimizers().items():
        single, double = (losses(case, optimizer, dtype) for dtype in (torch.float32, torch.float64))
        worst, step = max((abs(a - b) / b, step) for step, (a, b) in enumerate(zip(single, double), start=1))
        print(f"{name:<20} {run:<9} departs by at most {worst:.1e}, at step {step}; last loss {double[-1]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="folder to write (default: tests/golden)",
                        default=pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden")
    parser.add_argument("--double", action="store_true", help="compare PyTorch with itself; write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, case in CASES.items():
        if arguments.double:
            print_departure(name, case)
            continue
        path = arguments.output / f"{name}.json"
        path.write_text(json.dumps(rounded(record(case)), separators=(",", ":")) + "\n")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
