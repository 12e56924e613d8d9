#!/usr/bin/env python3
"""Half of each layer's channels, cut by Espalier and by Torch-Pruning from the same weights by the same criterion.

No training: random weights, group magnitude (the mean over a channel's members of their sums of squares, norms' scales
among them), each layer for itself, channels rounded down to a multiple, the classifier's outputs kept. What Espalier
leaves is loaded into PyTorch's model of its shapes and counted by Torch-Pruning's counter, as what Torch-Pruning leaves
is; then every tensor of the one is compared with the other's, number by number: the same channels went if all are
equal. Torch-Pruning's seconds are of building its groups and one step, Espalier's of the whole stage: groups, cut, and
the proof of it on a batch.
"""

import argparse
import copy
import json
import pathlib
import tempfile
import time

from need import need
from script import Failure, add_espalier, check_espalier, printed, run

MODELS = ("resnet18", "resnet50", "vgg19", "mobilenetv2", "mobilenetv3_small", "densenet121", "squeezenet", "vit")


def random_model(name, seed):
    """A model with random scales too, so that no two channels tie."""
    from models import MODELS as catalogue

    torch.manual_seed(seed)
    made = catalogue[name]
    model = made.build(made.input, made.classes).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model, made


def layers_that_stay(model):
    """The classifier; of a transformer all but the hidden layers of its blocks, which are what Espalier cuts there."""
    layers = {name: module for name, module in model.named_modules()
              if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))}
    if any("attn" in name for name in layers):
        return [module for name, module in layers.items() if not name.endswith("mlp.fc1")]
    return [list(layers.values())[-1]]


def torch_pruning_cut(model, image, ratio, round_to):
    """The model cut in place; seconds."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
    start = time.perf_counter()
    pruner = torch_pruning.pruner.BasePruner(model, image, importance=importance, global_pruning=False,
                                             pruning_ratio=ratio, round_to=round_to, ignored_layers=layers_that_stay(model))
    pruner.step()
    return time.perf_counter() - start


def espalier_cut(program, name, made, model, ratio, round_to):
    """The tensors that are left, by name; the run's stage of result.json."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file(model.state_dict(), folder / "weights.safetensors")
        config = {
            "name": "cut", "model": {"type": name, "input": list(made.input), "classes": made.classes,
                                     "weights": str(folder / "weights.safetensors")},
            "data": {"type": "synthetic", "batch": 8, "train_images": 8, "test_images": 8},
            "stages": [{"name": "pruned", "prune": {
                "unit": "channel", "criterion": "group_norm", "scope": "layer", "ratio": ratio, "round_to": round_to,
                "min_channels": 1, "verify": True}}]}
        (folder / "cut.json").write_text(json.dumps(config))
        printed([program, "train", folder / "cut.json", "--output", folder / "run", "--quiet"], program)
        stage = json.loads((folder / "run" / "result.json").read_text())["stages"][0]
        return load_file(folder / "run" / "models" / "pruned.safetensors"), stage


def with_tensors(model, tensors):
    """The model with other tensors under its names, whatever their shapes."""
    model = copy.deepcopy(model)
    for name, module in model.named_modules():
        for own in (*module._parameters, *module._buffers):
            if getattr(module, own) is None:
                continue
            tensor = tensors[f"{name}.{own}" if name else own]
            setattr(module, own, torch.nn.Parameter(tensor) if own in module._parameters else tensor)
        if isinstance(module, torch.nn.Conv2d):
            module.out_channels, of_a_group = module.weight.shape[:2]
            if module.groups > 1:  # a depthwise one
                module.groups = module.out_channels
            module.in_channels = of_a_group * module.groups
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.num_features = len(module.weight)
        elif isinstance(module, torch.nn.Linear):
            module.out_features, module.in_features = module.weight.shape
    return model


def agreement(ours, theirs):
    """In words: how many tensors are the same."""
    names = list(theirs)
    same = sum(ours[name].shape == theirs[name].shape and torch.equal(ours[name], theirs[name]) for name in names)
    if same == len(names):
        return f"all {same} tensors are equal"
    first = next(n for n in names if ours[n].shape != theirs[n].shape or not torch.equal(ours[n], theirs[n]))
    return (f"{same} of {len(names)} tensors are equal; the first that is not: {first}, "
            f"{list(ours[first].shape)} and {list(theirs[first].shape)}")


def compare(program, name, arguments):
    model, made = random_model(name, arguments.seed)
    height, width, channels = made.input
    image = torch.randn(1, channels, height, width)
    count = torch_pruning.utils.count_ops_and_params
    ours, stage = espalier_cut(program, name, made, model, arguments.ratio, arguments.round_to)
    theirs = copy.deepcopy(model)
    seconds = torch_pruning_cut(theirs, image, arguments.ratio, arguments.round_to)
    line = "{:<28}{:>14}{:>20}{:>10}"
    print(line.format(name, "parameters", "operations", "seconds"))
    rows = {"original": (model, None), "Espalier": (with_tensors(model, ours), stage["seconds"]),
            "Torch-Pruning": (theirs, seconds)}
    for title, (one, taken) in rows.items():
        operations, parameters = count(one, image)
        print(line.format(f"  {title}", f"{parameters:,}", f"{int(operations):,}", f"{taken:.2f}" if taken else ""))
    print(f"  {agreement(ours, theirs.state_dict())}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=",".join(MODELS), help=f"of models.py (default: {','.join(MODELS)})")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of the channels that goes (default: 0.5)")
    parser.add_argument("--round-to", type=int, default=8, help="what stays is a multiple of it (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    add_espalier(parser)
    arguments = parser.parse_args()

    need("torch", "torch_pruning", "safetensors")
    global torch, torch_pruning, load_file, save_file
    import torch
    import torch_pruning
    from safetensors.torch import load_file, save_file

    from models import MODELS as catalogue

    check_espalier(arguments.espalier)
    for name in arguments.model.split(","):
        if name not in catalogue:
            raise Failure(f"--model: no model '{name}'; there are {', '.join(catalogue)}")
        compare(arguments.espalier, name, arguments)


if __name__ == "__main__":
    run(main)
