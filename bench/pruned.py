#!/usr/bin/env python3
"""What pruning pays: files of Espalier's, the dense one first, timed by turns in training and inference.

Every round times each file once, in a process of its own. A figure is the median of its rounds; a ratio is a file's
images per second over the first file's, the median of the rounds between the lowest and the highest.
"""

import argparse
import os
import pathlib
import statistics

from compare import mebibytes, output, processor, span, summary
from script import Failure, add_espalier, check_espalier, run


def time_by_turns(mode, arguments):
    """{file: its rounds}, each what `espalier bench` prints."""
    rounds = {file: [] for file in arguments.files}
    for _ in range(arguments.rounds):
        for file, found in rounds.items():
            found.append(output([str(arguments.espalier), "bench", mode, "--checkpoint", str(file), "--batch",
                                 str(arguments.batch), "--seconds", str(arguments.seconds), "--threads",
                                 str(arguments.threads), "--json"], file, arguments))
    return rounds


def table(mode, rounds, arguments):
    """The files' figures in one mode as lines for a person."""
    lines = [f"{mode}, batch {arguments.batch}",
             f"  {'':<40} {'MACs':>13} {'bytes':>12} {'images/s':>10} {'ms':>9} {'peak MiB':>9} {'ratio':>7}   rounds"]
    first = next(iter(rounds.values()))
    for file, found in rounds.items():
        result = summary(found)
        line = (f"  {str(file)[-40:]:<40} {found[0]['macs']:>13,} {file.stat().st_size:>12,} "
                f"{result['images_per_second']['median']:>10,.1f} {result['milliseconds']['median']:>9.3f} "
                f"{mebibytes(result):>9,.0f}")
        if found is not first:
            ratios = {"rounds": [one["images_per_second"]["median"] / dense["images_per_second"]["median"]
                                 for one, dense in zip(found, first)]}
            line += f" {statistics.median(ratios['rounds']):>7.2f}   {span(ratios)}"
        lines.append(line)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=pathlib.Path, nargs="+", help="models/STAGE.safetensors of runs, the dense one first")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all there are")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a file in a round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    add_espalier(parser)
    arguments = parser.parse_args()
    arguments.isa = None
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    for file in arguments.files:
        if not file.is_file():
            raise Failure(f"{file}: no such file")
    check_espalier(arguments.espalier)
    print(f"{processor()}, {arguments.threads} threads")
    if os.getloadavg()[0] > 0.5:
        print(f"other programs run here (load {os.getloadavg()[0]:.1f}): these figures may mean nothing")
    for mode in ("train", "infer"):
        print(table(mode, time_by_turns(mode, arguments), arguments), flush=True)


if __name__ == "__main__":
    run(main)
