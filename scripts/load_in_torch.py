#!/usr/bin/env python3
"""Builds in PyTorch the network that a checkpoint or model of Espalier's holds, pruned or not, from only that file.

    from load_in_torch import load
    model = load("runs/x/models/tuned.safetensors")      # a torch.nn.Module in inference mode
    logits = model(model.normalized(pixels))             # pixels [N,C,H,W] in 0..1, of model.input's shape
    names = [model.classes[k] for k in logits.argmax(1)]

    model.classes        names of the classes, in the order of the logits ("0", "1", ... where the data name none)
    model.input          (H, W, C) of an image
    model.mean, .std     tensors [C,1,1]: what the network was trained on is (pixels - mean) / std

    scripts/load_in_torch.py FILE                 prints layers, counts, classes and normalisation
    scripts/load_in_torch.py FILE --check PASS    compares logits: PASS is what `espalier eval FILE --logits PASS` wrote
    scripts/load_in_torch.py FILE --onnx OUT      writes it as ONNX: "images" [N,C,H,W], normalised, to "logits" [N,classes]

The file says what its network does, op by op (metadata 'espalier.network'), so nothing here knows a model by name. An op of your
own is run by what you give: load(FILE, {"swish": lambda attributes, x: x * x.sigmoid()}). Needs torch and safetensors.
"""
import argparse
import inspect
import json
import os
import sys
import warnings

try:
    import torch
    import torch.nn.functional as F
    from safetensors import SafetensorError, safe_open
except ImportError as error:
    sys.exit(f"load_in_torch: needs torch and safetensors, which {sys.executable} cannot import ({error}): "
             "pip install torch safetensors")

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
               "relu6": F.relu6, "silu": F.silu, "hard_swish": F.hardswish, "hard_sigmoid": F.hardsigmoid,
               "leaky_relu": F.leaky_relu}


def listed(value, length):
    return value if isinstance(value, list) else [value] * length


def op_conv2d(x, weight, bias=None, *, stride, pad, groups=1, activation="none", dilation=1):
    groups = x.shape[1] // weight.shape[1]  # of a depthwise or grouped convolution they follow its weight, which may have been cut
    top, left, bottom, right = listed(pad, 4)
    if (top, left) != (bottom, right):  # PyTorch's own takes no others
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return ACTIVATIONS[activation](F.conv2d(x, weight, bias, listed(stride, 2), (top, left), listed(dilation, 2), groups))


