"""Numbers by counter: core/random.h, nn/init.h and the golden data set, in numpy.

Every number is a pure function of (seed, purpose, counter), so PyTorch here and Espalier in C++ start from the same
weights and see the same images without a file between them. The images and labels below are what
tests/optim/golden_test.cpp makes.
"""

import math

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio, SplitMix64's increment


def _u64(values):
    return np.asarray(values, dtype=np.uint64)


def mix64(z):
    with np.errstate(over="ignore"):  # arithmetic is modulo 2^64
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def random_bits(key, counter):
    """Number `counter` (an integer or an array of them) of stream `key`: 64 bits each."""
    with np.errstate(over="ignore"):
        return mix64(mix64(_u64(key) + GOLDEN) + (_u64(counter) + np.uint64(1)) * GOLDEN)


def random_key(seed, purpose):
    """A stream of its own for each (seed, purpose)."""
    return random_bits(seed, _u64(purpose) ^ np.uint64(0xD1B54A32D192ED03))


def random_uniform(key, counter):
    """Uniform on [0, 1) in steps of 2^-24, f32."""
    return (random_bits(key, counter) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def random_below(key, counter, n):
    """Uniform on 0 .. n-1, int64."""
    high = random_bits(key, counter) >> np.uint64(32)
    return ((high * np.uint64(n)) >> np.uint64(32)).astype(np.int64)


def initial_weights(shapes, seed):
    """{name: f32 array} for `shapes`, {name: shape} in a state_dict's order: PyTorch's default initialisation.

    Number i of entry k is (2 random_uniform(random_key(seed, k), i) - 1) / sqrt(fan_in), with fan_in the inputs of one
    output of that layer's weight; of an embedding, which has no layer, times 0.02 sqrt 3 instead. Norms and buffers
    count as entries but are left out: they keep their layer's values.
    """
    weights = {}
    for place, (name, shape) in enumerate(shapes.items()):
        layer, _, kind = name.rpartition(".")
        weight_shape = tuple(shapes.get(f"{layer}.weight", ()))
        if layer and (kind not in ("weight", "bias") or len(weight_shape) < 2):
            continue
        count = math.prod(shape)
        uniform = random_uniform(random_key(seed, place), np.arange(count)).astype(np.float64)
        bound = 1.0 / math.sqrt(math.prod(weight_shape[1:])) if layer else 0.02 * math.sqrt(3.0)
        weights[name] = ((2.0 * uniform - 1.0) * bound).astype(np.float32).reshape(shape)
    return weights


# Purposes of the golden data set's streams, out of the way of parameters' places.
KIND, NOISE, PROTOTYPE, DOUBT, GUESS, PROBE, NORM = (2**32 + i for i in range(7))


def golden_batch(seed, step, size, shape, classes):
    """Batch `step` (from 0): images f32 [size, *shape], shape (H, W, C), values in [-1, 1), and labels int64 [size].

    Image n of the endless data set is its class's prototype and noise; E is H W C, e counts within an image:
        class   = random_below(KIND, n, classes)
        image   = random_uniform(PROTOTYPE, class E + e) + random_uniform(NOISE, n E + e) - 1
        label   = random_uniform(DOUBT, n) < 1/4 ? random_below(GUESS, n, classes) : class
    A label in four says nothing, so that losses fall but stay well above 0, where a relative error means something.
    """
    elements = math.prod(shape)
    n = step * size + np.arange(size)
    e = np.arange(elements)
    kind = random_below(random_key(seed, KIND), n, classes)
    prototype = random_uniform(random_key(seed, PROTOTYPE), kind[:, None] * elements + e)
    noise = random_uniform(random_key(seed, NOISE), n[:, None] * elements + e)
    guess = random_below(random_key(seed, GUESS), n, classes)
    doubt = random_uniform(random_key(seed, DOUBT), n) < np.float32(0.25)
    images = prototype + noise - np.float32(1)
    return images.reshape(size, *shape), np.where(doubt, guess, kind)


def _of_place(seed, stream, place, count):
    counter = np.arange(count, dtype=np.uint64) + (np.uint64(place) << np.uint64(32))
    return random_uniform(random_key(seed, stream), counter)


def probe(seed, place, count):
    """f32 [count] in [-1, 1): what a gradient is projected on, so that its elements' order is judged too."""
    return np.float32(2) * _of_place(seed, PROBE, place, count) - np.float32(1)


# Lowest value and range of what random_norms gives. The variances are about those of a convolution of such outputs with
# initial weights, so that no layer drowns the images' differences in its shift.
NORM_RANGES = {"weight": (0.5, 1.0), "bias": (-0.25, 0.5), "running_mean": (-0.1, 0.2), "running_var": (0.1, 0.3)}


def random_norms(shapes, seed):
    """{name: f32 array}: scale, shift and statistics of each norm, of `shapes`, {name: shape} in a state_dict's order.

    Number i of entry k is lowest + range random_uniform(NORM, k 2^32 + i).
    """
    values = {}
    for place, (name, shape) in enumerate(shapes.items()):
        layer, _, kind = name.rpartition(".")
        if kind in NORM_RANGES and len(shapes[f"{layer}.weight"]) == 1:
            lowest, span = map(np.float32, NORM_RANGES[kind])
            values[name] = lowest + span * _of_place(seed, NORM, place, shape[0])
    return values
