#!/usr/bin/env python3
"""What a busy process beside it costs: training by turns on a quiet machine and beside a loop on one of its processors.

Every round times each model, and each program if there are several, once quiet and once beside the loop. A figure is
the median of the rounds; *kept* is the share of the quiet speed that is left. With --before, *ratio* is the first
program's quiet speed over the other's.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess

from compare import processor
from script import Failure, add_espalier, check_espalier, printed, run


@contextlib.contextmanager
def busy_loop(on):
    """A loop on the last of this process's processors while the block runs, if `on`."""
    if not on:
        yield
        return
    last = str(max(os.sched_getaffinity(0)))
    with subprocess.Popen(["taskset", "-c", last, "sh", "-c", "while :; do :; done"]) as loop:
        try:
            yield
        finally:
            loop.kill()


def images_per_second(program, model, arguments):
    name, _, batch = model.partition(":")
    text = printed([str(program), "bench", "train", "--model", name, "--seconds", str(arguments.seconds), "--json",
                    *(["--batch", batch] if batch else [])], model)
    return json.loads(text)["images_per_second"]["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlp,lenet5,resnet20,vgg19", help="NAME or NAME:BATCH, by commas")
    parser.add_argument("--before", type=pathlib.Path, help="another build of the program, to compare with")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a model in a round (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--quiet", action="store_true", help="only on the quiet machine")
    add_espalier(parser)
    arguments = parser.parse_args()
    programs = [program for program in (arguments.espalier, arguments.before) if program]
    for program in programs:
        check_espalier(program)
    if len(os.sched_getaffinity(0)) < 2:
        raise Failure("needs two processors")

    print(f"{processor()}, {len(os.sched_getaffinity(0))} threads; images a second")
    print(f"{'':<14} {'quiet':>10} {'busy':>10} {'kept':>7}" + f" {'before':>10} {'busy':>10} {'kept':>7} {'ratio':>7}" *
          (len(programs) > 1))
    for model in arguments.model.split(","):
        found = {(program, busy): [] for program in programs for busy in (False, True)[:1 if arguments.quiet else 2]}
        for _ in range(arguments.rounds):
            for (program, busy), speeds in found.items():
                with busy_loop(busy):
                    speeds.append(images_per_second(program, model, arguments))
        median = {key: statistics.median(speeds) for key, speeds in found.items()}
        line = f"{model:<14}"
        for program in programs:
            quiet, busy = median[program, False], median.get((program, True))
            line += f" {quiet:>10,.0f}" + (f" {busy:>10,.0f} {busy / quiet:>6.0%} " if busy else f" {'':>18} ")
        if len(programs) > 1:
            line += f" {median[programs[0], False] / median[programs[1], False]:>6.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    run(main)
