"""What is wrong in configs, data, weights and folders: one line, the right exit code, nothing touched on disk."""

import io
import json
import lzma
import os
import shlex
import struct
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, SIDE, config, idx_images, idx_labels, png, safetensors, safetensors_bytes, sgd


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
        self.write_data()
        models = json.loads(self.succeeds("help", "schema"))["properties"]["model"]["properties"]["type"]["enum"]
        self.assertIn("vgg19", models)
        share, count = "a number from 0 to 1", "a whole number of at least 1"
        for bad, message in (
                (edited("datas", 1), "/datas: no such field, did you mean 'data'?"),
                (edited("stages", 0, "train", "optimizer", "lrate", 1),
                 "/stages/0/train/optimizer/lrate: no such field, did you mean 'lr'?"),
                (edited("model", "type", "mpl"), f"/model/type: found the text \"mpl\", expected one of {', '.join(models)}, "
                 "did you mean 'mlp'?"),
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
        self.write("bad.json", '{\n  "model": {"type": "mlp",,}\n}\n')
        for command in ("train", "check", "inspect"):
            self.fails_unwritten(2, "bad.json:2:27: not JSON: found ',', expected a name in quotes", command, "bad.json")

    def test_cannot_be_read(self):
        (self.folder / "folder.json").mkdir()
        for command in ("train", "check", "inspect"):
            self.fails_unwritten(2, "none.json: cannot open: No such file or directory", command, "none.json")
            self.fails_unwritten(2, "folder.json: is a folder, a file is expected", command, "folder.json")

    def test_set(self):
        self.write("small.json", config())
        for assignment, message in (
                ("stages.dnese.train.steps=1", "stages: no element 'dnese' in a list of 2, did you mean 'dense'?"),
                ("/stages/2/train/steps=1", "/stages: no element '2' in a list of 2, known: dense, pruned"),
                ("model.hidden=[12,a]", "model.hidden: the shell took the quotes of the value; in single quotes they stay: "
                                        "--set 'model.hidden=[12,\"a\"]'"),
                ("seed", "expected path.to.field=value")):
            self.fails_unwritten(2, f"--set {assignment}: {message}", "train", "small.json", "--set", assignment)
        for assignment, message in (
                ("stages.dense.train.steps=0", "stages.dense.train.steps: found 0, expected a whole number of at least 1"),
                ("/stages/0/train/steps=0", "/stages/0/train/steps: found 0, expected a whole number of at least 1"),
                ("stages.pruned.prune.sparsity=null", "stages.pruned.prune: found none, expected exactly one of sparsity, "
                                                      "threshold, quantile"),
                ("stages.dense.train.optimizer={}",
                 f"stages.dense.train.optimizer.type: missing, expected one of {self.allowed('train', 'optimizer', 'type')} "
                 "(set on the command line)\n"
                 "espalier: small.json: stages.dense.train.optimizer.lr: missing, expected a number above 0 (set on the "
                 "command line)\nespalier: small.json: 2 mistakes")):
            marked = " (set on the command line)" if "prune" not in assignment and "{}" not in assignment else ""
            self.fails_unwritten(2, f"small.json: {message}{marked}", "train", "small.json", "--set", assignment)

    def test_mistakes_in_paths_and_in_values_are_told_together(self):
        self.write("small.json", config())
        self.fails_unwritten(2, "--set stages.dense.train.stesp=9: stages.dense.train.stesp: no such field, did you mean "
                                "'steps'?\nespalier: small.json: seed: found -1, expected a whole number from 0 to "
                                "9007199254740991 (set on the command line)\nespalier: small.json: 2 mistakes",
                             "check", "small.json", "--set", "stages.dense.train.stesp=9", "--set", "seed=-1")

    def test_set_in_a_shell(self):
        """What bash makes of an object without quotes."""
        self.write("small.json", config())
        command = self.command("check", "small.json")
        words = " ".join(map(shlex.quote, command["args"]))
        command["args"] = ["bash", "-c", words + ' --set data.normalize={"mean":[0.5],"std":[0.2]}']
        result = subprocess.run(**command, capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr),
                         (2, "espalier: check: one argument too many, for the shell took the value of --set apart; in single "
                             "quotes it stays whole: --set 'data.normalize={\"mean\":[0.5],\"std\":[0.2]}'\n"))


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

    def test_pipe(self):
        pipe = self.folder / "data/mnist/train-images-idx3-ubyte"
        pipe.unlink()
        os.mkfifo(pipe)
        for command in ("train", "check"):
            result = self.espalier(command, "small.json")
            self.assertEqual((result.returncode, result.stderr), (1, "espalier: data/mnist/train-images-idx3-ubyte: is a "
                                                                     "pipe or a device, a regular file is expected\n"))

    def test_model_that_does_not_fit_the_data(self):
        data = json.loads(self.succeeds("help", "schema"))["properties"]["data"]
        with_remap = " or ".join(data["dependentSchemas"]["remap"]["properties"]["type"]["enum"])
        for assignment, message in (
                ("model.input=[8, 8, 3]",
                 "small.json: model.input: found [8, 8, 3], but images of mnist train have shape [8, 8, 1]"),
                ("data.remap=true", f"small.json: data.remap: is for type {with_remap}, and the type is mnist (set on the "
                                    "command line)")):
            for command in ("train", "check"):
                with self.subTest(command=command, assignment=assignment):
                    self.fails_unwritten(2, message, command, "small.json", "--set", assignment)
        for command in ("train", "check"):
            self.fails_unwritten(1, "data/mnist: mnist train has 10 classes, expected the model's 9 (small.json: "
                                    "model.classes)", command, "small.json", "--set", "model.classes=9")


