#!/usr/bin/env python3
"""Records in numpy what tests/prune/combinations_test.cpp holds pruning to: tests/golden/prune_combinations.json.

One small network; for nine criteria (signals.py has the others), every unit, scope, way to apply and schedule: which
units are left, or for which reasons the combination is refused. Nothing here is the library's way of doing it. Everything is written from the
definitions of prune/README.md: a unit is a list of places in parameters, scores are sums in double precision, a
selection is sorted and counted. Weights and squares of gradients come from formula.py, so that the file holds verdicts
only; a verdict that would hang on rounding ends the script. Without --write the file is compared with what is
computed; --table prints which combinations run.
"""

import argparse
import json
import math
import pathlib
import sys

from fractions import Fraction

from need import need

need("numpy")

import numpy as np

from formula import random_key, random_uniform

SEED = 1
PATH = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "prune_combinations.json"

# --- The network: conv1 bn1 relu conv2 bn2 relu, global average pool, fc1 relu, fc2; images are 4x4x4 ---

SHAPES = {"conv1.weight": (4, 3, 3, 4), "conv1.bias": (4,), "bn1.weight": (4,), "bn1.bias": (4,),
          "conv2.weight": (8, 3, 3, 4), "conv2.bias": (8,), "bn2.weight": (8,), "bn2.bias": (8,),
          "fc1.weight": (12, 8), "fc1.bias": (12,), "fc2.weight": (4, 12), "fc2.bias": (4,)}
LAYERS = ["conv1", "conv2", "fc1", "fc2"]
OUTPUT = "fc2"
# Layers are as large as they are not by their widths alone: of powers of two, so that all numbers are exact.
SCALES = {"conv1.weight": 1.0, "conv2.weight": 0.5, "fc1.weight": 2.0, "fc2.weight": 1.0}
# What lives and dies together, by hand: the group's place in the network; (parameter, axis) of what makes a channel,
# and of what reads it. The input's channels (conv1's inputs) and the output's (fc2's outputs) stay.
CHANNELS = {"conv1": (0, [("conv1.weight", 0), ("conv1.bias", 0), ("bn1.weight", 0), ("bn1.bias", 0)],
                      [("conv2.weight", 3)]),
            "conv2": (1, [("conv2.weight", 0), ("conv2.bias", 0), ("bn2.weight", 0), ("bn2.bias", 0)],
                      [("fc1.weight", 1)]),
            "fc1": (2, [("fc1.weight", 0), ("fc1.bias", 0)], [("fc2.weight", 1)])}
# Which are ranked together in scope isomorphic: layers, and groups of channels, of the same kind on both sides.
ALIKE = {"conv1": "convolution", "conv2": "convolution", "fc1": "linear", "fc2": "linear"}
CHANNELS_ALIKE = {"conv1": "convolution to convolution", "conv2": "convolution to linear", "fc1": "linear to linear"}

CRITERIA = ["random", "l1", "l2", "group_norm", "lamp", "bn_scale", "fpgm", "taylor", "obd"]
UNITS = ["weight", "filter", "column", "kernel", "block", "2:4", "layer", "channel"]
RANKED = ["layer", "global", "isomorphic"]  # what these rank together loses the same share
OF_LAYERS = ["uniform", "uniform_plus", "erk"]  # each layer is ranked, and has a share of its own
SCOPES = RANKED + OF_LAYERS + ["output"]  # the last: each output loses the same share of its inputs
APPLIES = ["zero", "cut"]
SCHEDULES = ["once", "gradual"]
COLUMNS = ["criterion", "unit", "scope", "apply", "schedule", "options", "result"]


