"""What is wrong in configs, data, weights and folders: one line, the right exit code, nothing touched on disk."""

import json
import lzma
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, SIDE, config, idx_images, idx_labels, safetensors_bytes, sgd


def edited(*path_and_value):
    """The small config with one field set; None takes it away."""
    *path, last, value = path_and_value
    root = config()
    at = root
    for key in path:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return root


class BadConfig(CliTest):
    """The messages themselves are tests/train's; here it is that every command gives them."""

    def test_refused(self):
        share, count = "a number from 0 to 1", "a whole number of at least 1"
        for bad, message in (
                (edited("datas", 1), "/datas: no such field, did you mean 'data'?"),
                (edited("stages", 0, "train", "optimizer", "lrate", 1),
                 "/stages/0/train/optimizer/lrate: no such field, did you mean 'lr'?"),
                (edited("model", "type", "mpl"), "/model/type: found the text \"mpl\", expected one of mlp, lenet300, "
                 "lenet5, vgg11, vgg13, vgg16, vgg19, resnet20, resnet32, resnet44, resnet56, resnet110, resnet18, "
                 "resnet34, resnet50, resnet101, resnet152, did you mean 'mlp'?"),
                (edited("data", None), "/data: missing, expected an object"),
                (edited("data", "batch", "ten"), f"/data/batch: found the text \"ten\", expected {count}"),
                (edited("data", "batch", 0), f"/data/batch: found 0, expected {count}"),
                (edited("stages", 1, "prune", "sparsity", 1.5),
                 f"/stages/1/prune/sparsity: found 1.5, expected {share}"),
                (edited("stages", 1, "prune", "sparsity", -0.1),
                 f"/stages/1/prune/sparsity: found -0.1, expected {share}"),
        ):
            self.write("bad.json", bad)
            for command in ("train", "check", "inspect"):
                with self.subTest(command=command, expected=message):
                    self.fails_unwritten(2, f"bad.json: {message}", command, "bad.json")

    def test_not_json(self):
        self.write("bad.json", '{\n  "model": {"type": "mlp",}\n}\n')
        for command in ("train", "check", "inspect"):
            self.fails_unwritten(2, "bad.json:2:27: not JSON: a comma before '}'", command, "bad.json")

    def test_cannot_be_read(self):
        (self.folder / "folder.json").mkdir()
        for command in ("train", "check", "inspect"):
            self.fails_unwritten(2, "none.json: cannot open: No such file or directory", command, "none.json")
            self.fails_unwritten(2, "folder.json: is a folder, a file is expected", command, "folder.json")

    def test_set(self):
        self.write("small.json", config())
        for assignment, message in (
                ("stages.dnese.train.steps=1", "/stages: no element 'dnese' in a list of 2, did you mean 'dense'?"),
                ("seed", "expected path.to.field=value")):
            self.fails_unwritten(2, f"--set {assignment}: {message}", "train", "small.json", "--set", assignment)