class BadCifar(CliTest):
    def setUp(self):
        super().setUp()
        self.write("cifar.json", {"model": {"type": "mlp", "input": [32, 32, 3], "hidden": [4], "classes": 100},
                                  "data": {"type": "cifar100", "batch": 2},
                                  "stages": [{"name": "dense", "train": sgd(steps=1)}]})
        for name in ("train", "test"):
            self.write(f"data/cifar-100-binary/{name}.bin", bytes([1, 4] + [9] * 3072) * 3)

    def refused(self, content, message, name="train.bin"):
        self.write(f"data/cifar-100-binary/{name}", content)
        for command in ("train", "check"):
            with self.subTest(command=command, expected=message):
                self.fails_unwritten(1, f"data/cifar-100-binary/{name}: {message}", command, "cifar.json")

    def test_files(self):
        record = bytes([1, 4] + [9] * 3072)
        self.refused(b"", "is empty, expected records of 3074 bytes")
        self.refused(record + record[:-1], "cut short or not cifar100: the record at byte 3074 has 3073 bytes, "
                                           "expected 3074")
        self.refused(record + bytes([20]) + record[1:], "coarse label 20 of image 1 at byte 3074, expected 0 to 19")
        self.refused(record + bytes([1, 100]) + record[2:],
                     "fine label 100 of image 1 at byte 3075, expected 0 to 99")
        packed = lzma.compress(bytes(range(20)) * 154)
        self.refused(packed[:-9], f"xz data cut short at byte {len(packed) - 9}, after 3080 unpacked bytes")

    def test_missing(self):
        (self.folder / "data/cifar-100-binary/test.bin").unlink()
        for command in ("train", "check"):
            self.fails_unwritten(1, "cifar100: data/cifar-100-binary lacks test.bin (plain, .gz or .xz); get them by "
                                    "`scripts/get-data cifar100`, or say where they are by --data or ESPALIER_DATA",
                                 command, "cifar.json")

    def test_model_that_does_not_fit(self):
        for assignment, found in (("model.classes=20", 20), ("model.classes=101", 101)):
            self.fails_unwritten(1, f"data/cifar-100-binary: cifar100 train has 100 classes, expected the model's {found} "
                                    "(cifar.json: model.classes)", "check", "cifar.json", "--set", assignment)
        self.fails_unwritten(1, "data/cifar-100-binary: cifar100 train has 1 class, expected the model's 100 (cifar.json: "
                                "/model/classes)", "check", "cifar.json", "--set", "data.remap=true")
        self.succeeds("check", "cifar.json", "--set", "data.remap=true", "--set", "model.classes=1")
        self.assertIn(" 1 class: ", self.succeeds("check", "cifar.json", "--set", "data.remap=true", "--set",
                                                  "model.classes=null"))

    def test_another_number_of_images_is_noted(self):
        note = "cifar100 train: 3 images, the published set has 50,000\n"
        self.assertIn(note, self.succeeds("check", "cifar.json"))
        self.assertIn(note, self.succeeds("train", "cifar.json"))
        self.assertIn(note.strip(), (self.folder / "runs/cifar/log.txt").read_text())


