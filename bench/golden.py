#!/usr/bin/env python3
"""Records from PyTorch what tests/optim/golden_test.cpp holds Espalier to: tests/golden/*.json.

For each case: names and shapes of the state_dict; logits and gradients of the first batch at the initial weights; the
training losses under each optimizer, a new batch each step; and of models with norms, the logits of the first batch in
inference, with random scales, shifts and statistics. Weights, images and labels come from formula.py, so that the files
hold figures only. With --double nothing is written: the same is computed in double precision, and the largest departure
of PyTorch's own single precision from it is printed: the room that rounding needs.
"""

import argparse
import dataclasses
import json
import pathlib

from need import need

need("torch", "numpy")

import torch
from torch.nn import functional as F

from formula import golden_batch, initial_weights, probe, random_norms
from models import MODELS

@dataclasses.dataclass
class Case:
    """One file. `steps`: the losses to record, under each of `optimizers`, written as a config's `optimizer` has them.

    ReLU amplifies rounding: where a sum is 0 but for its last bit, one implementation takes the gradient and another
    does not, and Adam makes a step of full size of any gradient. Hence the MLPs' small rates, and seeds at which
    weights shaken by 1e-6, ten times their rounding, move no loss by more than a third of what the test allows.
    ResNet-50 with ReLU is at that mercy from its second step on: with weights so shaken its second loss moves by 7e-3,
    its third by 2e-2, in batches of 64 by 2e-3 and 9e-3. So its steps are judged with GELU; and with ReLU from blocks
    that begin small beside what they are added to (`block_scale`; Goyal et al. 2017 begin at 0): at 0.25 no loss moves
    by more than 4e-6.
    """
    model: str
    seed: int
    optimizers: dict
    options: dict = dataclasses.field(default_factory=dict)
    input: tuple = None
    classes: int = None
    steps: int = 100
    batch: int = 64
    shown: int = 4  # images of which the logits are kept
    gradients: bool = True
    counted: bool = False  # whether parameters and multiply-accumulates are, at the model's own input and classes
    block_scale: float = None  # where the last norm's scale of each block begins, if not at 1

    def __post_init__(self):
        row = MODELS[self.model]
        self.input, self.classes = self.input or row.input, self.classes or row.classes


def sgd(lr):
    return {"type": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 5e-4}


def all_optimizers(sgd_lr, adam_lr):
    return {"sgd": sgd(sgd_lr), "nesterov": {**sgd(sgd_lr), "nesterov": True},
            "adam": {"type": "adam", "lr": adam_lr}, "adamw": {"type": "adamw", "lr": adam_lr, "weight_decay": 0.01}}


SMOOTH = {"activation": "gelu", "pool": "average"}
SMALL_BATCH = {"optimizers": {"sgd": sgd(0.002)}, "batch": 16, "shown": 16}
# Large enough for the kernels that large batches get: Winograd by panels, at 512 channels (core/cpu/conv/winograd.cpp).
LARGE_BATCH = {**SMALL_BATCH, "batch": 32}
RESNET18 = {"model": "resnet18", "seed": 1, "input": (64, 64, 3), "classes": 10, **SMALL_BATCH}  # the imagenet stem
RESNET50 = {"model": "resnet50", "seed": 1, "input": (32, 32, 3), "classes": 100, **SMALL_BATCH}
# Of torchvision's, with the stem for small images and with that for photographs; their counts are of 224x224 and 1000
# classes.
TORCHVISION = {"optimizers": {"sgd": sgd(0.002)}, "batch": 16, "shown": 16, "classes": 10, "steps": 3,
               "counted": True}
