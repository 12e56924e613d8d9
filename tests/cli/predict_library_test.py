"""libespalier_predict: the examples, in C, C++ and Python, and the C interface beside `espalier eval`, four threads at once."""

import ctypes
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from needs import needs
from support import CliTest, SIDE, config, draw, safetensors, sgd

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ESPALIER_BUILD_DIR") or ROOT / "build/release")
TUNED = "run/models/tuned.safetensors"


@unittest.skipIf(os.environ.get("ESPALIER_SANITIZE"), "Python cannot load a library with a sanitizer in it")
class WithLibrary(CliTest):
    def setUp(self):
        super().setUp()
        self.library = ctypes.CDLL(str(BUILD / "libespalier_predict.so"))
        self.library.espalier_predict_error.restype = ctypes.c_char_p
        self.library.espalier_predict_outputs.restype = ctypes.c_int64

    def checked(self, code):
        self.assertEqual(code, 0, self.library.espalier_predict_error())

    def load(self, file):
        model = ctypes.c_void_p()
        self.checked(self.library.espalier_predict_load(os.fsencode(self.folder / file), ctypes.byref(model)))
        self.addCleanup(self.library.espalier_predict_free, model)
        return model

    def logits(self, model, pixels):
        """Of images one after the other, a list of bytes."""
        context = ctypes.c_void_p()
        self.checked(self.library.espalier_predict_new_context(model, ctypes.byref(context)))
        outputs = self.library.espalier_predict_outputs(model)
        found = []
        for begin in range(0, len(pixels), 7):
            some = pixels[begin:begin + 7]
            row = (ctypes.c_float * (outputs * len(some)))()
            self.checked(self.library.espalier_predict_run_u8(context, b"".join(some), ctypes.c_int64(len(some)), row))
            found += [list(row[i * outputs:(i + 1) * outputs]) for i in range(len(some))]
        self.library.espalier_predict_free_context(context)
        return found

    def logits_from_four_threads(self, model, pixels):
        found = [None] * 4
        threads = [threading.Thread(target=lambda i=i: found.__setitem__(i, self.logits(model, pixels))) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


class PredictLibrary(WithLibrary):
    def setUp(self):
        super().setUp()
        self.write_data(train=200, test=101)
        self.write("c.json", config({"name": "dense", "train": sgd(steps=40, ema=0.9)}, {"name": "pruned", "prune": {"sparsity": 0.5}},
                                    {"name": "cut", "prune": {"unit": "channel", "speedup": 1.5, "min_channels": 1}},
                                    {"name": "tuned", "train": sgd(steps=20)}))
        self.succeeds("train", "c.json", "--quiet", "--output", "run")

    def test_says_what_eval_says_from_four_threads(self):
        images = (self.folder / "data/mnist/t10k-images-idx3-ubyte").read_bytes()[16:]
        labels = (self.folder / "data/mnist/t10k-labels-idx1-ubyte").read_bytes()[8:]
        pixels = [images[i * SIDE * SIDE:(i + 1) * SIDE * SIDE] for i in range(len(labels))]
        self.succeeds("pack", TUNED, "-o", "packed.safetensors")
        for file in (TUNED, "run/models/dense.safetensors", "run/checkpoint.safetensors", "packed.safetensors"):
            with self.subTest(file=file):
                accuracy = float(self.succeeds("eval", file, "--logits", "logits").split()[1])
                _, shape, content = safetensors(self.folder / "logits")[0]["logits"]
                found = self.logits_from_four_threads(self.load(file), pixels)
                for each in found:
                    right = sum(max(range(10), key=lambda k: row[k]) == label for row, label in zip(each, labels))
                    self.assertEqual(f"{100 * right / len(labels):.2f}", f"{accuracy:.2f}")
                    self.assertEqual(each, found[0])
                expected = (ctypes.c_float * (shape[0] * shape[1])).from_buffer_copy(content)
                self.assertLess(max(abs(a - b) for a, b in zip(sum(found[0], []), expected)), 1e-4)

    def test_examples(self):
        image = bytes(draw(3, random.Random(0)))
        self.write("pixels", image)
        logits = self.logits(self.load(TUNED), [image])[0]
        best = f"{logits.index(max(logits))} \n"
        examples = ROOT / "predict" / "examples"
        include, library = ["-I", str(ROOT / "predict")], [f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lespalier_predict"]
        for compiler, source, flags in (("cc", "classify.c", ["-std=c99"]), ("c++", "classify.cpp", ["-std=c++17"])):
            program = self.folder / source.replace(".", "_")
            subprocess.run([compiler, *flags, "-Wall", "-Wextra", "-Werror", *include, str(examples / source), *library, "-o", str(program)],
                           check=True)
            self.classifies([str(program)], best)
        self.classifies([sys.executable, str(examples / "classify.py")], best, LD_LIBRARY_PATH=str(BUILD))

    def classifies(self, command, best, **environment):
        run = lambda model: subprocess.run([*command, model, "pixels"], cwd=self.folder, capture_output=True, text=True,
                                           env={**os.environ, **environment})
        done = run(TUNED)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (best, "", 0))
        done = run("gone.safetensors")
        self.assertEqual((done.stdout, done.returncode), ("", 1))
        self.assertRegex(done.stderr, "^classify: gone.safetensors: cannot open: No such file or directory\n$")

    def test_needs_neither_protobuf_nor_what_trains(self):
        needs = subprocess.run(["ldd", BUILD / "libespalier_predict.so"], capture_output=True, text=True, check=True).stdout
        for name in ("protobuf", "onnx", "archive", "webp", "spdlog"):
            self.assertNotIn(name, needs)
        symbols = subprocess.run(["nm", "-DC", "--defined-only", BUILD / "libespalier_predict.so"], capture_output=True, text=True,
                                 check=True).stdout
        own = [line.split()[-1] for line in symbols.splitlines() if " T " in line]
        self.assertEqual([name for name in own if not name.startswith("espalier_predict_")], [])


class OfJpegs(WithLibrary):
    @needs("PIL")
    def test_predict_and_the_library_say_what_eval_says(self):
        from PIL import Image

        noise, names, side = random.Random(2), ["ash", "elm", "oak"], 24
        for split, count in (("train", 20), ("test", 33)):
            for label, name in enumerate(names):
                for i in range(count):
                    shown = label if i % 4 else noise.randrange(3)  # some are no such tree
                    grey = Image.frombytes("L", (SIDE, SIDE), draw(3 * shown, noise)).resize((side, side))
                    file = io.BytesIO()
                    Image.merge("RGB", [grey.rotate(3 * k) for k in range(3)]).save(file, "JPEG", quality=70 + i % 25)
                    self.write(f"data/trees/{split}/{name}/{i}.jpg", file.getvalue())
        self.write("trees.json", {"model": {"type": "lenet5", "input": [side, side, 3], "classes": 3},
                                  "data": {"type": "image_folder", "path": "trees", "batch": 10,
                                           "normalize": {"mean": [0.2, 0.3, 0.4], "std": [0.2, 0.3, 0.25]}},
                                  "stages": [{"name": "dense", "train": sgd(steps=60)},
                                             {"name": "half", "prune": {"unit": "channel", "speedup": 2}},
                                             {"name": "tuned", "train": sgd(steps=30)}]})
        self.succeeds("train", "trees.json", "--quiet", "--output", "run")
        for stage in "dense", "tuned":
            model = f"run/models/{stage}.safetensors"
            evaluated = json.loads(self.succeeds("eval", model, "--json"))
            right, files = 0, []
            for line in self.succeeds("predict", model, "data/trees/test", "--json", "--top", "1").splitlines():
                image = json.loads(line)
                files.append(image["path"])
                right += image["predictions"][0]["name"] == image["path"].split("/")[3]
            self.assertEqual((len(files), 100 * right / 99), (99, evaluated["accuracy"]))
            self.assertTrue(0.34 < right / 99 < 1, right)
            pixels = [Image.open(self.folder / file).convert("RGB").tobytes() for file in files]
            for each in self.logits_from_four_threads(self.load(model), pixels):
                best = [names[max(range(3), key=lambda k: row[k])] for row in each]
                self.assertEqual(sum(name == file.split("/")[3] for name, file in zip(best, files)), right)


if __name__ == "__main__":
    unittest.main()
