#!/usr/bin/env python3
"""Times PyTorch training on a card, for scripts/gpu-check, which asks for one measurement after the other:

    echo "vgg19:128 bf16 eager" | bench/cuda_peer.py    MODEL:BATCH[:HxWxC[:CLASSES]] PRECISION eager|compiled

The answer to a line is one of JSON. It trains as a user would write it (see peers.py), convolutional models with
channels last and cuDNN's algorithms tried once (cudnn.benchmark); f32 is exact, tf32 as torch.backends allows it, bf16
by autocast. Steps are asked for ten at a time and then waited for, as `espalier bench` does it.
"""

import argparse
import json
import statistics
import sys
import time

from need import need

WARM_UP = 10
LONG = 0.02  # seconds of a step, beside which waiting for each is nothing


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(step, batch, device, seconds):
    def time_of(steps):
        wait(device)
        before = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        return (time.perf_counter() - before) / steps

    time_of(2)
    together = 1 if time_of(1) > LONG else 10
    if together > 1:
        time_of(WARM_UP)
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        times.append(time_of(together))
    return {"images_per_second": batch / statistics.median(times), "milliseconds": 1e3 * statistics.median(times)}


def train_step(row, batch, precision, compiled, device):
    exact = precision == "f32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.benchmark = True
    layout = {"memory_format": torch.channels_last} if row.convolutional else {}
    model = row.build(row.input, row.classes).to(device).to(**layout).train()
    height, width, channels = row.input
    x = torch.randn(batch, channels, height, width, device=device).contiguous(**layout)
    labels = torch.randint(0, row.classes, (batch,), device=device)
    optimizer = row.optimizer(model.parameters())
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()

    return step


def answer(case, precision, kind, arguments):
    model, batch, *rest = case.split(":")
    row = MODELS[model]
    if rest:
        row = row._replace(input=tuple(int(size) for size in rest[0].split("x")))
    if len(rest) > 1:
        row = row._replace(classes=int(rest[1]))
    found = {"case": case, "precision": precision, "kind": kind}
    try:
        step = train_step(row, int(batch), precision, kind == "compiled", arguments.device)
        return found | measure(step, int(batch), arguments.device, arguments.seconds)
    except Exception as error:  # one that fails must not take the others along
        return found | {"error": (str(error).splitlines() or [type(error).__name__])[0][:200]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    need("torch", "numpy")
    global torch, MODELS
    import torch
    from models import MODELS

    for line in sys.stdin:
        print(json.dumps(answer(*line.split(), arguments)), flush=True)
        if arguments.device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
