#!/usr/bin/env python3
"""Records in PyTorch, in double precision, what tests/prune/signals_golden_test.cpp holds criteria to that look at data:
tests/golden/signals.json.

One small convolutional network with a norm, in inference; for each criterion the scores of all weights of convolutions
and linear layers, which half of them is left, ranked together, and, where what is left makes up for what goes, its
values. Nothing here is the library's way of doing it: the Hessian's product comes from differentiating twice, the
inverse Fisher information from inverting it, the columns of SparseGPT one by one. Without --write the file is compared
with what is computed.
"""

import argparse
import json
import pathlib
import sys

from need import need

need("numpy", "torch")

import numpy as np
import torch
import torch.nn.functional as F

PATH = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "signals.json"
BATCHES, IMAGES, SIDE, CHANNELS, CLASSES = 2, 6, 6, 3, 5
TEMPERATURE, BLOCK, DAMPING, SHARE_OF_DIAGONAL = 200.0, 7, 1e-3, 0.01
# [O,Kh,Kw,I] and [O,I], as in the library's memory
SHAPES = {"conv1.weight": (4, 3, 3, CHANNELS), "conv1.bias": (4,), "bn1.weight": (4,), "bn1.bias": (4,),
          "bn1.running_mean": (4,), "bn1.running_var": (4,), "conv2.weight": (6, 3, 3, 4), "conv2.bias": (6,),
          "fc.weight": (CLASSES, 6), "fc.bias": (CLASSES,)}
WEIGHTS = ["conv1.weight", "conv2.weight", "fc.weight"]
BUFFERS = ["bn1.running_mean", "bn1.running_var"]


def drawn():
    """Parameters, images [BATCHES,IMAGES,H,W,C] and labels, of numbers that a float holds exactly."""
    random = np.random.default_rng(7)
    draw = lambda *shape: np.round(random.uniform(-1, 1, shape), 3).astype(np.float32).astype(np.float64)
    values = {name: draw(*shape) for name, shape in SHAPES.items()}
    values["bn1.weight"] = np.abs(values["bn1.weight"]).astype(np.float32).astype(np.float64) + 0.5
    values["bn1.running_var"] = np.abs(values["bn1.running_var"]) + 0.5
    values["conv1.weight"] *= 0.5
    values["conv2.weight"] *= 0.5
    labels = random.integers(0, CLASSES, (BATCHES, IMAGES))
    return values, draw(BATCHES, IMAGES, SIDE, SIDE, CHANNELS), labels


def forward(p, x, inputs=None):
    """Logits of images x [N,H,W,C]; `inputs` gets what comes into each layer, as rows."""
    def conv(name, x, stride, pad):
        weight = p[name + ".weight"]
        if inputs is not None:
            inputs[name + ".weight"] = patches(x, weight.shape[1], stride, pad)
        return F.conv2d(x, weight.permute(0, 3, 1, 2), p[name + ".bias"], stride, pad)
    x = conv("conv1", x.permute(0, 3, 1, 2), 1, 1)
    x = F.batch_norm(x, p["bn1.running_mean"], p["bn1.running_var"], p["bn1.weight"], p["bn1.bias"], False, 0.1, 1e-5)
    x = F.max_pool2d(torch.relu(x), 3, 2, 1)
    x = torch.relu(conv("conv2", x, 1, 1)).mean((2, 3))
    if inputs is not None:
        inputs["fc.weight"] = x
    return x @ p["fc.weight"].t() + p["fc.bias"]


def patches(x, k, stride, pad):
    """Rows [N H' W', Kh Kw I] of images x [N,I,H,W]."""
    n, channels = x.shape[:2]
    rows = F.unfold(x, k, padding=pad, stride=stride)  # [N, I Kh Kw, H' W']
    rows = rows.reshape(n, channels, k, k, -1).permute(0, 4, 2, 3, 1)
    return rows.reshape(-1, k * k * channels)


def tensors(values):
    return {name: torch.tensor(value, requires_grad=name in WEIGHTS) for name, value in values.items()}


def loss_of(p, x, y, temperature=1.0):
    return F.cross_entropy(forward(p, x) / temperature, y)


def gradients(p, loss, **options):
    return dict(zip(WEIGHTS, torch.autograd.grad(loss, [p[name] for name in WEIGHTS], **options)))


def mean_loss(p, x, y, temperature=1.0):
    return sum(loss_of(p, x[i], y[i], temperature) for i in range(BATCHES)) / BATCHES


def snip(p, x, y):
    g = gradients(p, mean_loss(p, x, y))
    return {name: (p[name] * g[name]).abs() for name in WEIGHTS}


def grasp(p, x, y):
    g = gradients(p, mean_loss(p, x, y, TEMPERATURE), create_graph=True)
    product = gradients(p, sum((g[name] * g[name].detach()).sum() for name in WEIGHTS))
    return {name: p[name] * product[name] for name in WEIGHTS}


def synflow(p, x, y):
    absolute = {name: value.detach().abs().requires_grad_(name in WEIGHTS) for name, value in p.items()}
    g = gradients(absolute, forward(absolute, torch.ones(1, SIDE, SIDE, CHANNELS, dtype=torch.float64)).sum())
    return {name: absolute[name] * g[name] for name in WEIGHTS}


def rows_of_layers(p, x):
    """What comes into each layer, of all batches."""
    all_rows = {name: [] for name in WEIGHTS}
    for i in range(BATCHES):
        inputs = {}
        forward(p, x[i], inputs)
        for name in WEIGHTS:
            all_rows[name].append(inputs[name].detach())
    return {name: torch.cat(rows) for name, rows in all_rows.items()}