def numbers(ties):
    """Values, and squares of gradients of batches and of images: {parameter: flat f64 array of f32 numbers} each.

    Number i of the p-th parameter is (2 u - 1) scale, with u = random_uniform(random_key(SEED, p), i); of the squares
    u, with 1000 + p and 2000 + p for p. With `ties` u is rounded down to eighths, and layers are of one size.
    """
    def uniform(purpose, shape):
        u = random_uniform(random_key(SEED, purpose), np.arange(math.prod(shape))).astype(np.float64)
        return np.floor(8 * u) / 8 if ties else u

    values, g2, h = {}, {}, {}
    for place, (name, shape) in enumerate(SHAPES.items()):
        values[name] = (2 * uniform(place, shape) - 1) * (1.0 if ties else SCALES.get(name, 1.0))
        g2[name], h[name] = uniform(1000 + place, shape), uniform(2000 + place, shape)
        for kind in values, g2, h:
            assert np.array_equal(kind[name], kind[name].astype(np.float32)), name
    return values, g2, h


# --- Units: of each layer a list; a unit is a list of (parameter, whether it makes the unit, its places in it) ---

def units_of_layer(unit, layer):
    name = f"{layer}.weight"
    shape = SHAPES[name]
    outputs, inputs = shape[0], shape[-1]
    places = np.arange(math.prod(shape)).reshape(shape)
    matrix = places.reshape(outputs, -1)
    if unit in ("weight", "2:4"):
        found = [places.flat[i] for i in range(places.size)]
    elif unit == "filter":
        found = [places[o] for o in range(outputs)]
    elif unit == "column":
        found = [places[..., i] for i in range(inputs)]
    elif unit == "kernel":
        found = [places[o, ..., i] for o in range(outputs) for i in range(inputs)]
    elif unit == "block":
        found = [matrix[r:r + 2, c:c + 3] for r in range(0, outputs, 2) for c in range(0, matrix.shape[1], 3)]
    elif unit == "layer":
        found = [places]
    return [[(name, True, list(np.ravel(each)))] for each in found]


def units_of_channels(layer):
    _, makers, readers = CHANNELS[layer]
    found = []
    for channel in range(SHAPES[f"{layer}.weight"][0]):
        members = []
        for (name, axis), makes in [(m, True) for m in makers] + [(r, False) for r in readers]:
            places = np.arange(math.prod(SHAPES[name])).reshape(SHAPES[name])
            members.append((name, makes, list(np.ravel(places.take(channel, axis)))))
        found.append(members)
    return found


def units_of(unit, options):
    if unit == "channel":
        layers = list(CHANNELS)
    else:
        stays = unit in ("filter", "layer") and OUTPUT not in options.get("include", [])
        layers = [layer for layer in LAYERS if not (stays and layer == OUTPUT)]
    layers = [layer for layer in layers if layer not in options.get("exclude", [])]
    if "include" in options:
        layers = [layer for layer in layers if layer in options["include"]]
    return {layer: units_of_channels(layer) if unit == "channel" else units_of_layer(unit, layer) for layer in layers}


# --- Reasons to refuse, each with the words that the message has of it ---

def reachable(unit, options):
    """Whether what is asked for goes before every layer is at its minimum, except for half a unit a layer."""
    sizes = {layer: len(of) for layer, of in units_of(unit, options).items()}
    asked = half_up(options.get("ratio" if unit == "channel" else "sparsity", 0.5) * sum(sizes.values()))
    free = sum(n - Limits(layer, n, unit, options, 1.0).min_left for layer, n in sizes.items())
    return 2 * (asked - free) <= len(sizes)


