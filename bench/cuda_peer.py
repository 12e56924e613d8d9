#!/usr/bin/env python3
"""Times PyTorch training on a card, for scripts/gpu-check: a JSON line for each model, batch, precision and kind.

It trains as a user would write it (see peers.py), convolutional models with channels last; f32 is exact, tf32 as
torch.backends allows it, bf16 by autocast. Steps are asked for ten at a time and then waited for, as `espalier bench`
does it.
"""

import argparse
import json
import statistics
import sys
import time

from need import need

WARM_UP = 10


def measure(step, batch, seconds):
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        before = time.perf_counter()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - before) / 10)
    return {"images_per_second": batch / statistics.median(times), "milliseconds": 1e3 * statistics.median(times)}


def train_step(row, batch, precision, compiled):
    exact = precision == "f32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    layout = {"memory_format": torch.channels_last} if row.convolutional else {}
    model = row.build(row.input, row.classes).cuda().to(**layout).train()
    height, width, channels = row.input
    x = torch.randn(batch, channels, height, width, device="cuda").contiguous(**layout)
    labels = torch.randint(0, row.classes, (batch,), device="cuda")
    optimizer = row.optimizer(model.parameters())
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="MODEL:BATCH[:HxWxC[:CLASSES]]")
    parser.add_argument("--precision", nargs="+", default=["f32", "tf32", "bf16"])
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    need("torch", "numpy")
    global torch
    import torch
    from models import MODELS

    for case in arguments.cases:
        model, batch, *rest = case.split(":")
        row = MODELS[model]
        if rest:
            row = row._replace(input=tuple(int(size) for size in rest[0].split("x")))
        if len(rest) > 1:
            row = row._replace(classes=int(rest[1]))
        for precision in arguments.precision:
            found = {"case": case, "precision": precision, "kind": "compiled" if arguments.compiled else "eager"}
            try:
                found |= measure(train_step(row, int(batch), precision, arguments.compiled), int(batch),
                                 arguments.seconds)
            except Exception as error:  # one that fails must not take the others along
                found["error"] = str(error).splitlines()[0][:200]
            print(json.dumps(found), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
