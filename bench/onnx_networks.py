"""Networks of torchvision's, exported by PyTorch, through Espalier: the table of docs/onnx.md.

Each, with random weights of a fixed seed and norms that have seen images, is exported to ONNX by torch.onnx.export (the
TorchScript exporter, opset 17; --dynamo: the newer one) and imported. Then
  logits       Espalier's against ONNX Runtime's, of batches of 1 and of 3 images, relative to the largest
  parameters   how many: the ONNX file's, which Espalier's must be
  cut          to half the MACs by channels, whether that is the masked network (the largest difference, as the run says)
  trained      ten steps of the cut network
  back         exported again: ONNX Runtime's logits, and OpenVINO's in f32, against those of PyTorch's file

Needs torch, torchvision, onnx, onnxruntime, openvino and Pillow."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy

NETWORKS = ("resnet18 resnet50 vgg16_bn mobilenet_v2 mobilenet_v3_small densenet121 squeezenet1_1 efficientnet_b0 "
            "shufflenet_v2_x1_0 regnet_y_400mf googlenet mnasnet1_0 convnext_tiny").split()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, CLASSES = 224, 1000


def smooth_images(count, seed):
    """[N,H,W,C] u8"""
    from PIL import Image
    dice = numpy.random.default_rng(seed)
    small = dice.integers(0, 256, (count, 7, 7, 3), dtype=numpy.uint8)
    return numpy.stack([numpy.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.BICUBIC)) for image in small])


def normalized(images):
    """[N,C,H,W] f32"""
    return ((images.astype(numpy.float32) / 255 - numpy.float32(MEAN)) / numpy.float32(STD)).transpose(0, 3, 1, 2).copy()


def network(name):
    """With norms as after some training, and logits of about 1 that differ from image to image."""
    import torch
    import torchvision
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options)
    images = torch.from_numpy(normalized(smooth_images(8, 7)))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.2, 0.2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.train()
        model(images)
        model.eval()
        logits = model(images)
        last = [module for module in model.modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))][-1]
        last.weight /= (logits - logits.mean(0)).std()
    return model


def export(model, file, dynamo):
    import torch
    warnings.simplefilter("ignore")
    if dynamo:
        torch.onnx.export(model, (torch.zeros(2, 3, SIDE, SIDE),), file, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("N")},))
    else:
        torch.onnx.export(model, torch.zeros(1, 3, SIDE, SIDE), file, dynamo=False, opset_version=17, input_names=["input"],
                          output_names=["output"], dynamic_axes={"input": {0: "N"}, "output": {0: "N"}})


def parameters_of(file):
    """Learned numbers: what is no statistic, no shape and no scalar."""
    import onnx
    model = onnx.load(file)
    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    return sum(int(numpy.prod(tensor.dims)) for tensor in model.graph.initializer
               if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in statistics and numpy.prod(tensor.dims) > 1)


class Espalier:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"espalier {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def log_softmax(self, file, images):
        from PIL import Image
        where = self.folder / "images"
        where.mkdir(exist_ok=True)
        for old in where.iterdir():
            old.unlink()
        for i, image in enumerate(images):
            Image.fromarray(image).save(where / f"{i}.png")
        found = numpy.zeros((len(images), CLASSES))
        for i, line in enumerate(self("predict", file, "images", "--top", CLASSES, "--json").splitlines()):
            for one in json.loads(line)["predictions"]:
                found[i, one["class"]] = numpy.log(one["probability"])
        return found


def log_softmax(logits):
    shifted = logits.astype(numpy.float64) - logits.max(1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(1, keepdims=True))


def distance(found, expected):
    return float(numpy.abs(found - expected).max() / numpy.abs(expected).max())


def row(name, espalier, dynamo):
    import onnx
    import onnxruntime
    import openvino
    folder = espalier.folder
    export(network(name), str(folder / "net.onnx"), dynamo)
    def logits(file, images):
        session = onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})[0]
    images = smooth_images(3, 1)
    pixels = normalized(images)
    expected = logits("net.onnx", pixels)
    spread = float(numpy.abs(expected[0] - expected[1]).max() / numpy.abs(expected).max())
    if spread < 0.01:
        raise RuntimeError(f"{name}: logits hardly depend on the images")
    espalier("import", "net.onnx", "-o", "net.safetensors", "--input", f"{SIDE}x{SIDE}x3",
             "--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
    inspected = json.loads(espalier("inspect", "net.safetensors", "--json"))
    of_three = distance(espalier.log_softmax("net.safetensors", images), log_softmax(expected))
    of_one = max(distance(espalier.log_softmax("net.safetensors", images[i:i + 1]), log_softmax(expected[i:i + 1])) for i in range(3))
    (folder / "cut.json").write_text(json.dumps(
        {"name": "cut", "model": {"weights": "net.safetensors"},
         "data": {"type": "synthetic", "train_images": 40, "test_images": 8, "batch": 4},
         "stages": [{"name": "half", "prune": {"unit": "channel", "speedup": 2, "verify": True}},
                    {"name": "tuned", "train": {"steps": 10, "optimizer": {"type": "sgd", "lr": 1e-5}}}]}))
    said = espalier("train", "cut.json", "--output", "run")
    differ = re.search(r"cut and masked network differ by (\S+) at most, the largest output is ([\d.e+-]+)", said)
    result = json.loads((folder / "run" / "result.json").read_text())
    half, tuned = result["stages"][-2:]
    espalier("export", "net.safetensors", "--onnx", "back.onnx")
    onnx.checker.check_model(str(folder / "back.onnx"), full_check=True)
    back = distance(logits("back.onnx", pixels), expected)
    vino = openvino.Core().compile_model(str(folder / "back.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels)[0]
    espalier("export", "run/models/tuned.safetensors", "--onnx", "cut.onnx")
    logits("cut.onnx", pixels)
    return {"name": name, "parameters": inspected["parameters"], "of_file": parameters_of(folder / "net.onnx"),
            "macs": inspected["macs"], "batch 1": of_one, "batch 3": of_three, "half": half, "tuned": tuned, "differ": float(differ[1]) / float(differ[2]),
            "back": back, "openvino": distance(vino, expected)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--espalier", default=str(pathlib.Path(__file__).parents[1] / "build/release/bin/espalier"))
    parser.add_argument("--dynamo", action="store_true", help="by PyTorch's newer exporter")
    parser.add_argument("names", nargs="*", default=NETWORKS)
    arguments = parser.parse_args()
    print("| network | parameters | MACs | batch 1 | batch 3 | cut to half | ten steps | back | OpenVINO |\n|---|---|---|---|---|---|---|---|---|")
    for name in arguments.names or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                r = row(name, Espalier(arguments.espalier, pathlib.Path(folder)), arguments.dynamo)
            except Exception as error:  # the others' rows are worth having
                print(f"| {name} | {str(error).splitlines()[0][:300]} |", flush=True)
                continue
            same = "" if r["parameters"] == r["of_file"] else f" (file: {r['of_file']:,})"
            print(f"| {name} | {r['parameters']:,}{same} | {r['macs']:,} | {r['batch 1']:.0e} | {r['batch 3']:.0e} | "
                  f"{r['macs'] / r['half']['macs']:.2f}x, {r['differ']:.0e} | loss {r['tuned']['loss']:.3g} | {r['back']:.0e} | {r['openvino']:.0e} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