def reasons(criterion, unit, scope, apply, schedule, options):
    found = []
    channels = unit == "channel"
    if apply == "cut" and not channels:
        found.append("expected apply zero, or unit channel")
    if criterion == "bn_scale" and not channels:
        found.append("criterion bn_scale goes by the scales of batch norms")
    if criterion == "bn_scale" and channels and "fc1" not in options.get("exclude", []):
        found.append("criterion bn_scale goes by batch norms, and there is none after fc1")
    if criterion == "fpgm" and unit not in ("filter", "column", "channel"):
        found.append("criterion fpgm goes by the distances")
    if criterion == "lamp" and unit == "layer":
        found.append("criterion lamp compares units with the others of their layer")
    if unit == "layer" and scope in ["layer", *OF_LAYERS]:
        found.append(f"scope {scope} ranks the units of each layer")
    if unit == "2:4" and scope != "global":
        found.append(f"scope {scope} has nothing to say")
    if scope == "output" and unit not in ("weight", "kernel", "2:4"):
        found.append("scope output ranks what is between a layer's inputs and one output")
    if channels and scope in OF_LAYERS:
        found.append(f"scope {scope} gives each layer a share of its own")
    if scope in OF_LAYERS and {"threshold", "quantile"} & set(options):
        found.append(f"scope {scope} goes with sparsity")
    if channels and "sparsity" in options:
        found.append("sparsity is the share of zeros")
    if not channels and "ratio" in options:
        found.append("ratio is a share of channels")
    if not channels and any(key in options for key in ("speedup", "parameters")):
        found.append("stays as it is where")
    if not found and scope == "uniform_plus":
        sizes = {layer: len(of) for layer, of in units_of(unit, options).items()}
        kept = sum(n if layer == LAYERS[0] else n - half_up(0.8 * n) if layer == LAYERS[-1] else 0
                   for layer, n in sizes.items())
        if half_up(options.get("sparsity", 0.5) * sum(sizes.values())) > sum(sizes.values()) - kept:
            found.append("cannot be reached")
    by_share = not {"threshold", "quantile", "speedup", "parameters"} & set(options)
    if not found and by_share and "max_ratio" in options and not reachable(unit, options):
        found.append("cannot be reached")
    if schedule == "gradual" or options.get("iterations", 1) > 1:
        if unit == "2:4":
            found.append("nothing between all and n")
        if apply == "cut" and ("threshold" in options or "quantile" in options):
            found.append("cutting changes both")
    return found


# --- Scores ---

class Network:
    """Numbers, and what has become of them. What is cut is as gone as what is masked, but is not seen any more."""

    def __init__(self, unit, apply, options):
        self.values, self.g2, self.h = numbers(options.get("ties", False))
        self.unit, self.cuts = unit, apply == "cut"
        self.units = units_of(unit, options)
        self.gone = {layer: [False] * len(units) for layer, units in self.units.items()}
        self.is_cut = {name: np.zeros(len(values), bool) for name, values in self.values.items()}

    def take(self, layer, index):
        self.gone[layer][index] = True
        for name, _, places in self.units[layer][index]:
            if self.cuts:
                self.is_cut[name][places] = True
            else:
                self.values[name][places] = 0.0

    def left_of(self, name, places):
        return [i for i in places if not self.is_cut[name][i]]


def is_weight(name):
    return name.endswith("weight") and not name.startswith("bn")


def is_scale(name):
    return name.startswith("bn") and name.endswith("weight")


def score_of_member(criterion, network, name, places):
    w = network.values[name][places]
    if criterion in ("l1", "bn_scale"):
        return np.sum(np.abs(w))
    if criterion == "l2":
        return math.sqrt(np.sum(w * w))
    if criterion in ("group_norm", "lamp"):
        return np.sum(w * w)
    if criterion == "taylor":
        return np.sum(w * w * network.g2[name][places])
    return np.sum(w * w * network.h[name][places] / 2)  # obd


REDUCTIONS = {"mean": lambda each: sum(each) / len(each), "sum": sum, "max": max, "first": lambda each: each[0]}
# What each score less the first is divided by the second.
NORMALIZERS = {"none": lambda left: (0, 1), "mean": lambda left: (0, sum(left) / len(left)),
               "max": lambda left: (0, max(left)), "standardize": lambda left: (min(left), max(left) - min(left))}