class BadData(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())
        self.images = (self.folder / "data/mnist/train-images-idx3-ubyte").read_bytes()
        self.labels = (self.folder / "data/mnist/train-labels-idx1-ubyte").read_bytes()

    def refused(self, name, content, message, code=1):
        file = self.folder / "data" / "mnist" / name
        good = file.read_bytes()
        file.write_bytes(content)
        for command in ("train", "check"):
            with self.subTest(command=command, expected=message):
                self.fails_unwritten(code, message, command, "small.json")
        file.write_bytes(good)

    def test_images(self):
        name = "train-images-idx3-ubyte"
        place = f"data/mnist/{name}"
        size = len(self.images) - 16
        self.refused(name, b"", f"{place}: cut short: 0 bytes, the header alone is 16")
        self.refused(name, self.images[:10], f"{place}: cut short: 10 bytes, the header alone is 16")
        self.refused(name, self.images[:-1], f"{place}: cut short: {size - 1} bytes after the header, {size} expected "
                                             "(120 x 8 x 8)")
        self.refused(name, self.images + b"!", f"{place}: too long: {size + 1} bytes after the header, {size} expected "
                                               "(120 x 8 x 8)")
        self.refused(name, b"\x89PNG" + self.images[4:],
                     f"{place}: magic number 0x89504e47, expected 0x00000803 (images)")
        self.refused(name, self.labels, f"{place}: magic number 0x00000801 (labels), expected 0x00000803 (images)")
        huge = struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)
        self.refused(name, huge, f"{place}: cut short: 0 bytes after the header, {(2**32 - 1)**3} expected "
                                 "(4294967295 x 4294967295 x 4294967295)")
        packed = lzma.compress(self.images)[:-9]
        self.refused(name, packed,
                     f"{place}: xz data cut short at byte {len(packed)}, after {size + 16} unpacked bytes")

    def test_labels(self):
        name = "train-labels-idx1-ubyte"
        place = f"data/mnist/{name}"
        self.refused(name, idx_labels([11] + [0] * 119),
                     f"{place}: label 11 of image 0 at byte 8, expected 0 to 9")
        self.refused(name, idx_labels([0] * 119),
                     f"{place}: 119 labels, but data/mnist/train-images-idx3-ubyte holds 120 images")

    def test_splits_that_do_not_belong_together(self):
        self.refused("t10k-images-idx3-ubyte", idx_images([bytes(16)] * 40, side=4),
                     "data/mnist/t10k-images-idx3-ubyte: images of 4 x 4, but data/mnist/train-images-idx3-ubyte "
                     "holds 8 x 8")

    def test_missing(self):
        (self.folder / "data/mnist/t10k-labels-idx1-ubyte").unlink()
        for command in ("train", "check"):
            self.fails_unwritten(1, "mnist: data/mnist lacks t10k-labels-idx1-ubyte (plain, .gz or .xz); get them by "
                                    "`scripts/get-data mnist`, or say where they are by --data or ESPALIER_DATA",
                                 command, "small.json")

    def test_model_that_does_not_fit_the_data(self):
        for assignment, message in (
                ("model.classes=9", "/model/classes: found 9, but mnist train has 10 classes"),
                ("model.input=[8, 8, 3]",
                 "/model/input: found [8, 8, 3], but images of mnist train have shape [8, 8, 1]"),
                ("data.batch=121", "data.batch: found 121, but mnist train has only 120 images"),
                ("model.type=lenet5",
                 "small.json: /model/hidden: is for type mlp, and the type is lenet5")):
            for command in ("train", "check"):
                with self.subTest(command=command, assignment=assignment):
                    self.fails_unwritten(2, message, command, "small.json", "--set", assignment)


class BadWeights(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())
        self.tensors = {"fc1.weight": ([12, 64], [0.0] * 768), "fc1.bias": ([12], [0.0] * 12),
                        "fc2.weight": ([10, 12], [0.0] * 120), "fc2.bias": ([10], [0.0] * 10)}

    def test_files_that_are_broken(self):
        good = safetensors_bytes(self.tensors)

        def longer(header):
            header["fc2.bias"]["data_offsets"][1] += 400

        def another_shape(header):
            header["fc1.bias"]["shape"] = [13]

        for content, message in (
                (b"", "is empty, a safetensors file is expected"),
                (b"PK\x03\x04" + bytes(60), "is not a safetensors file, it looks like a PyTorch file (a zip archive): "
                                            "scripts/from-torch turns it into safetensors"),
                (b"\x01" * 60, "is not a safetensors file: its first 8 bytes give a header of 72340172838076673 bytes, "
                               "expected 2 to 100000000"),
                (good[:20], f"is cut off: it has 20 bytes, its header alone needs {8 + good[0] + 256 * good[1]}"),
                (good[:-1], "tensor 'fc2.bias': data_offsets [3600, 3640] reach beyond the file, which has 3639 bytes "
                            "of data: is it cut off?"),
                (struct.pack("<Q", 2**62) + good[8:], "is not a safetensors file: its first 8 bytes give a header of "
                                                      "4611686018427387904 bytes, expected 2 to 100000000"),
                (safetensors_bytes(self.tensors, lie=longer),
                 "tensor 'fc2.bias': data_offsets [3600, 4040] hold 440 bytes, F32[10] needs 40"),
                (safetensors_bytes(self.tensors, lie=another_shape),
                 "tensor 'fc1.bias': data_offsets [3072, 3120] hold 48 bytes, F32[13] needs 52")):
            self.write("w.safetensors", content)
            for command in (["eval", "w.safetensors"], ["inspect", "w.safetensors"],
                            ["train", "small.json", "--set", "model.weights=w.safetensors"],
                            ["check", "small.json", "--set", "model.weights=w.safetensors"],
                            ["bench", "infer", "--checkpoint", "w.safetensors", "--seconds", "0.01"]):
                with self.subTest(command=command, expected=message):
                    self.fails_unwritten(1, f"w.safetensors: {message}", *command)

    def test_files_that_are_not_ours(self):
        self.write("w.safetensors", safetensors_bytes(self.tensors))
        for command in ("eval", "inspect"):
            self.fails_unwritten(1, "w.safetensors: has no 'espalier.config' in its metadata: not a checkpoint or "
                                    "model of Espalier's (plain weights go into a config's model.weights)",
                                 command, "w.safetensors")
        self.fails_unwritten(1, "none: cannot open: No such file or directory", "eval", "none")

    def test_plain_weights_are_started_from(self):
        self.write("w.safetensors", safetensors_bytes(self.tensors))
        shown = json.loads(self.succeeds("inspect", "small.json", "--json"))
        self.assertGreater(shown["nonzeros"], 900)
        self.write("started.json", edited("model", "weights", "w.safetensors"))
        self.assertEqual(json.loads(self.succeeds("inspect", "started.json", "--json"))["nonzeros"], 0)
        self.succeeds("train", "started.json", "--quiet")

    def test_names_and_shapes_that_do_not_fit(self):
        self.write("others", safetensors_bytes({"layer0.kernel": ([12, 64], [0.0] * 768)}))
        self.write("more", safetensors_bytes({**self.tensors, "momentum": ([1], [0.0])}))
        self.write("shape", safetensors_bytes({**self.tensors, "fc1.bias": ([13], [0.0] * 13)}))
        for file, message in (("others", "no tensor 'fc1.weight', which the model needs"),
                              ("more", "tensor 'momentum' is not the model's"),
                              ("shape", "'fc1.bias' has shape [13], the model's is [12]")):
            for command in ("train", "check"):
                with self.subTest(command=command, file=file):
                    self.fails_unwritten(1, f"{file}: {message}", command, "small.json", "--set",
                                         f"model.weights={file}")


