#!/usr/bin/env python3
"""Builds in PyTorch, from a checkpoint or model of Espalier's alone, the network it holds, pruned or not.

    from load_in_torch import load
    model = load("runs/x/models/tuned.safetensors")      # a torch.nn.Module in inference mode
    logits = model(images)                                # [N,C,H,W], normalised as the config says

    scripts/load_in_torch.py FILE                         prints its layers and counts
    scripts/load_in_torch.py FILE --check PASS            compares logits: PASS is what `espalier eval FILE --logits PASS` wrote

The file says what its network does, op by op (metadata 'espalier.network'), so nothing here knows a model by name. Needs torch
and safetensors.
"""
import argparse
import json
import sys

try:
    import torch
    import torch.nn.functional as F
    from safetensors import SafetensorError, safe_open
except ImportError as error:
    sys.exit(f"load_in_torch: needs torch and safetensors, which {sys.executable} cannot import ({error}): "
             "pip install torch safetensors")

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class Network(torch.nn.Module):
    """Runs the ops of a tape in order, on images [N,C,H,W]."""

    def __init__(self, description, tensors):
        super().__init__()
        self.ops = description["ops"]
        self.names = [value.get("parameter", "") for value in description["values"]]
        for name, tensor in tensors.items():
            self._register(name, tensor)

    def _register(self, name, tensor):
        """As a module tree whose state_dict has the file's names."""
        *path, last = name.split(".")
        at = self
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        learned = tensor.is_floating_point() and not last.startswith("running_")
        if learned:
            at.register_parameter(last, torch.nn.Parameter(tensor))
        else:
            at.register_buffer(last, tensor)

    def forward(self, x):
        own = dict(self.named_parameters()) | dict(self.named_buffers())
        values = {0: x} | {i: own[name] for i, name in enumerate(self.names) if name}
        for op in self.ops:
            inputs = [values[i] for i in op["inputs"]]
            values[op["output"]] = self.run(op["op"], op["attributes"], op["channels"]["values"], inputs)
        return values[self.ops[-1]["output"]]

    def run(self, op, a, channels, x):
        act = ACTIVATIONS[a.get("activation", a.get("function", "none"))]
        if op == "conv2d":
            # A depthwise or grouped convolution's groups follow its weight, which may have been cut.
            groups = x[0].shape[1] // x[1].shape[1]
            return act(F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, a["stride"], a["pad"], 1, groups))
        if op == "linear":
            return act(F.linear(x[0].flatten(1), x[1], x[2] if len(x) > 2 else None))
        if op == "batch_norm":
            y = F.batch_norm(x[0], x[3], x[4], x[1], x[2], self.training, a["momentum"], a["eps"])
            return act(y + x[5] if len(x) > 5 else y)
        if op == "activation":
            return act(x[0])
        if op == "max_pool2d":
            return F.max_pool2d(x[0], a["window"], a["stride"], a["pad"])
        if op == "average_pool2d":
            return F.avg_pool2d(x[0], a["window"], a["stride"], a["pad"])
        if op == "global_average_pool":
            return x[0].mean((2, 3))
        if op == "flatten":
            return x[0].flatten(1)
        if op == "add":
            return x[0] + x[1]
        if op == "mul":
            return x[0] * x[1]
        if op == "scale":
            return x[0] * a["factor"]
        if op == "dropout":
            return F.dropout(x[0], a["p"], self.training)
        if op == "concat":
            return torch.cat(x, 1)
        if op == "slice":
            return x[0].narrow(1, channels[0], channels[1])
        raise ValueError(f"op '{op}' is not known here")


def opened(path):
    """A safetensors file. ValueError if it is none."""
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None


def load(path):
    """The network of a file, in inference mode. ValueError if it is none of Espalier's."""
    with opened(path) as file:
        metadata = file.metadata() or {}
        if "espalier.network" not in metadata:
            raise ValueError(f"{path}: has no 'espalier.network' in its metadata: not a file of Espalier's")
        tensors = {name: file.get_tensor(name) for name in file.keys() if "/" not in name}
        for name in file.keys():  # while a moving average is kept, it is what Espalier evaluates
            if name.startswith("average/"):
                tensors[name.removeprefix("average/")] = file.get_tensor(name)
    return Network(json.loads(metadata["espalier.network"]), tensors).eval()


def check(model, path):
    """Compares with images and logits that Espalier wrote; the largest difference, relative to the largest logit."""
    with opened(path) as file:
        if not {"images", "logits"} <= set(file.keys()):
            raise ValueError(f"{path}: holds no images and logits: not what `espalier eval --logits` writes")
        images, logits = file.get_tensor("images"), file.get_tensor("logits")
    with torch.inference_mode():
        difference = (model(images) - logits).abs().max()
    return (difference / logits.abs().max()).item() if difference != 0 else 0.0, len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="a checkpoint or model of a run")
    parser.add_argument("--check", metavar="PASS", help="images and logits of `espalier eval FILE --logits PASS`")
    arguments = parser.parse_args()
    try:
        model = load(arguments.file)
        for name, tensor in model.named_parameters():
            print(f"{name:32} {'x'.join(map(str, tensor.shape))}")
        print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
        if arguments.check:
            difference, images = check(model, arguments.check)
            print(f"logits of {images} images differ by {difference:.2g} of the largest")
            return not difference <= 1e-4  # NaN fails, too
    except (ValueError, OSError) as error:
        print(f"load_in_torch: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
