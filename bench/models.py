"""Espalier's models in PyTorch, under the same parameter names, so that weights load both ways.

To add a model: write its class and give it a row in MODELS.
"""

import collections

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}
POOLS = {"max": F.max_pool2d, "average": F.avg_pool2d}


class Mlp(nn.Module):
    """fc1 .. fcN with an activation between: x [N, ...] to logits."""

    def __init__(self, widths, activation="relu"):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:]), start=1):
            self.add_module(f"fc{i}", nn.Linear(inputs, outputs))

    def forward(self, x):
        *hidden, last = self.children()
        x = x.flatten(1)
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class LeNet5(nn.Module):
    """Caffe's LeNet-5: x [N,1,28,28] to logits, no padding, pooling by 2 behind each activation."""

    def __init__(self, activation="relu", pool="max"):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)
        self.activation, self.pool = ACTIVATIONS[activation], POOLS[pool]

    def forward(self, x):
        for convolution in (self.conv1, self.conv2):
            x = self.pool(self.activation(convolution(x)), 2)
        return self.fc2(self.activation(self.fc1(x.flatten(1))))


# build(**options); input (H, W, C) of one image; the optimizer that `espalier bench train` gives it; whether it
# convolves, so that PyTorch's two memory layouts are worth a race.
Model = collections.namedtuple("Model", "build input classes optimizer convolutional")


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


MODELS = {
    "mlp": Model(lambda **options: Mlp((784, 256, 128, 10), **options), (28, 28, 1), 10, adam, False),
    "lenet300": Model(lambda **options: Mlp((784, 300, 100, 10), **options), (28, 28, 1), 10, adam, False),
    "lenet5": Model(LeNet5, (28, 28, 1), 10, adam, True),
}