SMALL = {**TORCHVISION, "input": (32, 32, 3)}
LARGE = {**TORCHVISION, "input": (64, 64, 3)}
CASES = {
    "mlp": Case("mlp", 103, all_optimizers(0.005, 1e-4)),
    "lenet300": Case("lenet300", 78, all_optimizers(0.005, 1e-4)),
    "lenet5_gelu_average": Case("lenet5", 1, all_optimizers(0.1, 1e-3), SMOOTH),
    "lenet5": Case("lenet5", 3, all_optimizers(0.01, 1e-3), steps=10),
    "vgg16": Case("vgg16", 1, steps=3, gradients=False, **SMALL_BATCH),
    "vgg19": Case("vgg19", 1, steps=3, gradients=False, **SMALL_BATCH),
    "vgg13_gelu_average": Case("vgg13", 1, options=SMOOTH, steps=15, **SMALL_BATCH),
    "vgg11_gelu_average": Case("vgg11", 1, options=SMOOTH, steps=3, **LARGE_BATCH),
    "resnet20": Case("resnet20", 1, steps=3, gradients=False, **SMALL_BATCH),
    "resnet20_gelu": Case("resnet20", 1, options={"activation": "gelu"}, steps=3, **SMALL_BATCH),
    "resnet18": Case(steps=1, gradients=False, **RESNET18),
    "resnet18_gelu_average": Case(steps=3, options=SMOOTH, **RESNET18),
    "resnet50": Case(steps=1, gradients=False, **RESNET50),
    "resnet50_small_blocks": Case(steps=3, gradients=False, block_scale=0.25, **RESNET50),
    "resnet50_gelu": Case(steps=3, options={"activation": "gelu"}, **RESNET50),
    "mobilenetv2": Case("mobilenetv2", 1, **LARGE | {"optimizers": {"sgd": sgd(0.0002)}}),
    "mobilenetv2_small": Case("mobilenetv2", 1, **SMALL | {"optimizers": {"sgd": sgd(0.0002)}}),
    "mobilenetv3_small": Case("mobilenetv3_small", 1, **LARGE | {"optimizers": {"sgd": sgd(0.2)}}),
    "mobilenetv3_small_small": Case("mobilenetv3_small", 1, **SMALL | {"optimizers": {"sgd": sgd(0.2)}}),
    "mobilenetv3_large": Case("mobilenetv3_large", 1, **LARGE | {"optimizers": {"sgd": sgd(0.02)}}),
    "mobilenetv3_large_small": Case("mobilenetv3_large", 1, **SMALL | {"optimizers": {"sgd": sgd(0.02)}}),
    "densenet121": Case("densenet121", 1, **LARGE),
    "densenet121_small": Case("densenet121", 1, **SMALL),
    "squeezenet": Case("squeezenet", 1, **LARGE),
    "squeezenet_small": Case("squeezenet", 1, **SMALL),
    "vit": Case("vit", 1, steps=3, **SMALL_BATCH),
}
TORCH_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def start(case, dtype, norms=False):
    """The model with its initial weights by formula, and its norms' numbers too if asked for."""
    network = MODELS[case.model].build(case.input, case.classes, **case.options)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    values = {**initial_weights(shapes, case.seed), **(random_norms(shapes, case.seed) if norms else {})}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()}, strict=False)
    if case.block_scale is not None and not norms:
        for name, value in network.named_parameters():
            if name.endswith("bn3.weight"):
                torch.nn.init.constant_(value, case.block_scale)
    return network.to(dtype)


def batch(case, step, dtype):
    """Images [N,C,H,W] and labels of one step."""
    images, labels = golden_batch(case.seed, step, case.batch, case.input, case.classes)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(dtype), torch.from_numpy(labels)


def first_batch(case, dtype):
    """Logits of the first images, and each parameter's gradient."""
    network = start(case, dtype)
    images, labels = batch(case, 0, dtype)
    logits = network(images)
    F.cross_entropy(logits, labels).backward()
    return logits[:case.shown].detach(), {name: value.grad.double() for name, value in network.named_parameters()}


def in_two_numbers(gradients, seed):
    """Each gradient's norm and projection."""
    found = {}
    for place, (name, gradient) in enumerate(gradients.items()):
        along = torch.from_numpy(probe(seed, place, gradient.numel())).double()
        found[name] = {"norm": gradient.norm().item(), "projection": gradient.flatten().dot(along).item()}
    return found


