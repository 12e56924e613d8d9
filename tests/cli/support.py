"""What the tests of the command line share: the program, folders of small data, and what a failure must look like."""

import ctypes
import json
import os
import pathlib
import random
import re
import resource
import signal
import struct
import subprocess
import tempfile
import unittest
import zlib

BINARY = os.environ.get("ESPALIER_BINARY") or str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/espalier")
SIDE = 8  # pixels of an image's side: small, so that runs are quick


def idx_images(images, side=SIDE):
    return struct.pack(">4I", 0x803, len(images), side, side) + b"".join(images)


def idx_labels(labels):
    return struct.pack(">2I", 0x801, len(labels)) + bytes(labels)


def draw(label, noise):
    """A bright bar whose place says the label, on a noisy ground."""
    pixels = [noise.randrange(90) for _ in range(SIDE * SIDE)]
    for i in range(SIDE):
        pixels[(label % 5 + 1) * SIDE + i if label < 5 else i * SIDE + label % 5 + 1] = 120 + noise.randrange(120)
    return bytes(pixels)


def write_data(folder, train=120, test=40, wrong=1000):
    """Four IDX files of ten classes, as MNIST's; every `wrong`-th label says nothing of its image."""
    noise = random.Random(0)
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        labels = [i % 10 for i in range(count)]
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_labels(labels))
        shown = [label if i % wrong else noise.randrange(10) for i, label in enumerate(labels)]
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_images([draw(label, noise) for label in shown]))


def sgd(**others):
    return {"optimizer": {"type": "sgd", "lr": 0.05}, **others}


def config(*stages, **others):
    return {"model": {"type": "mlp", "input": [SIDE, SIDE, 1], "hidden": [12]},
            "data": {"type": "mnist", "batch": 10},
            "stages": list(stages) or [{"name": "dense", "train": sgd(steps=20)},
                                       {"name": "pruned", "prune": {"sparsity": 0.5}}], **others}


