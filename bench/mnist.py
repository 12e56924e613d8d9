#!/usr/bin/env python3
"""The recipe of configs/mnist_mlp.json in Espalier and in PyTorch, seed by seed: accuracy, zeros and seconds.

MLP 784-256-128-10 on MNIST, pixels in 0..1, batch 64: 3 epochs of Adam at 1e-3, the 30 % of all weights that are smallest
in magnitude set to zero, 2 epochs with those held there. Accuracy is on the test set after each stage. The two sides
take turns; a seed gives each its own weights and order.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import tempfile
import time

from need import need
from script import ROOT, Failure, add_espalier, check_espalier, printed, run

STAGES = ("dense", "pruned", "tuned")
BATCH, EPOCHS, TUNING_EPOCHS, RATE, SPARSITY = 64, 3, 2, 1e-3, 0.3


def data_root(given):
    """--data, else ESPALIER_DATA, else data/, else ../shared/data: the first that is set or there."""
    if given or os.environ.get("ESPALIER_DATA"):
        return pathlib.Path(given or os.environ["ESPALIER_DATA"])
    places = [ROOT / "data", ROOT.parent / "shared" / "data"]
    return next((place for place in places if (place / "mnist").is_dir()), places[0])


def read_idx(root, name, header):
    """The bytes of an IDX file after its header."""
    for path in (root / "mnist" / name, root / "mnist" / f"{name}.gz"):
        if path.is_file():
            content = path.read_bytes()
            return np.frombuffer(gzip.decompress(content) if path.suffix == ".gz" else content, np.uint8, offset=header)
    raise Failure(f"{root}/mnist/{name}: no such file, nor .gz: scripts/get-data mnist, or --data ROOT")


def load(root):
    """{"train", "t10k"}: images f32 [N,784] in 0..1 and labels."""
    found = {}
    for part in ("train", "t10k"):
        pixels = read_idx(root, f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
        labels = read_idx(root, f"{part}-labels-idx1-ubyte", 8)
        found[part] = torch.from_numpy(pixels / np.float32(255)), torch.from_numpy(labels.astype(np.int64))
    return found


def train(model, data, epochs, masks):
    """`epochs` of Adam; weights outside `masks`, {parameter: mask}, are held at zero."""
    images, labels = data["train"]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(epochs):
        for picked in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[picked]), labels[picked]).backward()
            optimizer.step()
            with torch.no_grad():
                for weight, mask in masks.items():
                    weight.mul_(mask)


def smallest_pruned(model):
    """Zeroes the SPARSITY of all weights together that are smallest in magnitude: {weight: mask}."""
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    kept = torch.ones_like(magnitudes)
    kept[magnitudes.argsort()[:round(SPARSITY * len(magnitudes))]] = 0
    parts = kept.split([weight.numel() for weight in weights])
    masks = {weight: part.view_as(weight) for weight, part in zip(weights, parts)}
    with torch.no_grad():
        for weight, mask in masks.items():
            weight.mul_(mask)
    return masks


def accuracy(model, data):
    images, labels = data["t10k"]
    with torch.inference_mode():
        return 100 * (model(images).argmax(1) == labels).double().mean().item()


def pytorch_run(data, seed):
    """{stage: (accuracy, zeros, seconds)}"""
    from models import MODELS

    torch.manual_seed(seed)
    model, masks, found = MODELS["mlp"].build((28, 28, 1), 10), {}, {}
    for stage in STAGES:
        start = time.perf_counter()
        if stage == "pruned":
            masks = smallest_pruned(model)
        else:
            train(model, data, EPOCHS if stage == "dense" else TUNING_EPOCHS, masks)
        seconds = time.perf_counter() - start
        zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters() if parameter.dim() > 1)
        found[stage] = accuracy(model, data), zeros, seconds
    return found


def espalier_run(program, root, seed):
    """{stage: (accuracy, zeros, seconds)}"""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "run"
        command = [program, "train", ROOT / "configs" / "mnist_mlp.json", "--set", f"seed={seed}", "--data", root,
                   "--output", output, "--quiet"]
        printed(command, program)
        stages = json.loads((output / "result.json").read_text())["stages"]
    return {stage["name"]: (stage["accuracy"], stage["parameters"] - stage["nonzeros"], stage["seconds"])
            for stage in stages}


def row(name, runs):
    """One line: means over the seeds; the zeros if every seed has as many, else the fewest and the most."""
    accuracies = [statistics.mean(run[stage][0] for run in runs) for stage in STAGES]
    zeros = sorted({run["tuned"][1] for run in runs})
    seconds = statistics.mean(sum(run[stage][2] for stage in STAGES) for run in runs)
    zeros_text = f"{zeros[0]:,}" if len(zeros) == 1 else f"{zeros[0]:,} to {zeros[-1]:,}"
    return f"{name:<20}" + "".join(f"{value:>9.2f}" for value in accuracies) + f"{zeros_text:>12}{seconds:>10.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="0 to N-1 (default: 5)")
    parser.add_argument("--data", help="folder that holds mnist/ (default: $ESPALIER_DATA, data/, ../shared/data)")
    add_espalier(parser)
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds: at least 1")

    need("torch", "numpy")
    global np, torch
    import numpy as np
    import torch

    check_espalier(arguments.espalier)
    root = data_root(arguments.data).resolve()
    data = load(root)
    header = f"{'':<20}" + "".join(f"{stage:>9}" for stage in STAGES) + f"{'zeros':>12}{'seconds':>10}"
    print(header, flush=True)
    sides = {"Espalier": [], "PyTorch": []}
    for seed in range(arguments.seeds):
        sides["Espalier"].append(espalier_run(arguments.espalier, root, seed))
        sides["PyTorch"].append(pytorch_run(data, seed))
        for name, runs in sides.items():
            print(row(f"{name} seed {seed}", runs[-1:]), flush=True)
    for name, runs in sides.items():
        print(row(f"{name} mean", runs))


if __name__ == "__main__":
    run(main)
