#!/usr/bin/env python3
"""Espalier and its peers side by side: the same models, cores and instruction set, taking turns in one run.

Every round runs each contender once, in a process of its own, for so many seconds, and takes the median step. A
contender's figure is the median of its rounds; a ratio is Espalier's images per second over the peer's, round by round,
and its median is shown between the lowest and the highest round. Training is raced against PyTorch, eager and compiled;
inference against ONNX Runtime too. Convolutional models run in PyTorch in both memory layouts. The last lines of a table
are Espalier's ratio to the best of each peer's contenders, and the peak memory of both.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import statistics
import sys

from need import need
from script import Failure, add_espalier, check_espalier, printed, run

HERE = pathlib.Path(__file__).resolve().parent

# What holds each side to an instruction set. ONNX Runtime has no such switch, and is left out then.
ISA = {
    "avx2": {"ESPALIER_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ESPALIER_ISA": "avx512", "ATEN_CPU_CAPABILITY": "avx512"},
}

# Settings of other programs' libraries: a number of threads or a place for them may be among them.
FOREIGN = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_")

Contender = collections.namedtuple("Contender", "name command peer", defaults=[None])  # peer: whose best it may be


def environment(isa):
    """This one's, without what is set for other programs' libraries, and with the limits of `isa`."""
    limits = {key for names in ISA.values() for key in names}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN) and key not in limits}
    return {**kept, **ISA.get(isa, {})}


def contenders(mode, model, batch, arguments):
    """Espalier first, then its peers."""
    task = [mode, "--model", model, "--batch", str(batch), "--seconds", str(arguments.seconds),
            "--threads", str(arguments.threads)]
    for option, value in (("--input", arguments.input), ("--classes", arguments.classes)):
        task += [option, str(value)] if value else []
    peer = [sys.executable, str(HERE / "peers.py"), *task]
    found = [Contender("Espalier", [str(arguments.espalier), "bench", *task, "--json"])]
    if mode == "infer" and not arguments.isa:
        found.append(Contender("ONNX Runtime", [*peer, "--peer", "onnxruntime"], "ONNX Runtime"))
    layouts = ("nchw", "nhwc") if arguments.catalogue[model]["convolutional"] else ("nchw",)
    for name, precision in (("PyTorch", []), *([("PyTorch bf16", ["--bf16"])] if arguments.bf16 else [])):
        for layout in layouts:
            label = f", {layout.upper()}" if len(layouts) > 1 else ""
            for kind, options in (("eager", []), ("compiled", ["--compiled"])):
                command = [*peer, *precision, "--layout", layout, *options]
                found.append(Contender(f"{name} {kind}{label}", command, name))
    return found


def output(command, name, arguments):
    """The JSON object that a command prints, run on the cores and instruction set of this comparison."""
    cores = sorted(os.sched_getaffinity(0))[:arguments.threads]
    text = printed(command, name, env=environment(arguments.isa),
                   preexec_fn=lambda: os.sched_setaffinity(0, cores))
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise Failure(f"{name}: printed no JSON object: {text[:80]!r}")


def turn(contender, arguments):
    """What a contender prints in a round; a Failure if it ran on other threads than the others."""
    found = output(contender.command, contender.name, arguments)
    if found["threads"] != arguments.threads:
        raise Failure(f"{contender.name}: ran with threads {found['threads']}, was asked for {arguments.threads}")
    return found


def summary(rounds):
    """One contender's rounds in one object."""
    rates = [found["images_per_second"]["median"] for found in rounds]
    return {"images_per_second": {"median": statistics.median(rates), "rounds": rates,
                                  "best": max(found["images_per_second"]["best"] for found in rounds)},
            "milliseconds": {"median": statistics.median(found["milliseconds"]["median"] for found in rounds),
                             "best": min(found["milliseconds"]["best"] for found in rounds)},
            "peak_memory_bytes": max(found["peak_memory_bytes"] for found in rounds)}


def add_ratios(results):
    """Espalier's images per second over each peer's, of each round and their median."""
    ours = results["Espalier"]["images_per_second"]
    for name, result in results.items():
        if name == "Espalier":
            continue
        theirs = result["images_per_second"]
        by_round = [a / b for a, b in zip(ours["rounds"], theirs["rounds"])]
        result["ratio"] = {"of_medians": ours["median"] / theirs["median"], "rounds": by_round}