def scores_of_layer(criterion, network, layer, first, options):
    """One for each unit; -inf for those that are gone. `first`: how many units there are in the layers before it."""
    units, gone = network.units[layer], network.gone[layer]
    there = [u for u in range(len(units)) if not (network.cuts and gone[u])]  # masked units are still there
    scores = {}
    if criterion == "random":
        key = random_key(np.uint64(0), np.uint64(0x73636F7265))  # "score"
        start = CHANNELS[layer][0] << 32 if network.unit == "channel" else first
        for number, u in enumerate(there):
            scores[u] = float(random_uniform(key, np.uint64(start + number)))
    elif criterion == "fpgm":
        rows = {u: np.concatenate([network.values[name][network.left_of(name, places)]
                                   for name, makes, places in units[u] if makes and is_weight(name)]) for u in there}
        for u in there:
            scores[u] = sum(math.sqrt(np.sum((rows[u] - rows[v]) ** 2)) for v in there)
    else:
        for u in there:
            each = [score_of_member(criterion, network, name, network.left_of(name, places))
                    for name, _, places in units[u]
                    if is_scale(name) or (is_weight(name) and criterion != "bn_scale")]
            scores[u] = REDUCTIONS[options.get("reduction", "mean")](each)
    if criterion == "lamp":  # over the sum of all that are not lower, itself included
        by_rank = sorted(there, key=lambda u: (scores[u], u))
        rest = {u: sum(scores[v] for v in by_rank[rank:]) for rank, u in enumerate(by_rank)}
        scores = {u: scores[u] / rest[u] if rest[u] > 0 else 0.0 for u in there}
    return [-math.inf if gone[u] else scores[u] for u in range(len(units))]


def all_scores(criterion, network, compared, options):
    found, first = {}, 0
    for layer, units in network.units.items():
        found[layer] = scores_of_layer(criterion, network, layer, first, options)
        first += len(units)
        left = [s for s in found[layer] if s != -math.inf]
        if compared and left:
            own = "none" if criterion in ("random", "lamp", "bn_scale") else "mean"
            offset, scale = NORMALIZERS[options.get("normalizer", own)](left)
            found[layer] = [(s - offset) / (scale or 1) for s in found[layer]]
    return found


# --- Selections: {layer: [True if it goes, of each unit]} ---

def half_up(x):
    """llround of what is not negative."""
    return math.floor(x + 0.5)


class Limits:
    """Of one layer of n units in the beginning."""

    def __init__(self, layer, n, unit, options, progress):
        own = options.get("overrides", {}).get(layer, options)
        never_empty = unit == "channel" or options.get("round_to", 1) > 1
        self.min_left = max(1 if never_empty else 0, n - half_up(own.get("max_ratio", 1.0) * n))
        self.must = half_up(own.get("min_ratio", 0.0) * progress * n)
        self.multiple = options.get("round_to", 1)
        self.min_left = min(n, math.ceil(self.min_left / self.multiple) * self.multiple)


def counts_of_layers(scope, unit, sizes, share, gone, limits):
    """How many of each layer's units go in all, in a scope that gives each a share of its own.

    A layer's k-th unit goes where its share of the layer's units comes to k - 1/2. Of the units of all layers, those
    that go first do, of those at once the first layer's, until as many are gone as `share` says; by uniform, of each
    layer those up to `share`.
    """
    first, last = LAYERS[0], LAYERS[-1]

    def place(layer, k):
        """What grows while more goes: at what k go. None: never."""
        n, shape = sizes[layer], SHAPES[f"{layer}.weight"]
        part = Fraction(2 * k - 1, 2 * n)
        if scope == "erk":  # 1 - eps (sum of the sizes) / (their product) is the share; eps falls
            return -(1 - part) * math.prod(shape) / sum(shape)
        if layer == first:  # a convolution
            return None
        return None if scope == "uniform_plus" and layer == last and part > Fraction(4, 5) else part

    if scope == "uniform":
        return {layer: 0 if layer == first else half_up(share * n) for layer, n in sizes.items()}
    least = {layer: max(gone[layer], limits[layer].must) for layer in sizes}
    most = {layer: max(least[layer], n - limits[layer].min_left) for layer, n in sizes.items()}
    steps = sorted((place(layer, k), i, layer) for i, layer in enumerate(sizes) for k in range(1, sizes[layer] + 1)
                   if least[layer] < k <= most[layer] and place(layer, k) is not None)
    missing = half_up(share * sum(sizes.values())) - sum(least.values())
    taken = steps[:max(0, missing)]
    return {layer: least[layer] + sum(one == layer for _, _, one in taken) for layer in sizes}