def wanda(p, x, y):
    norms = {name: rows.square().sum(0).sqrt() for name, rows in rows_of_layers(p, x).items()}
    return {name: (p[name].reshape(len(p[name]), -1).abs() * norms[name]).reshape(p[name].shape) for name in WEIGHTS}


def factors(p, x):
    """U of each layer, upper triangular, U'U the inverse of the damped H."""
    made = {}
    for name, rows in rows_of_layers(p, x).items():
        h = 2 / len(rows) * rows.t() @ rows
        h = h + SHARE_OF_DIAGONAL * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
        made[name] = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    return made


def sparsegpt(p, x, y):
    return {name: (p[name].reshape(len(p[name]), -1) / u.diagonal()).square().reshape(p[name].shape)
            for name, u in factors(p, x).items()}


def blocks(p, x, y):
    """The inverse of each block of the damped Fisher information of single images."""
    per_image = [gradients(p, loss_of(p, x[b][i:i + 1], y[b][i:i + 1])) for b in range(BATCHES) for i in range(IMAGES)]
    made = {}
    for name in WEIGHTS:
        g = torch.stack([one[name].reshape(-1) for one in per_image])
        made[name] = []
        for first in range(0, g.shape[1], BLOCK):
            part = g[:, first:first + BLOCK]
            fisher = part.t() @ part / len(part) + DAMPING * torch.eye(part.shape[1], dtype=torch.float64)
            made[name].append(torch.linalg.inv(fisher))
    return made


def woodfisher(p, x, y):
    inverses = blocks(p, x, y)
    return {name: (p[name].square() / 2 / torch.cat([one.diagonal() for one in inverses[name]]).reshape(p[name].shape))
            for name in WEIGHTS}


def kept_of(scores):
    """1 for the upper half of all scores, ranked together."""
    flat = torch.cat([scores[name].detach().reshape(-1) for name in WEIGHTS]).numpy()
    order = np.argsort(flat, kind="stable")
    go = round(len(flat) / 2)
    gap = flat[order[go]] - flat[order[go - 1]]
    if gap < 1e-4 * np.abs(flat).max() * 1e-3:
        sys.exit("signals.py: the verdict hangs on rounding; draw other numbers")
    kept = np.ones(len(flat), int)
    kept[order[:go]] = 0
    verdicts, at = {}, 0
    for name in WEIGHTS:
        verdicts[name] = kept[at:at + scores[name].numel()]
        at += scores[name].numel()
    return verdicts


def corrected_by_blocks(p, x, y, kept):
    made = {}
    for name, inverses in blocks(p, x, y).items():
        w = p[name].detach().reshape(-1).clone()
        for b, inverse in enumerate(inverses):
            part = w[b * BLOCK:b * BLOCK + BLOCK]
            go = torch.tensor(kept[name][b * BLOCK:b * BLOCK + len(part)] == 0)
            if go.any():
                w[b * BLOCK:b * BLOCK + BLOCK] = part - inverse[:, go] @ torch.linalg.solve(inverse[go][:, go], part[go])
        made[name] = w * torch.tensor(kept[name])
    return made, kept


def corrected_by_columns(p, x, kept):
    """Layers here are narrower than 128 columns: all of one are compared before anything moves."""
    made, verdicts = {}, {}
    for name, u in factors(p, x).items():
        w = p[name].detach().reshape(len(p[name]), -1).clone()
        scores = (w / u.diagonal()).square().reshape(-1).numpy()
        stays = np.ones(scores.size, int)
        stays[np.argsort(scores, kind="stable")[:int((kept[name] == 0).sum())]] = 0
        stays = stays.reshape(w.shape)
        for j in range(w.shape[1]):
            error = torch.where(torch.tensor(stays[:, j] == 0), w[:, j] / u[j, j], torch.zeros(len(w), dtype=w.dtype))
            w[:, j:] -= error[:, None] * u[j, j:]
            w[stays[:, j] == 0, j] = 0
        made[name], verdicts[name] = w.reshape(-1), stays.reshape(-1)
    return made, verdicts


def listed(values):
    return {name: [float(f"{v:.9g}") for v in np.asarray(value.detach() if torch.is_tensor(value) else value).reshape(-1)]
            for name, value in values.items()}


def computed():
    values, x, y = drawn()
    x, y = torch.tensor(x), torch.tensor(y)
    made = {"temperature": TEMPERATURE, "block_size": BLOCK, "woodfisher_damping": DAMPING,
            "sparsegpt_damping": SHARE_OF_DIAGONAL, "images": [BATCHES, IMAGES, SIDE, SIDE, CHANNELS],
            "pixels": [float(v) for v in x.numpy().reshape(-1)], "labels": [int(v) for v in y.reshape(-1)],
            "parameters": listed(values), "criteria": {}}
    for criterion in (snip, grasp, synflow, wanda, sparsegpt, woodfisher):
        p = tensors(values)
        scores = criterion(p, x, y)
        kept = kept_of(scores)
        entry = {"scores": listed(scores)}
        if criterion is woodfisher:
            w, kept = corrected_by_blocks(p, x, y, kept)
            entry["corrected"] = listed(w)
        if criterion is sparsegpt:
            w, kept = corrected_by_columns(p, x, kept)
            entry["corrected"] = listed(w)
        entry["kept"] = {name: [int(v) for v in verdict] for name, verdict in kept.items()}
        made["criteria"][criterion.__name__] = entry
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the file anew")
    options = parser.parse_args()
    text = json.dumps(computed(), separators=(",", ":")).replace('"criteria"', '\n"criteria"').replace('"scores"', '\n"scores"') + "\n"
    if options.write:
        PATH.write_text(text)
    elif PATH.read_text() != text:
        sys.exit(f"signals.py: {PATH} has other numbers than are computed; --write writes it anew")
    print(f"{PATH}: {len(text)} bytes, {'written' if options.write else 'the same'}")


main()