class BadImages(CliTest):
    def setUp(self):
        super().setUp()
        self.write("images.json", {"model": {"type": "mlp", "input": [4, 4, 3], "hidden": [4], "classes": 2},
                                   "data": {"type": "image_folder", "path": "pets", "batch": 2, "cache": False},
                                   "stages": [{"name": "dense", "train": sgd(steps=1)}]})
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                for i in range(3):
                    self.write(f"data/pets/{split}/{label}/{i}.png", png(4, 4, 3, 10 * i))

    def refused(self, message, code=1, *options):
        """What is about to be decoded may have been said, and nothing is on disk."""
        for command in ("train", "check"):
            with self.subTest(command=command, expected=message):
                result = self.fails(code, message, command, "images.json", *options)
                self.assertRegex(result.stdout, r"^([^\n]* images of 4 x 4 x 3, [^\n]* of memory\n)?$")
                self.assertFalse((self.folder / "runs").exists())

    def archive(self, edit=lambda member: member, extra=()):
        """The folder as bytes of a tar whose members `edit` may change, and then the members `extra`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(self.folder / "data/pets", "pets", filter=edit)
            for name, kind in extra:
                member = tarfile.TarInfo(name)
                member.type = kind
                member.linkname = "/etc/passwd"
                tar.addfile(member)
        return buffer.getvalue()

    def test_images(self):
        name = self.write("data/pets/train/cat/1.png", png(4, 4, 3, 7)[:-15])
        self.refused(f"{name}: PNG cut short at byte {len(png(4, 4, 3, 7)) - 15} (data.skip_corrupt leaves it out)")
        output = self.succeeds("train", "images.json", "--output", "out", "--set", "data.skip_corrupt=true")
        self.assertIn("pets train: 1 of 6 images cannot be decoded and are left out: train/cat/1.png\n", output)
        self.write(name, b"")
        self.refused(f"{name}: is empty, expected a JPEG, PNG, WebP or BMP image (data.skip_corrupt leaves "
                     "it out)")
        self.write(name, png(4, 4, 4, 7))
        self.assertIn("pets: of 12 images, 1 rid of alpha", self.succeeds("check", "images.json"))
        self.write(name, png(9, 7, 1, 7))
        self.succeeds("check", "images.json")

    def test_folders(self):
        (self.folder / "data/pets/train/owl").mkdir()
        self.refused("data/pets: pets train has 2 classes, expected the model's 3 (images.json: model.classes): cat, dog; "
                     "pets: class folders without images are left out: owl", 1, "--set", "model.classes=3")
        (self.folder / "data/pets/train/owl").rmdir()
        self.refused("images.json: data.path: missing, expected the folder or archive that image_folder reads "
                     "(set on the command line)", 2, "--set", "data.path=null")
        self.refused("data/none: there is no such folder or archive, expected train/CLASS/*.jpg (or .png, .webp, .bmp) and "
                     "test/ (or val/) alike: put your own images or a published set (Imagenette, ImageNet) there, or say "
                     "where they are by data.path and --data or ESPALIER_DATA; `espalier help data` says more", 1,
                     "--set", "data.path=none")
        self.write("data/pets/test/cow/1.png", png(4, 4, 3, 1))
        self.refused("data/pets/train/: has no class 'cow', but test/ has (3 classes, and 2 here)")

    def test_archives(self):
        link, pipe = tarfile.SYMTYPE, tarfile.FIFOTYPE
        good = self.archive()
        self.write("data/good.tar.xz", lzma.compress(good))
        self.assertIn("2 classes: cat, dog", self.succeeds("check", "images.json", "--set", "data.path=good.tar.xz"))
        cut = lzma.compress(good)[:-9]
        end = -(-len(good.rstrip(b"\0")) // 512) * 512
        for content, message in (
                (b"", "is empty, expected a .tar, .tar.gz or .tar.xz"),
                (b"x" * 2000, "cannot be read as a .tar, .tar.gz or .tar.xz: what is there is no tar, or a damaged one"),
                (cut, f"xz data cut short at byte {len(cut)}, after {len(good)} unpacked bytes"),
                (good[:end], "cut short after 12 files: it does not end in the zeros that end a tar"),
                (self.archive(extra=[("pets/../../x", tarfile.REGTYPE)]),
                 "'pets/../../x' climbs out of the archive; nothing was read"),
                (self.archive(extra=[("/x", tarfile.REGTYPE)]),
                 "'/x' is no path inside of the archive; nothing was read"),
                (self.archive(extra=[("pets/x", link)]),
                 "pets/x: is a link, expected only files and folders; nothing was read"),
                (self.archive(extra=[("pets/x", pipe)]), "pets/x: is neither file nor folder; nothing was read")):
            self.write("data/bad.tar", content)
            self.refused(f"data/bad.tar: {message}", 1, "--set", "data.path=bad.tar")

    def test_second_start_reads_the_cache(self):
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        arguments = ("check", "images.json", "--set", "data.cache=true")
        self.succeeds(*arguments, environment=cache)
        files = list((self.folder / "cache/espalier").iterdir())
        self.assertEqual(len(files), 1)
        written = files[0].stat().st_mtime_ns
        self.succeeds(*arguments, environment=cache)
        self.assertEqual(files[0].stat().st_mtime_ns, written)

    def test_a_cache_that_may_not_be_entered_is_a_note(self):
        (self.folder / "cache/espalier").mkdir(parents=True)
        (self.folder / "cache").chmod(0)
        self.addCleanup((self.folder / "cache").chmod, 0o700)
        result = self.espalier("check", "images.json", "--set", "data.cache=true", drop_override=True,
                               environment={"XDG_CACHE_HOME": str(self.folder / "cache")})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("the decoded images are not kept for the next run: ", result.stdout)

    def test_other_classes_than_a_model_was_trained_with(self):
        self.succeeds("train", "images.json", "--quiet")
        checkpoint = "runs/images/checkpoint.safetensors"
        self.assertEqual(safetensors(self.folder / checkpoint)[1]["espalier.classes"], '["cat","dog"]')
        for split in ("train", "test"):
            for label in ("cat", "wolf"):
                self.write(f"other/pets/{split}/{label}/0.png", png(4, 4, 3, 1))
        message = f"other/pets: class 1 is 'wolf', expected 'dog', with which {checkpoint} was trained"
        for command in (["eval", checkpoint], ["eval", "runs/images/models/dense.safetensors"],
                        ["train", "images.json", "--resume"]):
            used = command[1] if command[0] == "eval" else checkpoint
            self.fails(1, message.replace(checkpoint, used), *command, "--data", "other")
        self.succeeds("eval", checkpoint)
        self.succeeds("train", "images.json", "--resume", "--quiet")

    def test_eval_says_what_was_skipped(self):
        self.succeeds("train", "images.json", "--quiet")
        self.write("data/pets/test/cat/1.png", b"")
        arguments = ("eval", "runs/images/checkpoint.safetensors", "--set", "data.skip_corrupt=true")
        note = "pets test: 1 of 6 images cannot be decoded and are left out: test/cat/1.png\n"
        size = "data/pets: 12 images of 4 x 4 x 3, 576 B of memory\n"
        said = self.succeeds(*arguments)
        self.assertTrue(said.startswith(size), said)
        self.assertIn(note, said)
        result = self.espalier(*arguments, "--json")
        self.assertEqual((result.returncode, result.stderr), (0, note))
        self.assertEqual(json.loads(result.stdout)["images"], 5)


class BadTeacher(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())
        self.succeeds("train", "small.json", "--quiet")

    def refused(self, message, code=2, **distill):
        learning = {"name": "tuned", "train": sgd(steps=3, distill=distill)}
        self.write("tuned.json", config(learning))
        for command in ("train", "check"):
            with self.subTest(command=command, expected=message):
                self.fails_unwritten(code, f"tuned.json: {message}", command, "tuned.json")

    def test_is_told_before_anything_is_trained(self):
        at = "/stages/0 (tuned): distill: teacher: "
        self.refused(f"{at}none.safetensors: cannot open: No such file or directory", teacher="none.safetensors")
        self.refused(f"{at}runs: is a folder, a file is expected", teacher="runs")
        self.write("w.safetensors", b"PK\x03\x04" + bytes(60))
        self.refused(f"{at}w.safetensors: is not a safetensors file, it looks like a PyTorch file (a zip archive): "
                     "scripts/from-torch turns it into safetensors", teacher="w.safetensors")
        self.write("w.safetensors", safetensors_bytes({"fc1.weight": ([2], [0.0] * 2)}))
        self.refused(f"{at}w.safetensors: has no 'espalier.config' in its metadata: not a checkpoint or model of "
                     "Espalier's (plain weights go into a config's model.weights)", teacher="w.safetensors")
        self.refused("/stages/0/train/distill/temperature: found 0, expected a number above 0",
                     teacher="runs/small/models/dense.safetensors", temperature=0)
        self.refused("/stages/0/train/distill/teacher_stage: found the text \"dense\", expected an earlier stage, and "
                     "there is none", teacher_stage="dense")

    def test_of_other_layers(self):
        file = "runs/small/models/dense.safetensors"
        self.refused("/stages/0 (tuned): distill: features/0: teacher 'fc3' names no layer, known: fc1, fc2, did you mean "
                     "'fc1'?", teacher=file, features=[{"student": "fc1", "teacher": "fc3"}])
        self.refused("/stages/0/train/distill/features/0/student: found the text \"fc*\", expected one name, without * and ?",
                     teacher=file, features=[{"student": "fc*"}])

    def test_of_other_images_or_classes(self):
        at = "/stages/0 (tuned): distill: teacher: t.json: "
        for change, message in (({"input": [8, 8, 3]}, "takes images of [8, 8, 3], expected the model's [8, 8, 1]"),
                                ({"classes": 7}, "has 7 outputs, expected one for each of the model's 10 classes")):
            other = config({"name": "first", "evaluate": {}}, data={"type": "synthetic", "train_images": 20,
                                                                    "test_images": 10})
            other["model"].update(change)
            self.write("other.json", other)
            self.succeeds("train", "other.json", "--quiet", "--output", f"other{len(message)}")
            file = f"other{len(message)}/models/first.safetensors"
            self.refused(f"{at}{message}".replace("t.json: ", f"{file} "), teacher=file)

    def test_a_sound_one_is_learned_from(self):
        learning = {"name": "tuned", "train": sgd(steps=3, distill={"teacher": "runs/small/models/pruned.safetensors"})}
        self.write("tuned.json", config(learning))
        self.assertRegex(self.succeeds("check", "tuned.json"), r"tuned: its teacher, of 888 MACs, takes \d+ % of a step")
        text = self.succeeds("train", "tuned.json")
        self.assertRegex(text, r"(?m)^tuned  learns from runs/small/models/pruned.safetensors: test [\d.]+ %, 888 MACs, "
                               r"1.00x the network's$")
        self.assertRegex(text, r"(?m)^tuned  the teacher took [\d.]+ % of the time of training$")


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
                (b"\x01" * 60, "is not a safetensors file: it begins with the bytes 01 01 01 01 01 01 01 01"),
                (b"run,accuracy\n1,2\n", "is not a safetensors file: it begins with the text 'run,accuracy'"),
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
        for command in (["eval", "none.safetensors"], ["inspect", "none.safetensors"], ["graph", "none.safetensors"],
                        ["predict", "none.safetensors", "."], ["bench", "infer", "--checkpoint", "none.safetensors"]):
            self.fails_unwritten(2, "none.safetensors: cannot open: No such file or directory", *command)

    def test_names_that_are_wrong_are_wrong_usage(self):
        (self.folder / "empty").mkdir()
        for command in ("check", "train"):
            for name, message in (("none.safetensors", "cannot open: No such file or directory"),
                                  ("empty", "is a folder, a file is expected")):
                self.fails_unwritten(2, f"{name}: {message}", command, "small.json", "--set", f"model.weights={name}")
        for command in (["eval", "empty"], ["inspect", "empty/"], ["graph", "empty/"], ["predict", "empty", "."],
                        ["bench", "infer", "--checkpoint", "empty"]):
            [given] = [word for word in command if word.startswith("empty")]
            self.fails_unwritten(2, f"{given}: is a folder, and holds no checkpoint.safetensors", *command)
        self.fails_unwritten(2, "empty: is a folder, a file is expected", "bench", "infer", "--model", "lenet5",
                             "--checkpoint", "empty")

    def test_empty_arguments_are_named(self):
        for command, argument in (("eval", "CHECKPOINT"), ("check", "CONFIG"), ("train", "CONFIG"), ("compare", "RUN"),
                                  ("inspect", "CONFIG|CHECKPOINT"), ("help", "TOPIC"), ("predict", "CHECKPOINT"), ("explain", "CONFIG"),
                                  ("sensitivity", "CHECKPOINT")):
            more = ["a.png"] if command == "predict" else []
            self.fails_unwritten(2, f"{command}: {argument}: is empty", command, "", *more)
        self.fails_unwritten(2, "predict: IMAGE|FOLDER: is empty", "predict", "none.safetensors", "a.png", "")

    def test_plain_weights_are_started_from(self):
        self.write("w.safetensors", safetensors_bytes(self.tensors))
        shown = json.loads(self.succeeds("inspect", "small.json", "--json"))
        self.assertGreater(shown["nonzeros"], 900)
        self.write("started.json", edited("model", "weights", "w.safetensors"))
        self.assertEqual(json.loads(self.succeeds("inspect", "started.json", "--json"))["nonzeros"], 0)
        result = self.espalier("train", "started.json", "--quiet")
        self.assertEqual((result.returncode, result.stderr),
                         (0, "w.safetensors: 100 % of its weights are exactly 0, and training may change them: "
                             "\"hold_zeros\": true in the config's model keeps them at 0\n"
                             "warning: runs/started: stage 'pruned': layer collapse: fc1 is left with 0 of 768 weights, "
                             "in 0 of 12 filters\n"
                             "warning: runs/started: stage 'pruned': layer collapse: fc2 is left with 0 of 120 weights, "
                             "in 0 of 10 filters\n"))

    def test_names_and_shapes_that_do_not_fit(self):
        self.write("others", safetensors_bytes({"layer0.kernel": ([12, 64], [0.0] * 768)}))
        self.write("more", safetensors_bytes({**self.tensors, "momentum": ([1], [0.0])}))
        self.write("shape", safetensors_bytes({**self.tensors, "fc1.bias": ([13], [0.0] * 13)}))
        for file, message in (("others", "no tensor 'fc1.weight', which the model needs"),
                              ("more", "tensor 'momentum' is not the model's"),
                              ("shape", "'fc1.bias' has shape [13], the model's is [12]; \"skip\": [\"fc1\"] in the "
                                        "config's model starts that layer afresh")):
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
                                "elsewhere", "train", "small.json", "--output", "runs/small")

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
        self.succeeds("train", "small.json", "--quiet", "--set", "stages.0.train.steps=12", "--resume")

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
        self.assertIn("goes on with stage 'dense'", self.succeeds("train", "long.json", "--resume"))
        self.assertNotEqual((self.folder / "runs/long/checkpoint.safetensors").read_bytes(), before)


class Channels(CliTest):
    def test_what_cannot_be_cut(self):
        self.write_data()
        limits = "with every group of channels at its least width (see min_channels, max_ratio and exclude)"
        for prune, message in (
                ({"speedup": 5}, f"speedup 5 cannot be reached: it is 1.5 {limits}"),  # 8 of 12 stay
                ({"macs": 100}, f"macs 100 cannot be reached: it is 592 {limits}"),
                ({"ratio": 0.5}, f"ratio 0.5 cannot be reached: it is 0.333333 {limits}"),
                ({"ratio": 0.5, "min_channels": 12}, f"ratio 0.5 cannot be reached: it is 0 {limits}"),
                ({"ratio": 0.5, "exclude": ["fc9"]}, "exclude 'fc9' names no convolution or linear layer, "
                                                     "known: fc1, fc2, did you mean 'fc1'?"),
                ({"ratio": 0.5, "overrides": [{"layers": ["fd1"]}]},
                 "layers 'fd1' names no convolution or linear layer, known: fc1, fc2, did you mean 'fc1'?"),
                ({"ratio": 0.5, "exclude": ["fc1"]},
                 "no channels may go: all but the network's input and output are left out by include and exclude"),
                ({"ratio": 0.5, "include": ["fc2"]},
                 "include 'fc2': its channels are the network's output and stay")):
            self.write("small.json", config({"name": "cut", "prune": {"unit": "channel", **prune}}))
            for command in ("check", "train"):
                with self.subTest(command=command, prune=prune):
                    self.fails_unwritten(1, f"small.json: /stages/0 (cut): prune: {message}", command, "small.json")

    def test_pruned_files_and_other_models(self):
        self.write_data()
        self.write("small.json", config({"name": "cut", "prune": {"unit": "channel", "ratio": 0.25}}))
        self.succeeds("train", "small.json", "--output", "run")
        cut = "run/models/cut.safetensors"
        for hidden, message in (
                ([20], "surgery: fc1.weight is [20, 64], expected 12 along axis 0: the cut was made for another model"),
                ([12, 12], "'fc2.weight' has shape [10, 9], the model's is [12, 9]")):
            self.write("other.json", config({"name": "tuned", "train": sgd(steps=5)}))
            with self.subTest(hidden=hidden):
                self.fails_unwritten(1, f"{cut}: {message}", "train", "other.json",
                                     "--set", f"model.weights={cut}", "--set", f"model.hidden={hidden}")
        self.succeeds("train", "other.json", "--set", f"model.weights={cut}", "--set", "model.hidden=[12]")


if __name__ == "__main__":
    unittest.main()