class BadOutput(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())

    def test_holds_another_run(self):
        self.succeeds("train", "small.json", "--quiet")
        self.fails_unwritten(2, "runs/small: holds a run already; --resume goes on with it, --output DIR writes "
                                "elsewhere", "train", "small.json")

    def test_cannot_be_made(self):
        self.write("file", "text")
        self.fails_unwritten(2, "file: this output folder cannot be made: Not a directory", "train", "small.json",
                             "--output", "file")
        self.fails_unwritten(2, "file/below: this output folder cannot be made: Not a directory", "train",
                             "small.json", "--output", "file/below")
        self.fails_unwritten(2, "/proc/espalier: this output folder cannot be made: No such file or directory",
                             "train", "small.json", "--output", "/proc/espalier")

    def test_may_not_be_written(self):
        (self.folder / "locked/models").mkdir(parents=True)
        (self.folder / "locked").chmod(0o500)
        self.fails_unwritten(2, "locked: this output folder cannot be written", "train", "small.json", "--output",
                             "locked", drop_override=True)
        self.fails_unwritten(2, "locked/below: this output folder cannot be made: Permission denied", "train",
                             "small.json", "--output", "locked/below", drop_override=True)

    def test_full_disk(self):
        """A file-size limit stands in for it: first the checkpoint does not fit, then nothing does."""
        self.succeeds("train", "small.json", "--quiet", "--output", "whole")
        size = (self.folder / "whole/models/dense.safetensors").stat().st_size
        self.fails(1, "runs/small/checkpoint.safetensors: cannot write: File too large", "train", "small.json",
                   "--quiet", "--set", "stages.0.train.steps=12", file_limit=size - 1)
        left = [path.name for path in (self.folder / "runs/small").rglob("*") if path.is_file()]
        self.assertFalse([name for name in left if "tmp" in name or name.endswith(".safetensors")], left)
        self.fails(1, "none/config.json: cannot write: File too large", "train", "small.json", "--quiet", "--output",
                   "none", file_limit=10)
        self.succeeds("train", "small.json", "--quiet", "--resume")

    def test_full_disk_leaves_the_last_checkpoint(self):
        self.write("long.json", config({"name": "dense", "train": sgd(epochs=3, log_every=1)}))
        self.succeeds("train", "long.json", "--quiet", "--output", "whole")
        checkpoint = (self.folder / "whole/checkpoint.safetensors").stat().st_size
        rows = (self.folder / "whole/metrics.jsonl").stat().st_size
        self.assertLess(checkpoint, 3 * rows, "the limit must be met by metrics.jsonl")
        self.write("long.json", config({"name": "dense", "train": sgd(epochs=100, log_every=1)}))
        self.fails(1, "runs/long/metrics.jsonl: cannot be written: File too large", "train", "long.json", "--quiet",
                   file_limit=3 * rows)
        before = (self.folder / "runs/long/checkpoint.safetensors").read_bytes()
        self.succeeds("eval", "runs/long/checkpoint.safetensors")
        self.assertIn("goes on with stage 1", self.succeeds("train", "long.json", "--resume"))
        self.assertNotEqual((self.folder / "runs/long/checkpoint.safetensors").read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