def inference(case, dtype):
    """Logits of the first images, with random norms; nothing for models without norms.

    Image n is made n + 1 times as bright: noise through random layers and a mean of all pixels gives else nearly the
    same for every image.
    """
    network = start(case, dtype, norms=True).eval()
    if not any(isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)) for module in network.modules()):
        return None
    with torch.no_grad():
        images = batch(case, 0, dtype)[0]
        brightness = torch.arange(1, case.batch + 1, dtype=dtype).view(-1, 1, 1, 1)
        return network(brightness * images)[:case.shown]


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


def counts(case):
    """Parameters and multiply-accumulates of one image, by hooks: each weight of a convolution or a linear layer meets
    every position of the output once."""
    row, macs = MODELS[case.model], []
    network = row.build(row.input, row.classes)

    def count(layer, _, output):
        positions = output.shape[2] * output.shape[3] if output.dim() == 4 else 1
        macs.append(layer.weight.numel() * positions)

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.zeros(1, row.input[2], *row.input[:2]))
    return {"input": row.input, "classes": row.classes, "macs": sum(macs),
            "parameters": sum(value.numel() for value in network.parameters())}


def record(case):
    logits, gradients = first_batch(case, torch.float32)
    found = {"model": {"type": case.model, "input": case.input, "classes": case.classes, **case.options},
             "seed": case.seed, "batch": case.batch, "torch": torch.__version__,
             "state_dict": [[name, list(value.shape)] for name, value in start(case, torch.float32).state_dict().items()],
             "logits": logits.tolist()}
    if case.counted:
        found["counts"] = counts(case)
    if case.block_scale is not None:
        found["block_scale"] = case.block_scale
    if case.gradients:
        found["gradients"] = in_two_numbers(gradients, case.seed)
    evaluated = inference(case, torch.float32)
    if evaluated is not None:
        found["inference"] = evaluated.tolist()
    found["runs"] = {name: {"optimizer": optimizer, "losses": losses(case, optimizer, torch.float32)}
                     for name, optimizer in case.optimizers.items()}
    return found


def rounded(value):
    """9 significant digits: all of a float's."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def print_departure(name, case):
    precisions = torch.float32, torch.float64
    (logits, gradients), (logits64, gradients64) = (first_batch(case, dtype) for dtype in precisions)
    print(f"{name}\n  logits depart by {departure(logits, logits64):.1e} of the largest, {logits64.abs().max():.3g}")
    worst = max((((gradient - gradients64[key]).norm() / gradients64[key].norm()).item(), key)
                for key, gradient in gradients.items())
    print(f"  gradients depart by at most {worst[0]:.1e} of their norm: {worst[1]}")
    evaluated, evaluated64 = (inference(case, dtype) for dtype in precisions)
    if evaluated is not None:
        spread = evaluated64.std(0).max().item()
        print(f"  in inference logits depart by {departure(evaluated, evaluated64):.1e} of the largest, "
              f"{evaluated64.abs().max():.3g}; one differs by {spread:.3g} from image to image")
    for run, optimizer in case.optimizers.items():
        single, double = (losses(case, optimizer, dtype) for dtype in precisions)
        worst, step = max((abs(a - b) / b, step) for step, (a, b) in enumerate(zip(single, double), start=1))
        print(f"  {run}: losses depart by at most {worst:.1e}, at step {step}; last {double[-1]:.4f}")


def departure(single, double):
    return ((single - double).abs().max() / double.abs().max()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="folder to write (default: tests/golden)",
                        default=pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden")
    parser.add_argument("--double", action="store_true", help="compare PyTorch with itself; write nothing")
    parser.add_argument("--case", choices=list(CASES), action="append", help="repeatable (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in arguments.case or CASES:
        case = CASES[name]
        if arguments.double:
            print_departure(name, case)
            continue
        path = arguments.output / f"{name}.json"
        path.write_text(json.dumps(rounded(record(case)), separators=(",", ":")) + "\n")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