def pooled(largest, x, window, stride, pad, ceil, counts):
    k, stride, (top, left, bottom, right) = listed(window, 2), listed(stride, 2), listed(pad, 4)
    if (top, left) == (bottom, right):
        return (F.max_pool2d(x, k, stride, (top, left), 1, ceil) if largest else
                F.avg_pool2d(x, k, stride, (top, left), ceil, counts))
    ends = []  # pixels to add below and on the right, so that complete windows fit as often as there are outputs
    for n, size, step, before, after in zip(x.shape[2:], k, stride, (top, left), (bottom, right)):
        room = n + before + after - size
        outputs = min(-(-room // step), (n + before - 1) // step) if ceil else room // step
        ends.append(outputs * step + size - before - n)
    sides = (left, ends[1], top, ends[0])
    if largest:
        return F.max_pool2d(F.pad(x, sides, value=-torch.inf), k, stride)
    ones = torch.ones_like(x[:1, :1])
    counted = (F.pad(F.pad(ones, (left, right, top, bottom), value=1.0), (0, ends[1] - right, 0, ends[0] - bottom))
               if counts else F.pad(ones, sides))
    return F.avg_pool2d(F.pad(x, sides), k, stride) / F.avg_pool2d(counted, k, stride)


def op_linear(x, weight, bias=None, *, activation="none"):
    return ACTIVATIONS[activation](F.linear(x, weight, bias))


def op_batch_norm(x, weight, bias, running_mean, running_var, residual=None, *, eps, momentum, activation="none", training):
    y = F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    return ACTIVATIONS[activation](y if residual is None else y + residual)


def op_activation(x, *, function):
    return ACTIVATIONS[function](x)


def op_clip(x, *, min=None, max=None):
    return x if min is max is None else x.clamp(min, max)


def op_max_pool2d(x, *, window, stride, pad, ceil_mode=0):
    return pooled(True, x, window, stride, pad, bool(ceil_mode), True)


def op_average_pool2d(x, *, window, stride, pad, ceil_mode=0, count_include_pad=1):
    return pooled(False, x, window, stride, pad, bool(ceil_mode), bool(count_include_pad))


def op_global_average_pool(x):
    return x.mean((2, 3))


def op_adaptive_average_pool2d(x, *, height, width):
    return F.adaptive_avg_pool2d(x, (height, width))


def op_flatten(x):
    return x.flatten(1)


def beside(x, s, as_image):
    """s beside x, of its shape or one number a channel, of an image or of all: [N,C] or [C] beside [N,C,H,W]; or [N,H,W,C]."""
    if s.dim() == 2 and x.dim() == 4:
        return s[..., None, None] if as_image else s[:, None, None]
    return s[..., None, None] if s.dim() < x.dim() == 4 and as_image else s


def op_add(a, b, *, as_image):
    return a + beside(a, b, as_image)


def op_mul(a, b, *, as_image):
    return a * beside(a, b, as_image)


def op_scale(x, *, factor):
    return x * factor


def op_sum(x):
    return x.sum()


def op_mean(x):
    return x.mean()


def op_dropout(x, *, p, training):
    return F.dropout(x, p, training)


def op_concat(*parts, axis=-1, as_image):
    if not -1 <= axis < parts[0].dim() or axis == 0:
        raise ValueError(f"concat: there is no axis {axis}")
    return torch.cat(parts, {-1: 1, 1: 2, 2: 3, 3: 1}[axis] if as_image else axis)


def op_slice(x, *, first, channels, as_image):
    return x.narrow(1 if as_image else -1, first, channels)


def op_reshape(x, *, sizes):
    return x.reshape(x.shape[0], *sizes)


def op_select(x, *, axis, index):
    return x.select(axis, index)


def op_permute(x, *, axes):
    return x.permute(axes)


def op_pad(x, *, sides, value):
    top, left, bottom, right = sides
    return F.pad(x, (left, right, top, bottom), value=value)


def op_expand(x, one):
    return one.expand(x.shape[0], *one.shape[1:])


def op_layer_norm(x, weight, bias, *, eps):
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def op_softmax(x):
    return x.softmax(-1)


def op_matmul(a, b, *, a_transposed, b_transposed):
    return (a.transpose(-1, -2) if a_transposed else a) @ (b.transpose(-1, -2) if b_transposed else b)


# What has four axes lies as images do in PyTorch, [N,C,H,W], after the first of these; as tokens, channels last, after
# the second; after others as their first input does.
IMAGES = {"conv2d", "batch_norm", "max_pool2d", "average_pool2d", "global_average_pool", "adaptive_average_pool2d", "flatten", "pad"}
TOKENS = {"linear", "layer_norm", "softmax", "matmul", "reshape", "permute", "select", "expand"}
# Number by number: where these may stand, the order of the numbers does not matter.
ELEMENTWISE = {"activation", "clip", "dropout", "scale", "add", "mul"}
# What an op's function may ask beside these: whether the network is in training, and how what comes in lies.
ASKED = {"training", "as_image"}
# An op's function has its inputs and attributes by the names of its row (graph/ops/*.cpp); what a row leaves open has a default.
OPS = {name.removeprefix("op_"): function for name, function in list(globals().items()) if name.startswith("op_")}
PARAMETERS = {name: inspect.signature(function).parameters for name, function in OPS.items()}


def parameters_of(op, *kinds):
    """Of an op's function, by name."""
    return {name: one for name, one in PARAMETERS[op].items() if one.kind in kinds and name not in ASKED}


def inputs_of(op):
    return parameters_of(op, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


# Numbers that may be lists where axes, [down, across], or sides, [top, left, bottom, right], are not alike.
# None: a list of any length.
LISTS = {"window": 2, "stride": 2, "dilation": 2, "pad": 4, "sides": 4, "sizes": None, "axes": None}

KINDS = {dict: "an object", list: "a list", str: "text", int: "a whole number", (int, float): "a number", (int, float, list): "a number",
         (dict, list): "an object"}


def part(of, key, kind):
    """of[key] of a JSON object, which must be there and of this kind."""
    if not isinstance(of, dict) or key not in of:
        raise ValueError(f"has no '{key}'")
    if not isinstance(of[key], kind) or isinstance(of[key], bool):
        raise ValueError(f"'{key}' is {json.dumps(of[key])[:40]}, expected {KINDS[kind]}")
    return of[key]


def check_attributes(name, attributes):
    """ValueError unless they are those of the op."""
    expected = parameters_of(name, inspect.Parameter.KEYWORD_ONLY)
    for key in expected:
        if expected[key].default is inspect.Parameter.empty or key in attributes:
            textual = key in ("activation", "function")
            found = part(attributes, key, str if textual else (int, float, list) if key in LISTS else (int, float))
            length = LISTS.get(key)
            if isinstance(found, list) and (length not in (None, len(found)) or not all(type(n) is int for n in found)):
                raise ValueError(f"'{key}' is {json.dumps(found)[:40]}, expected {length} whole numbers"
                                 if length else f"'{key}' are no whole numbers")
            if textual and found not in ACTIVATIONS:
                raise ValueError(f"'{found}' is no activation")
    for key in attributes:
        if key not in expected:
            raise ValueError(f"'{key}' is no attribute of it")


def check_op(op, known):
    """Makes its inputs a list of numbers of values, None for one that is left out. ValueError unless all is there that its
    function needs, and the values are `known`."""
    name, attributes, inputs = part(op, "op", str), part(op, "attributes", dict), part(op, "inputs", (dict, list))
    expected = inputs_of(name) if name in OPS else {}
    if isinstance(inputs, dict):
        for key in inputs:
            if key not in expected:
                raise ValueError(f"'inputs': it has none called '{key}'")
        several = [key for key, one in expected.items() if one.kind is inspect.Parameter.VAR_POSITIONAL]
        inputs = [inputs.get(key) for key in expected if key not in several] + [v for key in several for v in part(inputs, key, list)]
    else:  # as files had them before version 2, and ops of a program's own have them
        inputs = [None if value == -1 else value for value in inputs]
    while inputs and inputs[-1] is None:
        inputs.pop()
    if not inputs or inputs[0] is None:
        raise ValueError("has no inputs")
    op["inputs"] = inputs
    for value in inputs:
        if value is not None and (not isinstance(value, int) or value not in known):
            raise ValueError(f"'inputs': value {json.dumps(value)} does not exist there")
    if name in OPS:
        for number, (key, one) in enumerate(expected.items()):
            required = one.kind is inspect.Parameter.VAR_POSITIONAL or one.default is inspect.Parameter.empty
            if required and (number >= len(inputs) or inputs[number] is None):
                raise ValueError(f"has no input '{key}'")
        if len(inputs) > len(expected) and not any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in expected.values()):
            raise ValueError(f"has {len(inputs)} inputs, expected {len(expected)}")
        check_attributes(name, attributes)


def check_description(description, tensors):
    """ValueError unless it is a network of these tensors."""
    if isinstance(description, dict) and description.get("version", 1) not in (1, 2):
        raise ValueError(f"found version {description['version']}, expected at most 2: it is a later Espalier's")
    values, ops = part(description, "values", list), part(description, "ops", list)
    known = {0}
    for number, value in enumerate(values):
        shape = part(value, "shape", list)
        if not all(isinstance(size, int) for size in shape):
            raise ValueError(f"'values': the shape of value {number} is {json.dumps(shape)[:40]}")
        if "parameter" in value:
            known.add(number)
            if part(value, "parameter", str) not in tensors:
                raise ValueError(f"the file has no tensor '{value['parameter']}'")
    if not values or len(values[0]["shape"]) != 4:
        raise ValueError("its first value is no image")
    if not ops:
        raise ValueError("has no ops")
    for number, op in enumerate(ops):
        try:
            check_op(op, known)
            known.add(part(op, "output", int))
            if not 0 <= op["output"] < len(values):
                raise ValueError(f"'output': value {op['output']} does not exist")
        except ValueError as error:
            raise ValueError(f"op {number}: {error}") from None
    last = ops[-1]["output"]
    if not 0 <= last < len(values) or len(values[last]["shape"]) != 2:
        raise ValueError("puts out no row of logits")


class Node(torch.nn.Module):
    """Part of the tree of a file's names. These may be any, also such as a module itself has (type, train, half), so they
    are put where torch keeps them without passing by its attributes."""

    def __setattr__(self, name, value):
        if name == "training":  # which a child may be called, too
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def add(self, path, tensor):
        first, *rest = path
        if rest:
            self._modules.setdefault(first, Node()).add(rest, tensor)
        elif tensor.is_floating_point() and not first.startswith("running_"):
            self._parameters[first] = torch.nn.Parameter(tensor)
        else:
            self._buffers[first] = tensor


class Network(Node):
    """Runs the ops of a graph in order, on images [N,C,H,W]. Its state_dict has the file's names."""

    def __init__(self, description, tensors, classes=None, normalize=None, own_ops=None):
        super().__init__()
        check_description(description, tensors)
        self.ops, self.own_ops = description["ops"], own_ops or {}
        values = description["values"]
        self.names = [value.get("parameter", "") for value in values]
        self.input = tuple(values[0]["shape"][1:])
        outputs = values[self.ops[-1]["output"]]["shape"][-1]
        self.classes = classes or [str(number) for number in range(outputs)]
        if not isinstance(self.classes, list) or not all(isinstance(name, str) for name in self.classes):
            raise ValueError("its classes are no list of names")
        if len(self.classes) != outputs:
            raise ValueError(f"{len(self.classes)} names of classes for {outputs} outputs")
        channels = self.input[2]
        normalize = normalize or {"mean": [0.0] * channels, "std": [1.0] * channels}
        for key in ("mean", "std"):
            numbers = part(normalize, key, list)
            if len(numbers) != channels or not all(isinstance(number, (int, float)) for number in numbers):
                raise ValueError(f"'{key}' is not one number for each of {channels} channels")
        self.mean, self.std = (torch.tensor(normalize[key], dtype=torch.float32).reshape(-1, 1, 1)
                               for key in ("mean", "std"))
        for name, tensor in tensors.items():
            self.add(name.split("."), tensor)
        self.axes = [len(value["shape"]) for value in values]
        self.images = {0}
        for op in self.ops:
            if self.takes_images(op) and self.axes[op["output"]] == 4:
                self.images.add(op["output"])

        self.check_order()

    def check_order(self):
        """After a flatten of several pixels PyTorch has the numbers in another order than the file; only a linear layer's
        columns are put right there. ValueError for what else would meet the wrong ones."""
        flattened = set()
        for number, op in enumerate(self.ops):
            name, inputs = op["op"], [value for value in op["inputs"] if value is not None]
            if name == "flatten" and op.get("channels", {}).get("values", [1])[:1] != [1]:
                flattened.add(op["output"])
            elif flattened.isdisjoint(inputs) or name in ("linear", "sum", "mean"):
                continue
            elif name in ELEMENTWISE and flattened.issuperset(inputs):
                flattened.add(op["output"])
            else:
                raise ValueError(f"op {number}: '{name}' of a flattened image, whose numbers PyTorch has in another order")

    def takes_images(self, op):
        return op["op"] in IMAGES or op["op"] not in TOKENS and op["inputs"][0] in self.images

    def laid_out(self, tensor, number, as_image):
        """A value as an op takes it."""
        if number is None or self.axes[number] != 4 or self.names[number] or (number in self.images) == as_image:
            return tensor
        return tensor.permute(0, 3, 1, 2) if as_image else tensor.permute(0, 2, 3, 1)

    def normalized(self, pixels):
        """Pixels [N,C,H,W] in 0..1 as the network was trained on them."""
        return (pixels - self.mean.to(pixels)) / self.std.to(pixels)

    def forward(self, x):
        own = dict(self.named_parameters()) | dict(self.named_buffers())
        values = {None: None, 0: x} | {i: own[name] for i, name in enumerate(self.names) if name}
        for op in self.ops:
            as_image = self.takes_images(op)
            inputs = [self.laid_out(values[i], i, as_image) for i in op["inputs"]]
            values[op["output"]] = self.run(op, inputs, as_image)
        return values[self.ops[-1]["output"]]

    def run(self, op, inputs, as_image):
        name, attributes = op["op"], op["attributes"]
        if name in self.own_ops:
            return self.own_ops[name](attributes, *inputs)
        if name not in OPS:
            raise ValueError(f"op '{name}' is not known here: give load() a function for it")
        attributes = attributes | {"training": self.training, "as_image": as_image}
        return OPS[name](*inputs, **{key: value for key, value in attributes.items() if key in PARAMETERS[name]})


def opened(path):
    """A safetensors file. ValueError if it is none."""
    if os.path.isdir(path):
        inside = os.path.join(path, "checkpoint.safetensors")
        raise ValueError(f"{path}: is a folder" + (f"; its checkpoint is {inside}" if os.path.exists(inside) else ""))
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None


def load(path, own_ops=None):
    """The network of a file, in inference mode. `own_ops`: for ops of a program's own, by name, what computes them from
    their attributes and inputs. ValueError if the file is none of Espalier's."""
    with opened(path) as file:
        metadata = file.metadata() or {}
        if "espalier.network" not in metadata:
            raise ValueError(f"{path}: has no 'espalier.network' in its metadata: not a file of Espalier's")
        tensors = {name: file.get_tensor(name) for name in file.keys() if "/" not in name}
        for name in file.keys():  # while a moving average is kept, it is what Espalier evaluates
            if name.startswith("average/"):
                tensors[name.removeprefix("average/")] = file.get_tensor(name)
    try:
        said = {key.removeprefix("espalier."): json.loads(text) for key, text in metadata.items()
                if key in ("espalier.network", "espalier.classes", "espalier.normalize", "espalier.config")}
        # A run's file has its config; a program's own says the one thing of it that is needed here.
        normalize = part(said["config"], "data", dict).get("normalize") if "config" in said else said.get("normalize")
        return Network(said["network"], tensors, said.get("classes"), normalize, own_ops).eval()
    except ValueError as error:
        raise ValueError(f"{path}: its network cannot be read: {error}") from None


def check(model, path):
    """Compares with images and logits that Espalier wrote; the largest difference, relative to the largest logit."""
    with opened(path) as file:
        if not {"images", "logits"} <= set(file.keys()):
            raise ValueError(f"{path}: holds no images and logits: not what `espalier eval --logits` writes")
        images, logits = file.get_tensor("images"), file.get_tensor("logits")
    with torch.inference_mode():
        difference = (model(images) - logits).abs().max()
    return (difference / logits.abs().max()).item() if difference != 0 else 0.0, len(images)


def numbers(tensor):
    return ", ".join(f"{value:g}" for value in tensor.flatten().tolist())


def decimals(tensor):
    """The shortest that mean its numbers: 0.49, not 0.49000000953674316."""
    return [float(str(value)) for value in tensor.flatten().numpy()]


def export_onnx(model, path):
    """Writes the network as ONNX, all of it or nothing, and compares logits where ONNX Runtime is installed. Returns what was
    checked."""
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise ValueError(f"{path}: cannot be written: there is no folder {folder}")
    if os.path.isdir(path):
        raise ValueError(f"{path}: cannot be written: it is a folder")
    height, width, channels = model.input
    images = torch.rand(3, channels, height, width, generator=torch.Generator().manual_seed(0))
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The exporter that needs no other package.
            torch.onnx.export(model, (images,), temporary, dynamo=False, input_names=["images"], output_names=["logits"],
                              dynamic_axes={"images": {0: "N"}, "logits": {0: "N"}})
        checked = check_onnx(model, temporary, images)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    return checked


def check_onnx(model, path, images):
    """Adds class names and normalisation to the file's metadata. ValueError if it computes something else than `model`."""
    try:
        import onnx
    except ImportError:
        return "not checked: onnx is not installed"
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    onnx.helper.set_model_props(made, {"classes": json.dumps(model.classes), "mean": json.dumps(decimals(model.mean)),
                                       "std": json.dumps(decimals(model.std))})
    onnx.save(made, path)
    try:
        import onnxruntime
    except ImportError:
        return "checked by onnx; not run: onnxruntime is not installed"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for some in (images, images[:1]):  # another batch than the one it was exported with, too
        with torch.inference_mode():
            expected = model(some)
        logits = torch.from_numpy(session.run(["logits"], {"images": some.numpy()})[0])
        worst = max(worst, ((logits - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item())
    if not worst <= 1e-4:
        raise ValueError(f"logits by ONNX Runtime differ by {worst:.2g} of the largest")
    return f"logits by ONNX Runtime differ by {worst:.2g} of the largest"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="a checkpoint or model of a run")
    parser.add_argument("--check", metavar="PASS", help="images and logits of `espalier eval FILE --logits PASS`")
    parser.add_argument("--onnx", metavar="OUT", help="write it as ONNX, the batch of any size")
    arguments = parser.parse_args()
    try:
        model = load(arguments.file)
        for name, tensor in model.named_parameters():
            print(f"{name:32} {'x'.join(map(str, tensor.shape))}")
        print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
        print(f"images {'x'.join(map(str, model.input))}, (pixels - mean) / std: mean {numbers(model.mean)}, "
              f"std {numbers(model.std)}")
        more = ", ..." if len(model.classes) > 10 else ""
        print(f"{len(model.classes)} classes: {', '.join(model.classes[:10])}{more}")
        if arguments.check:
            difference, images = check(model, arguments.check)
            print(f"logits of {images} images differ by {difference:.2g} of the largest")
            if not difference <= 1e-4:  # NaN fails, too
                return 1
        if arguments.onnx:
            if os.path.exists(arguments.onnx) and os.path.samefile(arguments.onnx, arguments.file):
                raise ValueError(f"{arguments.onnx}: is the input")
            print(f"{arguments.onnx}: {export_onnx(model, arguments.onnx)}")
    except (ValueError, OSError) as error:
        print(f"load_in_torch: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # torch's, of shapes that do not fit each other
        print(f"load_in_torch: {arguments.file}: its network cannot be run: {str(error).splitlines()[0]}",
              file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
