#!/usr/bin/env python3
"""What masks cost while a network trains: a VGG19 without and one with masks, timed by turns, and the steps in which RigL
moves masks beside the other steps of the same run.

A ratio of masks is the masked network's time of a step over the dense one's, the median of the rounds between the lowest
and the highest. A step's time of RigL is what lies between two rows of metrics.jsonl.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import tempfile

from compare import processor, span
from pruned import time_by_turns
from script import Failure, add_espalier, check_espalier, printed, run


def config(arguments, stages):
    return {"name": "masks", "model": {"type": arguments.model, "input": [32, 32, 3], "classes": 6},
            "data": {"type": "cifar100", "path": "cifar100-6class", "remap": True, "batch": arguments.batch},
            "stages": stages}


def train(arguments, folder, stages):
    """The folder of a run of these stages."""
    file = folder / "config.json"
    file.write_text(json.dumps(config(arguments, stages)))
    printed([str(arguments.espalier), "train", str(file), "--quiet", "--data", str(arguments.data), "--output",
             str(folder / stages[-1]["name"]), "--threads", str(arguments.threads)], "espalier train")
    return folder / stages[-1]["name"]


def masks(arguments, folder):
    """The rounds' ratios, and milliseconds of the dense and of the masked network."""
    of = train(arguments, folder, [{"name": "dense", "evaluate": {}},
                                   {"name": "masked", "prune": {"sparsity": 0.9, "scope": "layer"}}])
    arguments.files = [of / "models" / f"{name}.safetensors" for name in ("dense", "masked")]
    dense, masked = ([one["milliseconds"]["median"] for one in rounds]
                     for rounds in time_by_turns("train", arguments).values())
    return {"rounds": [m / d for d, m in zip(dense, masked)]}, statistics.median(dense), statistics.median(masked)


def rigl(arguments, folder):
    """Seconds of ordinary steps, and of those in which masks move."""
    steps = 12 * arguments.every
    of = train(arguments, folder, [
        {"name": "sparse", "prune": {"criterion": "random", "scope": "erk", "sparsity": 0.9}},
        {"name": "rigl", "train": {"steps": steps, "log_every": 1, "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9},
                                   "regrow": {"type": "rigl", "every": arguments.every, "begin": arguments.every}}}])
    rows = [json.loads(line) for line in (of / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["stage"] == "rigl" and ("loss" in row or "regrow" in row)]
    moved = {row["step"] for row in rows if "regrow" in row}
    at = {row["step"]: row["seconds"] for row in rows if "loss" in row}
    per_epoch = math.ceil(3000 / arguments.batch)  # the six classes have 3,000 images
    took = {step: at[step] - at[step - 1] for step in at
            if step - 1 in at and (step - 1) % per_epoch > 0 and step > arguments.every}
    return [s for step, s in took.items() if step not in moved], [s for step, s in took.items() if step in moved]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vgg19", help="default: vgg19")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch (default: 128)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all there are")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a network in a round (default: 5)")
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--every", type=int, default=5, help="steps between moves of masks (default: 5)")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(os.environ.get("ESPALIER_DATA", "../shared/data")),
                        help="folder of data sets (default: ESPALIER_DATA)")
    add_espalier(parser)
    arguments = parser.parse_args()
    arguments.isa = None
    check_espalier(arguments.espalier)
    if arguments.every < 2:
        parser.error("--every: at least 2, so that there are ordinary steps between")
    if not arguments.data.is_dir():
        raise Failure(f"{arguments.data}: no such folder")
    print(f"{processor()}, {arguments.threads} threads, {arguments.model}, batch {arguments.batch}")
    with tempfile.TemporaryDirectory() as name:
        ratios, dense, masked = masks(arguments, pathlib.Path(name))
        print(f"a step without masks {dense:.1f} ms, with masks {masked:.1f} ms: "
              f"{statistics.median(ratios['rounds']):.3f} ({span(ratios)})", flush=True)
        ordinary, moves = rigl(arguments, pathlib.Path(name))
        print(f"an ordinary step {1000 * statistics.median(ordinary):.1f} ms ({len(ordinary)}), one in which rigl moves "
              f"masks {1000 * statistics.median(moves):.1f} ms ({len(moves)}): "
              f"{statistics.median(moves) / statistics.median(ordinary):.3f}")


if __name__ == "__main__":
    run(main)