def select(scores, classes, limits, count, below=None, rounded=True):
    """count(class): how many of its units go in all. below(class): if given, only units that score below go."""
    goes = {layer: [s == -math.inf for s in of] for layer, of in scores.items()}
    place = {layer: i for i, layer in enumerate(scores)}

    def held(layer):
        return len(goes[layer]) - sum(goes[layer]) <= limits[layer].min_left

    def lowest_first(layers):
        return sorted((scores[layer][u], place[layer], u, layer) for layer in layers for u in range(len(goes[layer]))
                      if not goes[layer][u])

    def take(layers, until, bound=math.inf):
        for score, _, u, layer in lowest_first(layers):
            if until():
                return
            if score < bound and not held(layer):
                goes[layer][u] = True

    for layer in scores:
        take([layer], lambda: sum(goes[layer]) >= limits[layer].must)
    for layers in classes:
        if below:
            take(layers, lambda: False, below(layers))
        else:
            take(layers, lambda: sum(sum(goes[layer]) for layer in layers) >= count(layers))
    for layer in scores:
        multiple = limits[layer].multiple
        if not rounded or multiple == 1 or not any(goes[layer]):
            continue
        left = len(goes[layer]) - sum(goes[layer])
        stay = left - left % multiple
        if stay < limits[layer].min_left:  # up, then
            stay += multiple
        while len(goes[layer]) - sum(goes[layer]) > stay:
            goes[layer][lowest_first([layer])[0][2]] = True
        while len(goes[layer]) - sum(goes[layer]) < stay:
            back = max((s, u) for u, s in enumerate(scores[layer]) if goes[layer][u] and s != -math.inf)
            goes[layer][back[1]] = False
    return goes


def gone_of(goes):
    return sum(sum(of) for of in goes.values())


def macs(a, b, c):
    """Multiply-accumulates of an image, at these widths of conv1, conv2 and fc1."""
    return 16 * 9 * 4 * a + 16 * 9 * a * b + b * c + c * 4


def parameters(a, b, c):
    return (9 * 4 * a + a + 2 * a) + (9 * a * b + b + 2 * b) + (b * c + c) + (c * 4 + 4)


def check_margins(goes, scores, classes, exact):
    """No verdict hangs on rounding: where units go and stay, scores are apart, or equal as they should be."""
    for layers in [[layer] for layer in scores] + classes:
        ranked = sorted((scores[layer][u], goes[layer][u]) for layer in layers for u in range(len(goes[layer])))
        for (low, one), (high, other) in zip(ranked, ranked[1:]):
            if one == other or low == -math.inf:
                continue
            if low == high:
                assert exact, f"a tie at {low}"
            else:
                assert high - low > 1e-6 * abs(high), f"{low} and {high} are too near to each other"


def by_output(scores, options, progress):
    """The same share of each output's inputs, or what is below a value or a quantile of theirs."""
    rows = {(layer, o): row for layer, of in scores.items()
            for o, row in enumerate(np.split(np.array(of), SHAPES[f"{layer}.weight"][0]))}
    of_all = {row: Limits(row[0], len(of), "weight", {}, 1.0) for row, of in rows.items()}

    def below(classes):
        if "threshold" in options:
            return options["threshold"] * progress
        of = sorted(rows[classes[0]])
        return of[math.ceil(options["quantile"] * progress * (len(of) - 1))]

    goes = select(rows, [[row] for row in rows], of_all,
                  lambda classes: half_up(options.get("sparsity", 0.5) * progress * len(rows[classes[0]])),
                  below if {"threshold", "quantile"} & set(options) else None)
    check_margins(goes, rows, [], options.get("ties"))
    return {layer: [one for row, of in goes.items() if row[0] == layer for one in of] for layer in scores}


