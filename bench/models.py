"""Espalier's models in PyTorch, under the same parameter names, so that weights load both ways.

To add a model: write its class and give it a row in MODELS.
"""

import collections
import functools
import math

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": functools.partial(nn.ReLU, inplace=True), "gelu": nn.GELU}
POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def mean_of_pixels(x):
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Mlp(nn.Module):
    """fc1 .. fcN with an activation between: x [N, ...] to logits."""

    def __init__(self, input, classes, hidden, activation="relu"):
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        widths = (math.prod(input), *hidden, classes)
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:]), start=1):
            self.add_module(f"fc{i}", nn.Linear(inputs, outputs))

    def forward(self, x):
        activation, *hidden, last = self.children()
        x = x.flatten(1)
        for layer in hidden:
            x = activation(layer(x))
        return last(x)


class LeNet5(nn.Module):
    """Caffe's LeNet-5: no padding, pooling by 2 after each activation."""

    def __init__(self, input, classes, activation="relu", pool="max"):
        super().__init__()
        height, width = (((side - 4) // 2 - 4) // 2 for side in input[:2])
        self.conv1 = nn.Conv2d(input[2], 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.fc1 = nn.Linear(50 * height * width, 500)
        self.fc2 = nn.Linear(500, classes)
        self.activation, self.pool = ACTIVATIONS[activation](), POOLS[pool](2)

    def forward(self, x):
        for convolution in (self.conv1, self.conv2):
            x = self.pool(self.activation(convolution(x)))
        return self.fc2(self.activation(self.fc1(x.flatten(1))))


class Vgg(nn.Module):
    """VGG for small images: pooling only after the first three blocks, then the mean of all pixels, `classifier`.

    Modules of `features` stand at torchvision's numbers; identities hold those of the poolings left out.
    """

    BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
    CHANNELS = (64, 128, 256, 512, 512)

    def __init__(self, depth, input, classes, activation="relu", pool="max", batch_norm=True):
        super().__init__()
        layers, channels = [], input[2]
        for block, (convolutions, width) in enumerate(zip(self.BLOCKS[depth], self.CHANNELS)):
            for _ in range(convolutions):
                layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(ACTIVATIONS[activation]())
                channels = width
            layers.append(POOLS[pool](2) if block < 3 else nn.Identity())
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(mean_of_pixels(self.features(x)))


def convolution(inputs, outputs, size, stride=1):
    """Without a bias, which the norm after it would take away; padded so that stride 1 keeps the size."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class ResidualBlock(nn.Module):
    """conv1 bn1 conv2 bn2 (conv3 bn3) and the shortcut, through `downsample` where the shape changes."""

    def __init__(self, inputs, channels, stride, bottleneck, activation):
        super().__init__()
        outputs = 4 * channels if bottleneck else channels
        self.activation, self.count = ACTIVATIONS[activation](), 3 if bottleneck else 2
        if bottleneck:
            layers = ((inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1))
        else:
            layers = ((inputs, channels, 3, stride), (channels, outputs, 3, 1))
        for i, layer in enumerate(layers, start=1):
            self.add_module(f"conv{i}", convolution(*layer))
            self.add_module(f"bn{i}", nn.BatchNorm2d(layer[1]))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count):
            y = self.activation(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y)))
        y = getattr(self, f"bn{self.count}")(getattr(self, f"conv{self.count}")(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.activation(y)


class ResNet(nn.Module):
    """conv1 bn1, layer1 .. layer4 (layer3) of residual blocks, the mean of all pixels, fc."""

    BOTTLENECK = (50, 101, 152)
    BLOCKS = {20: (3, 3, 3), 32: (5, 5, 5), 44: (7, 7, 7), 56: (9, 9, 9), 110: (18, 18, 18),
              18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

    def __init__(self, depth, input, classes, activation="relu", pool="max", stem=None):
        super().__init__()
        blocks = self.BLOCKS[depth]
        if stem is None:
            stem = "small" if len(blocks) == 3 or min(input[:2]) < 64 else "imagenet"
        self.activation = ACTIVATIONS[activation]()
        self.pool = POOLS[pool](3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        channels = width = 16 if len(blocks) == 3 else 64
        self.conv1 = convolution(input[2], width, *((7, 2) if stem == "imagenet" else (3, 1)))
        self.bn1 = nn.BatchNorm2d(width)
        for stage, count in enumerate(blocks):
            layer = nn.Sequential()
            for i in range(count):
                stride, bottleneck = 2 if stage > 0 and i == 0 else 1, depth in self.BOTTLENECK
                layer.append(ResidualBlock(channels, width, stride, bottleneck, activation))
                channels = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", layer)
            width *= 2
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # a module, as torchvision's: Torch-Pruning counts modules
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.pool(self.activation(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))


def unstrided(*layers):
    """These convolutions lose their strides."""
    def change(model):
        for layer in layers:
            model.get_submodule(layer).stride = (1, 1)
    return change


def small_mobilenetv3(model):
    unstrided("features.0.0", "features.1.block.0.0")(model)
    model.features[1].use_res_connect = True  # its shape stays now


def small_densenet(model):
    stem = model.features.conv0
    model.features.conv0 = convolution(stem.in_channels, stem.out_channels, 3)
    model.features.pool0 = nn.Identity()


def small_squeezenet(model):
    unstrided("features.0")(model)
    model.features[2] = nn.Identity()


def torchvision_model(name, make_small, input, classes, stem=None):
    """One of torchvision's, which drops nothing; for small images with the stem that `make_small` leaves."""
    import torchvision

    model = getattr(torchvision.models, name)(num_classes=classes)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if stem == "small" or (stem is None and min(input[:2]) < 64):
        make_small(model)
    return model


class Attention(nn.Module):
    """Of all tokens to all, in `heads` parts of the channels."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        shares = (q @ k.mT * (width // self.heads) ** -0.5).softmax(-1)
        return self.proj((shares @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Norms before attention and before the two layers after it."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(collections.OrderedDict(
            fc1=nn.Linear(width, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, width)))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """timm's, by its names: patches and a class token, `blocks`, `norm`, `head`."""

    def __init__(self, input, classes, patch=4, dim=192, depth=9, heads=3, mlp_ratio=4):
        super().__init__()
        tokens = 1 + (input[0] // patch) * (input[1] // patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim))
        self.patch_embed = nn.Sequential(collections.OrderedDict(proj=nn.Conv2d(input[2], dim, patch, patch)))
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads, int(mlp_ratio * dim)) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).mT
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)


TORCHVISION = (
    ("mobilenetv2", "mobilenet_v2", unstrided("features.0.0", "features.2.conv.1.0")),
    ("mobilenetv3_small", "mobilenet_v3_small", small_mobilenetv3),
    ("mobilenetv3_large", "mobilenet_v3_large", unstrided("features.0.0", "features.2.block.1.0")),
    ("densenet121", "densenet121", small_densenet),
    ("squeezenet", "squeezenet1_1", small_squeezenet),
)

# build(input, classes, **options), input the (H, W, C) of one image; input and classes unless told otherwise; the
# optimizer that `espalier bench train` gives it; whether it convolves, so that PyTorch's two memory layouts are worth a
# race.
Model = collections.namedtuple("Model", "build input classes optimizer convolutional")

MODELS = {
    "mlp": Model(functools.partial(Mlp, hidden=(256, 128)), (28, 28, 1), 10, adam, False),
    "lenet300": Model(functools.partial(Mlp, hidden=(300, 100)), (28, 28, 1), 10, adam, False),
    "lenet5": Model(LeNet5, (28, 28, 1), 10, adam, True),
    **{f"vgg{depth}": Model(functools.partial(Vgg, depth), (32, 32, 3), 100, sgd, True) for depth in Vgg.BLOCKS},
    **{f"resnet{depth}": Model(functools.partial(ResNet, depth), (32, 32, 3), 10, sgd, True)
       for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}": Model(functools.partial(ResNet, depth), (224, 224, 3), 1000, sgd, True)
       for depth in (18, 34, 50, 101, 152)},
    **{name: Model(functools.partial(torchvision_model, theirs, make_small), (224, 224, 3), 1000, sgd, True)
       for name, theirs, make_small in TORCHVISION},
    "vit": Model(VisionTransformer, (32, 32, 3), 10, sgd, True),
}
