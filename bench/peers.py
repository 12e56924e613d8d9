#!/usr/bin/env python3
"""Times one peer on one model, for compare.py: prints a JSON object with the fields of `espalier bench --json`.

PyTorch trains as a user would write it: clear gradients, forward, softmax cross-entropy, backward, optimizer step, on
one random batch. Inference is only a forward pass. Weights are the same numbers for every peer. `peers.py models`
prints the models there are, and whether each convolves.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import warnings

from need import need

WARM_UP = 3  # passes before the clock starts: compilation, first allocations


def measure(step, batch, seconds):
    """Calls `step` for `seconds`, at least five times: milliseconds and images per second, median and best."""
    for _ in range(WARM_UP):
        step()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    median, best = statistics.median(times), min(times)
    return {"images_per_second": {"median": batch / median, "best": batch / best},
            "milliseconds": {"median": 1e3 * median, "best": 1e3 * best}}


def peak_memory():
    """Peak resident bytes of this program (getrusage would count the one that started it too)."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status: no VmHWM")


def network(row, layout):
    """The model with weights by formula, and in the memory format asked for."""
    from formula import initial_weights

    model = row.build(row.input, row.classes)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    weights = {name: torch.from_numpy(value) for name, value in initial_weights(shapes, 0).items()}
    model.load_state_dict(weights, strict=False)
    return model.to(memory_format=torch.channels_last) if layout == "nhwc" else model


def images(row, batch, layout):
    height, width, channels = row.input
    x = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last) if layout == "nhwc" else x


def train_step(row, batch, layout, compiled, bf16):
    model = network(row, layout).train()
    x = images(row, batch, layout)
    labels = torch.randint(0, row.classes, (batch,), generator=torch.Generator().manual_seed(1))
    optimizer = row.optimizer(model.parameters())
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()

    return step


def inference(row, batch, layout, compiled, bf16):
    model = network(row, layout).eval()
    x = images(row, batch, layout)
    forward = torch.compile(model) if compiled else model

    def step():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            forward(x)

    return step


def onnxruntime_inference(row, batch, threads):
    import onnxruntime

    x = images(row, batch, "nchw")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")  # the exporter that needs no further package is called old
            torch.onnx.export(network(row, "nchw").eval(), x, path, input_names=["input"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"input": x.numpy()}
    return lambda: session.run(None, feed), session.get_session_options().intra_op_num_threads


def image_shape(text):
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"found '{text}', expected HxWxC, e.g. 28x28x1")
    return tuple(int(size) for size in sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "infer", "models"])
    parser.add_argument("--peer", choices=["pytorch", "onnxruntime"], default="pytorch")
    parser.add_argument("--compiled", action="store_true", help="PyTorch: torch.compile")
    parser.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw", help="PyTorch: images in memory")
    parser.add_argument("--bf16", action="store_true", help="PyTorch: autocast to bfloat16")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--input", type=image_shape, metavar="HxWxC", help="of an image (default: the model's)")
    parser.add_argument("--classes", type=int, help="default: the model's")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    if arguments.mode == "train" and arguments.peer == "onnxruntime":
        parser.error("ONNX Runtime does not train")

    need("torch", "numpy", *(["onnx", "onnxruntime"] if arguments.peer == "onnxruntime" else []))
    global torch
    import torch
    from models import MODELS

    if arguments.mode == "models":
        print(json.dumps({name: {"convolutional": row.convolutional} for name, row in MODELS.items()}))
        return
    if arguments.model not in MODELS:
        parser.error(f"no model '{arguments.model}', expected one of {', '.join(MODELS)}")
    row = MODELS[arguments.model]
    row = row._replace(input=arguments.input or row.input, classes=arguments.classes or row.classes)
    torch.set_num_threads(arguments.threads)
    if arguments.peer == "onnxruntime":
        step, threads = onnxruntime_inference(row, arguments.batch, arguments.threads)
    else:
        make = train_step if arguments.mode == "train" else inference
        step = make(row, arguments.batch, arguments.layout, arguments.compiled, arguments.bf16)
        threads = torch.get_num_threads()  # what it has, not what it was told
    found = {"model": arguments.model, "mode": arguments.mode, "batch": arguments.batch, "threads": threads,
             **measure(step, arguments.batch, arguments.seconds),
             "peak_memory_bytes": peak_memory()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