# Where the documents leave it open, as the library does: of cut channels nothing is left to be ranked, so that a
# quantile is of the others, and `random` numbers them anew; masked filters are among those that fpgm measures
# distances to; a minimum width is rounded up to a multiple; each layer keeps n - llround(max_ratio n).
def act(criterion, network, scope, options, progress):
    """One selection, `progress` of the way to the target, applied to the network."""
    unit, channels = network.unit, network.unit == "channel"
    by_threshold = "threshold" in options
    if scope == "output" and unit != "2:4":
        scores = all_scores(criterion, network, False, options)
        apply_selection(network, by_output(scores, options, progress))
        return
    several = scope in ("global", "isomorphic") and (unit in ("filter", "column", "kernel", "block")
                                                     or unit == "weight" and "normalizer" in options)
    scores = all_scores(criterion, network, (several or channels) and not by_threshold, options)
    if scope not in ("global", "isomorphic"):
        classes = [[layer] for layer in scores]
    elif scope == "global":
        classes = [list(scores)]
    else:
        kinds = CHANNELS_ALIKE if channels else ALIKE
        classes = [[layer for layer in scores if kinds[layer] == kind] for kind in dict.fromkeys(
            kinds[layer] for layer in scores)]
    sizes = {layer: len(of) for layer, of in scores.items()}
    limits = {layer: Limits(layer, n, unit, options, progress) for layer, n in sizes.items()}

    def size(layers):
        return sum(sizes[layer] for layer in layers)

    def share(value, rounded=True):
        if scope in OF_LAYERS:
            gone = {layer: sum(s == -math.inf for s in of) for layer, of in scores.items()}
            counts = counts_of_layers(scope, unit, sizes, value, gone, limits)
            return select(scores, classes, limits, lambda layers: counts[layers[0]], rounded=rounded)
        return select(scores, classes, limits, lambda layers: half_up(value * size(layers)), rounded=rounded)

    total = size(sizes)
    if unit == "2:4":
        goes = {}
        for layer, of in scores.items():
            goes[layer] = [False] * len(of)
            for first in range(0, len(of), 4):
                for u in sorted(range(first, first + 4), key=lambda u: (of[u], u))[:2]:
                    goes[layer][u] = True
    elif by_threshold:
        goes = select(scores, classes, limits, None, lambda layers: options["threshold"] * progress)
    elif "quantile" in options:
        def bound(layers):
            of = sorted(s for layer in layers for u, s in enumerate(scores[layer])
                        if not (network.cuts and network.gone[layer][u]))
            return of[math.ceil(options["quantile"] * progress * (len(of) - 1))]
        goes = select(scores, classes, limits, None, bound)
    elif "speedup" in options or "parameters" in options:
        def widths(goes):
            return [sum(not one for one in goes[layer]) for layer in ("conv1", "conv2", "fc1")]
        cost = macs if "speedup" in options else parameters
        original = cost(4, 8, 12)
        end = original / options["speedup"] if "speedup" in options else options["parameters"]
        goes = next(goes for goes in (share(n / total) for n in range(total + 1))
                    if cost(*widths(goes)) <= original + (end - original) * progress)
    else:
        ratio = options.get("ratio" if channels else "sparsity", 0.5) * progress
        goes = share(ratio)
        if options.get("round_to", 1) > 1:  # the smallest selection that removes as many as without
            asked = gone_of(share(ratio, rounded=False))
            goes = next(goes for goes in (share(n / total) for n in range(total + 1)) if gone_of(goes) >= asked)
    if unit != "2:4" or not options.get("ties"):
        per_layer = [[layer] for layer in scores]
        check_margins(goes, scores, [] if unit == "2:4" else classes if "round_to" not in options else per_layer,
                      options.get("ties"))
    apply_selection(network, goes)


def apply_selection(network, goes):
    for layer, of in goes.items():
        for u, one in enumerate(of):
            if one and not network.gone[layer][u]:
                network.take(layer, u)


def run(criterion, unit, scope, apply, schedule, options):
    """Verdicts, 1 stays, of each layer's units, layers by blanks apart; or reasons to refuse."""
    refused = reasons(criterion, unit, scope, apply, schedule, options)
    if refused:
        return refused
    network = Network(unit, apply, options)
    if schedule == "gradual":
        acts = [0.5, 1.0]
    else:
        acts = [i / options.get("iterations", 1) for i in range(1, options.get("iterations", 1) + 1)]
    for progress in acts:
        act(criterion, network, scope, options, progress)
    return " ".join("".join("01"[not one] for one in gone) for gone in network.gone.values())