def snapshot(folder):
    """Every file below `folder` with its bytes, every folder with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="espalier-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def command(self, *arguments, environment=None, file_limit=None, drop_override=False):
        """The arguments of subprocess for `espalier ARGUMENTS` in this test's folder."""
        settings = {key: value for key, value in os.environ.items() if not key.startswith("ESPALIER_")}
        settings.update({"OMP_NUM_THREADS": "1", **(environment or {})})

        def prepare():
            for which in SIGNALS:  # shells start what is in the background with some of them ignored
                signal.signal(which, signal.SIG_DFL)
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            if drop_override and os.geteuid() == 0:  # so that root, too, may read and write only what it is allowed to
                pr_capbset_drop, cap_dac_override, cap_dac_read_search = 24, 1, 2
                for capability in (cap_dac_override, cap_dac_read_search):
                    ctypes.CDLL(None).prctl(pr_capbset_drop, capability, 0, 0, 0)

        return {"args": [BINARY, *map(str, arguments)], "cwd": self.folder, "env": settings, "text": True,
                "preexec_fn": prepare}

    def espalier(self, *arguments, **options):
        return subprocess.run(**self.command(*arguments, **options), capture_output=True, timeout=120)

    def succeeds(self, *arguments, **options):
        """What it prints."""
        result = self.espalier(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def fails(self, code, message, *arguments, **options):
        """It ends with `code`, says `message` alone, and what was on disk before is untouched."""
        before = snapshot(self.folder)
        result = self.espalier(*arguments, **options)
        self.assertEqual((result.stderr, result.returncode), (f"espalier: {message}\n", code), result.stdout)
        after = snapshot(self.folder)
        self.assertEqual({name: after.get(name, "gone") for name in before}, before)
        return result

    def fails_unwritten(self, code, message, *arguments, **options):
        """The same, and nothing new is on disk or was printed."""
        before = snapshot(self.folder)
        result = self.fails(code, message, *arguments, **options)
        self.assertEqual(snapshot(self.folder).keys(), before.keys())
        self.assertEqual(result.stdout, "")

    def write(self, name, content):
        """Writes JSON, text or bytes, and returns `name`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    def write_data(self, **sizes):
        write_data(self.folder / "data" / "mnist", **sizes)

    def allowed(self, *path):
        """The names that a field may have, "a, b, c": ("train", "optimizer", "type") of a stage, ("data", "type")."""
        schema = json.loads(self.succeeds("help", "schema"))["properties"]
        if path[0] in ("train", "prune"):
            schema = schema["stages"]["items"]["properties"]
        for name in path[:-1]:
            schema = schema[name]["properties"]
        return ", ".join(names_in(schema[path[-1]]))

    def read_json(self, name):
        return json.loads((self.folder / name).read_text())


def names_in(schema):
    """Those that a field may have: alone, or in the first of several forms."""
    return schema["enum"] if "enum" in schema else names_in(schema["anyOf"][0])


def without(value, names):
    """JSON without the fields of these names, at any depth."""
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def safetensors(path):
    """{name: (dtype, shape, bytes)} and the metadata, without the checksums of both."""
    content = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    metadata = header.pop("__metadata__", {})
    metadata.pop("espalier.checksums", None)
    return {name: (entry["dtype"], entry["shape"], content[start + entry["data_offsets"][0]:
                                                           start + entry["data_offsets"][1]])
            for name, entry in header.items()}, metadata


def safetensors_bytes(tensors, metadata=None, lie=lambda header: None):
    """A file of {name: (shape, floats)}; `lie` may change the header before it is written."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    if metadata:
        header["__metadata__"] = metadata
    lie(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def png(height, width, channels, pixels, bits=8):
    """A PNG of these bytes, or of one value; a sample is two bytes where `bits` is 16."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = width * channels * bits // 8
    pixels = bytes([pixels] * row * height) if isinstance(pixels, int) else pixels
    header = struct.pack(">2I5B", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + pixels[y * row:(y + 1) * row] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


# Of which no two runs have the same.
TIMES = {"seconds", "run_seconds", "train_seconds", "images_per_second", "latency_ms", "latency_speedup",
         "data_seconds", "metrics_bytes", "time_share"}


class Outcomes(CliTest):
    def outcome(self, folder):
        """All that a run has come to, without times."""
        folder = self.folder / folder
        tensors, metadata = safetensors(folder / "checkpoint.safetensors")
        metadata = {key: without(json.loads(value), TIMES) for key, value in metadata.items() if key != "format"}
        return {"models": {path.name: path.read_bytes() for path in (folder / "models").iterdir()},
                "metrics": [without(json.loads(row), TIMES) for row in (folder / "metrics.jsonl").read_text().splitlines()],
                "checkpoint": (tensors, metadata),
                "result": without(json.loads((folder / "result.json").read_text()), TIMES)}

    def assert_same_outcome(self, folder, expected, longer=False):
        """`longer`: it has been made so, and the models that it left before say the config of then, as its checkpoint
        says how long it was to be when it began."""
        actual = self.outcome(folder)
        if longer:
            for outcome in (actual, expected):
                outcome["models"] = {name: self.weights(model) for name, model in outcome["models"].items()}
                outcome["checkpoint"] = without(outcome["checkpoint"][1], {"begun"}), outcome["checkpoint"][0]
        for part in ("metrics", "result", "models", "checkpoint"):
            self.assertTrue(actual[part] == expected[part], f"{part} of {folder} differs")

    def weights(self, model):
        (self.folder / "model").write_bytes(model)
        tensors, metadata = safetensors(self.folder / "model")
        return tensors, {key: value for key, value in metadata.items() if key != "espalier.config"}

    def interrupt(self, *arguments):
        """Ends `espalier ARGUMENTS` by SIGINT once it has trained an epoch, the first of a new run; what it says of that."""
        with subprocess.Popen(**self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            for line in process.stdout:
                if re.search(r"epoch \d+/", line):
                    break
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, err)
        return err