def race(mode, model, batch, arguments):
    """({name: summary}, {peer: name of its best}, {name: message}), all contenders taking turns. A peer's
    contender that fails is out of the race, unless it is the peer's last: the third are those."""
    field = contenders(mode, model, batch, arguments)
    rounds = {contender.name: [] for contender in field}
    failed = {}
    for number in range(arguments.rounds):
        for contender in list(field):
            print(f"{model}, batch {batch}, round {number + 1} of {arguments.rounds}: {contender.name}",
                  file=sys.stderr)
            try:
                rounds[contender.name].append(turn(contender, arguments))
            except Failure as failure:
                if [other.peer for other in field].count(contender.peer) == 1:
                    raise
                print(failure, file=sys.stderr)
                field.remove(contender)
                failed[contender.name] = str(failure)
    results = {contender.name: summary(rounds[contender.name]) for contender in field}
    add_ratios(results)
    best = {}
    for contender in sorted(field, key=lambda contender: results[contender.name]["images_per_second"]["median"]):
        if contender.peer:
            best[contender.peer] = contender.name
    return results, best, failed


def table(title, results, best, failed):
    """The results as lines for a person."""
    lines = [title, f"  {'':<30} {'images/s':>12} {'ms':>12} {'peak MiB':>9} {'ratio':>7}   rounds"]
    for name, result in results.items():
        line = (f"  {name:<30} {result['images_per_second']['median']:>12,.1f} "
                f"{result['milliseconds']['median']:>12,.4f} {mebibytes(result):>9,.0f}")
        if "ratio" in result:
            line += f" {result['ratio']['of_medians']:>7.2f}   {span(result['ratio'])}"
        lines.append(line)
    lines += [f"  left out: {message}" for message in failed.values()]
    for peer, name in sorted(best.items()):
        ratio = results[name]["ratio"]
        lines.append(f"  {ratio['of_medians']:.2f} times {peer}'s best ({span(ratio)}; {name}), "
                     f"in {mebibytes(results['Espalier']):,.0f} MiB beside {mebibytes(results[name]):,.0f}")
    return "\n".join(lines)


def mebibytes(result):
    return result["peak_memory_bytes"] / 2**20


def span(ratio):
    return f"{min(ratio['rounds']):.2f} to {max(ratio['rounds']):.2f}"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def batches(text):
    values = text.split(",")
    if not all(value.isdecimal() and int(value) > 0 for value in values):
        raise argparse.ArgumentTypeError(f"found '{text}', expected counts such as 1,64")
    return [int(value) for value in values]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "infer"])
    parser.add_argument("--model", default="mlp", help="one or more, with commas (default: mlp)")
    parser.add_argument("--batch", type=batches, help="one or more, with commas (default: 64; infer: 1,64)")
    parser.add_argument("--input", metavar="HxWxC", help="shape of an image (default: the model's)")
    parser.add_argument("--classes", type=int, help="default: the model's")
    parser.add_argument("--bf16", action="store_true", help="let PyTorch run in bfloat16 (autocast), too")
    parser.add_argument("--isa", choices=list(ISA), help="hold both sides to it (default: what the machine has)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="cores for each side (default: all of this process's)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a contender in a round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    add_espalier(parser)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    if not 1 <= arguments.threads <= len(os.sched_getaffinity(0)):
        parser.error(f"--threads {arguments.threads}: this process may use 1 to {len(os.sched_getaffinity(0))}")
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")

    need("torch", "numpy", *(["onnx", "onnxruntime"] if arguments.mode == "infer" else []))
    check_espalier(arguments.espalier)
    # Asked of a process of its own: this one stays small, and starts the others from a small one.
    arguments.catalogue = output([sys.executable, str(HERE / "peers.py"), "models"], "peers.py", arguments)
    models = arguments.model.split(",")
    for model in models:
        if model not in arguments.catalogue:
            parser.error(f"--model: no model '{model}', expected one of {', '.join(arguments.catalogue)}")

    record = {"mode": arguments.mode, "processor": processor(), "threads": arguments.threads, "isa": arguments.isa,
              "rounds": arguments.rounds, "seconds": arguments.seconds, "load": os.getloadavg()[0], "results": []}
    print(f"{record['processor']}, {arguments.threads} threads, "
          f"{'both sides held to ' + arguments.isa if arguments.isa else 'every instruction set the machine has'}")
    if os.getloadavg()[0] > 0.5:
        print(f"other programs run here (load {os.getloadavg()[0]:.1f}): these figures may mean nothing")
    if arguments.mode == "infer" and arguments.isa:
        print(f"ONNX Runtime is left out: nothing holds it to {arguments.isa}")
    for model in models:
        for batch in arguments.batch or ([64] if arguments.mode == "train" else [1, 64]):
            results, best, failed = race(arguments.mode, model, batch, arguments)
            task = {"model": model, "batch": batch, "input": arguments.input, "classes": arguments.classes}
            record["results"].append({**task, "contenders": results, "best": best, "failed": failed})
            title = [f"{arguments.mode} {model}", f"batch {batch}"]
            title += [arguments.input] if arguments.input else []
            title += [f"{arguments.classes} classes"] if arguments.classes else []
            print(table(", ".join(title), results, best, failed), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