# --- Which combinations ---

def combinations():
    for criterion in CRITERIA:
        for unit in UNITS:
            for scope in SCOPES:
                for apply in APPLIES:
                    for schedule in SCHEDULES:
                        yield criterion, unit, scope, apply, schedule, {}


def further():
    """What a few of them do with other options."""
    for schedule in SCHEDULES:
        for scope in RANKED:
            for apply in APPLIES:
                yield "bn_scale", "channel", scope, apply, schedule, {"exclude": ["fc1"]}
                for options in ({"round_to": 2}, {"round_to": 3}, {"max_ratio": 0.5, "ratio": 0.3,
                                                                  "overrides": {"fc1": {"max_ratio": 0.25}}},
                                {"min_ratio": 0.25, "ratio": 0.375}, {"speedup": 2}, {"parameters": 300},
                                {"quantile": 0.3}):
                    yield "group_norm", "channel", scope, apply, schedule, options
                yield "l2", "channel", scope, apply, schedule, {"threshold": 1.5}
                yield "taylor", "channel", scope, apply, schedule, {"speedup": 2, "round_to": 2}
                yield "l1", "channel", scope, apply, schedule, {"reduction": "max", "normalizer": "standardize"}
                yield "group_norm", "channel", scope, apply, schedule, {"ties": True}
            for unit in ("weight", "filter", "kernel"):
                yield "l1", unit, scope, "zero", schedule, {"quantile": 0.3}
            yield "l1", "weight", scope, "zero", schedule, {"threshold": 0.25}
            yield "l1", "filter", scope, "zero", schedule, {"threshold": 10}
            yield "l1", "filter", scope, "zero", schedule, {"round_to": 2}
            yield "l1", "filter", scope, "zero", schedule, {"max_ratio": 0.5, "sparsity": 0.6,
                                                            "overrides": {"fc1": {"max_ratio": 0.25}}}
            yield "l1", "filter", scope, "zero", schedule, {"min_ratio": 0.25, "sparsity": 0.3}
            yield "l2", "filter", scope, "zero", schedule, {"include": ["conv2", "fc2"]}
            yield "group_norm", "weight", scope, "zero", schedule, {"max_ratio": 0.4, "sparsity": 0.5,
                                                                    "overrides": {"conv2": {"max_ratio": 0.75}}}
            yield "l1", "weight", scope, "zero", schedule, {"ties": True}
        for unit in ("filter", "kernel", "block"):
            yield "l1", unit, "layer", "zero", schedule, {"ties": True}
            yield "group_norm", unit, "layer", "zero", schedule, {"ties": True}
        yield "l1", "2:4", "global", "zero", schedule, {"ties": True}
    for reduction in "sum", "max", "first":
        yield "l2", "channel", "global", "zero", "once", {"reduction": reduction}
    for normalizer in "none", "max", "standardize":
        yield "l2", "channel", "global", "zero", "once", {"normalizer": normalizer}
        for unit in "weight", "filter", "column", "kernel", "block":
            yield "l2", unit, "global", "zero", "once", {"normalizer": normalizer}
    for schedule in SCHEDULES:
        for options in {"sparsity": 0.3}, {"sparsity": 0.8}, {"quantile": 0.3}, {"threshold": 0.25}, {"ties": True}:
            yield "l1", "weight", "output", "zero", schedule, options
    for scope in SCOPES:
        for unit in ("weight", "filter", "block"):
            yield "group_norm", unit, scope, "zero", "once", {"iterations": 3}
    for scope in OF_LAYERS:
        for schedule in SCHEDULES:
            for sparsity in 0.3, 0.7, 0.8:
                yield "l1", "weight", scope, "zero", schedule, {"sparsity": sparsity}
            yield "l1", "kernel", scope, "zero", schedule, {"sparsity": 0.6}
            yield "l1", "weight", scope, "zero", schedule, {"max_ratio": 0.9, "sparsity": 0.5,
                                                            "overrides": {"fc1": {"max_ratio": 0.25}}}
            yield "l1", "weight", scope, "zero", schedule, {"sparsity": 0.4, "min_ratio": 0.1,
                                                            "overrides": {"fc2": {"min_ratio": 0.75}}}
            yield "l1", "weight", scope, "zero", schedule, {"exclude": ["conv1"]}
            yield "l1", "weight", scope, "zero", schedule, {"ties": True}
        for options in {"quantile": 0.3}, {"threshold": 0.25}:
            yield "l1", "weight", scope, "zero", "once", options
    for scope in RANKED:
        for apply in APPLIES:
            yield "l1", "channel", scope, apply, "once", {"max_ratio": 0.5, "ratio": 0.75}
            yield "fpgm", "channel", scope, apply, "once", {"iterations": 2}
            yield "group_norm", "channel", scope, apply, "once", {"iterations": 2}
    for scope in "layer", "isomorphic":
        yield "group_norm", "channel", scope, "zero", "once", {"ratio": 0.37}
    for options in {"threshold": 0.25, "max_ratio": 0.2}, {"quantile": 0.3, "min_ratio": 0.25}:
        yield "l1", "weight", "global", "zero", "once", options
    for apply in APPLIES:
        yield "group_norm", "channel", "global", apply, "once", {"quantile": 0.8}
        yield "group_norm", "channel", "global", apply, "once", {"quantile": 0.3, "iterations": 2}
    for options in {"sparsity": 0.5}, {"ratio": 0.5}, {"speedup": 2}, {"parameters": 300}:
        for unit, apply in ("weight", "zero"), ("filter", "zero"), ("channel", "cut"), ("layer", "zero"):
            if reasons("l1", unit, "global", apply, "once", options):
                yield "l1", unit, "global", apply, "once", options


def record():
    rows = []
    for row in [*combinations(), *further()]:
        try:
            rows.append([*row, run(*row)])
        except AssertionError as error:
            raise SystemExit(f"{row}: {error}") from error
    return {"seed": SEED, "columns": COLUMNS, "rows": rows}


def text(found):
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in found["rows"])
    return f'{{"seed":{found["seed"]},"columns":{json.dumps(found["columns"])},"rows":[\n{rows}\n]}}\n'


# --- The table ---

SHORT = {"expected apply zero, or unit channel": "cut: only channels",
         "criterion bn_scale goes by the scales": "scales are of channels",
         "and there is none after fc1": "no norm after fc1", "criterion fpgm": "no distances",
         "criterion lamp": "alone in its layer", "ranks the units of each layer": "a layer is one",
         "and one output": "no output's own", "a share of its own": "of several layers", "goes with sparsity": "of no share",
         "has nothing to say": "ranked in each 4", "nothing between all and n": "all at once",
         "cutting changes both": "all at once"}



def short(result):
    return "runs" if isinstance(result, str) else "; ".join(
        next(brief for piece, brief in SHORT.items() if piece in reason) for reason in result)


def print_table(found):
    of = {tuple(row[:5]): short(row[6]) for row in found["rows"] if not row[5]}
    heads = [(apply, schedule) for apply in APPLIES for schedule in SCHEDULES]
    print("| criterion | unit | scope | " + " | ".join(f"{apply}, {schedule}" for apply, schedule in heads) + " |")
    print("|---" * 7 + "|")
    for criterion in CRITERIA:
        for unit in UNITS:
            for scope in SCOPES:
                cells = [of[(criterion, unit, scope, *head)] for head in heads]
                print(f"| {criterion} | {unit} | {scope} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file")
    parser.add_argument("--output", type=pathlib.Path, default=PATH, help="the file (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="print which combinations run, in markdown")
    arguments = parser.parse_args()
    found = record()
    if arguments.table:
        print_table(found)
    elif arguments.write:
        arguments.output.write_text(text(found))
        print(f"{arguments.output}: {len(found['rows'])} rows, {arguments.output.stat().st_size:,} bytes")
    else:
        same = arguments.output.read_text() == text(found)
        print(f"{arguments.output}: {'as computed' if same else 'differs from what is computed'}")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
