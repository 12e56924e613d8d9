"""espalier predict: the likeliest classes of images, by checkpoints of every kind of data."""

import csv
import json
import math
import os
import random
import re
import signal
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, draw, png, safetensors, sgd

DENSE = {"name": "dense", "train": sgd(steps=40)}


def softmax(logits):
    powers = [math.exp(z - max(logits)) for z in logits]
    return [power / sum(powers) for power in powers]


class OfDigits(CliTest):
    """A network of MNIST's files, and the first images of its test set as PNGs."""

    def setUp(self):
        super().setUp()
        self.write_data()
        data = {"type": "mnist", "batch": 10, "normalize": {"mean": [0.3], "std": [0.25]}}
        self.write("small.json", config(DENSE, {"name": "pruned", "prune": {"sparsity": 0.3}}, data=data))
        self.succeeds("train", "small.json", "--quiet")
        self.model = "runs/small/models/pruned.safetensors"
        pixels = (self.folder / "data/mnist/t10k-images-idx3-ubyte").read_bytes()[16:]
        for i in range(10):
            self.write(f"digits/{i}.png", png(SIDE, SIDE, 1, pixels[i * SIDE**2:(i + 1) * SIDE**2]))

    def predict(self, *arguments):
        return [json.loads(line) for line in self.succeeds("predict", *arguments, "--json").splitlines()]

    def test_probabilities_are_those_of_the_network(self):
        self.succeeds("eval", self.model, "--logits", "pass.safetensors")
        _, shape, data = safetensors(self.folder / "pass.safetensors")[0]["logits"]
        self.assertEqual(shape, [10, 10])
        logits = struct.unpack("<100f", data)
        for model in (self.model, "runs/small/checkpoint.safetensors"):
            shown = self.predict(model, "digits", "--top", "10")
            self.assertEqual([image["path"] for image in shown], [f"digits/{i}.png" for i in range(10)])
            for i, image in enumerate(shown):
                expected = softmax(logits[10 * i:10 * i + 10])
                numbers = [one["class"] for one in image["predictions"]]
                self.assertEqual(numbers, sorted(range(10), key=lambda k: -expected[k]))
                for one in image["predictions"]:
                    self.assertEqual(one["name"], str(one["class"]))
                    self.assertAlmostEqual(one["probability"], expected[one["class"]], 5)

    def test_files_and_folders_as_named(self):
        self.write("digits/below/x.PNG", (self.folder / "digits/3.png").read_bytes())
        self.write("digits/.hidden.png", "")
        self.write("digits/notes.txt", "")
        paths = [image["path"] for image in self.predict(self.model, "digits/7.png", "digits", "digits/7.png")]
        self.assertEqual(paths, ["digits/7.png", *(f"digits/{i}.png" for i in range(10)), "digits/below/x.PNG",
                                 "digits/7.png"])

    def test_a_line_an_image(self):
        lines = self.succeeds("predict", self.model, "digits").splitlines()
        self.assertEqual(len(lines), 10)
        for i, line in enumerate(lines):
            self.assertRegex(line, rf"^digits/{i}\.png(  \d \d+\.\d %){{5}}$")
        long = "a/long way/down/to/an image/with a name/ä.png"
        self.write(long, (self.folder / "digits/0.png").read_bytes())
        # All of it where there is no terminal; screens_test.py has what is shown there.
        line = self.succeeds("predict", self.model, long, "--top", "10").rstrip("\n")
        self.assertRegex(line, rf"^{long}(  \d \d+\.\d %){{10}}$")
        self.assertEqual(len(self.predict(self.model, "digits/0.png")[0]["predictions"]), 5)
        self.assertEqual(len(self.predict(self.model, "digits/0.png", "--top", "99")[0]["predictions"]), 10)

    def test_broken_files_do_not_end_the_rest(self):
        self.write("digits/3.png", "no image")
        self.write("digits/5.png", (self.folder / "digits/5.png").read_bytes()[:40])
        result = self.espalier("predict", self.model, "digits", "missing.png", "--json")
        self.assertEqual(result.returncode, 1)
        said, rows = result.stderr.splitlines(), [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([row["path"] for row in rows], [*(f"digits/{i}.png" for i in range(10)), "missing.png"])
        self.assertEqual([row for row in rows if "predictions" not in row],
                         [{"path": line.split(":")[0], "problem": line} for line in said[:-1]])
        self.assertEqual([line.split(":")[0] for line in said], ["digits/3.png", "digits/5.png", "missing.png", "espalier"])
        self.assertEqual(said[-1], "espalier: predict: 3 of 11 images cannot be read")
        result = self.espalier("predict", self.model, "digits", "--skip-broken")
        self.assertEqual((result.returncode, len(result.stdout.splitlines()), result.stderr.splitlines()), (0, 8, said[:2]))

    def test_a_table(self):
        objects = [json.loads(line) for line in self.succeeds("predict", self.model, "digits", "--json", "--top", "2").splitlines()]
        rows = list(csv.reader(self.succeeds("predict", self.model, "digits", "--csv", "--top", "2").splitlines()))
        self.assertEqual(rows[0], ["path", "rank", "class", "name", "probability"])
        self.assertEqual([row[:4] for row in rows[1:]],
                         [[one["path"], str(rank + 1), str(each["class"]), each["name"]] for one in objects
                          for rank, each in enumerate(one["predictions"])])
        for row, expected in zip(rows[1:], (each for one in objects for each in one["predictions"])):
            self.assertAlmostEqual(float(row[4]), expected["probability"], 5)
        self.fails_unwritten(2, "predict: --json and --csv: expected one of them", "predict", self.model, "digits", "--json", "--csv")

    def test_what_is_done_to_images_is_said_once(self):
        self.write("digits/1.png", png(SIDE, SIDE, 4, 9))
        self.write("digits/2.png", png(SIDE, SIDE, 3, 9))
        for form in ("--json",), ():
            result = self.espalier("predict", self.model, "digits", *form)
            self.assertEqual((result.returncode, len(result.stdout.splitlines())), (0, 10))
            self.assertEqual(result.stderr, "predict: of 10 images, 1 rid of alpha, 2 from RGB to grey\n")

    def test_an_interrupt_leaves_whole_lines(self):
        images = ["digits/0.png"] * 20_000  # more lines than a pipe holds: it waits for us
        for code, number in ((130, signal.SIGINT), (143, signal.SIGTERM)):
            with subprocess.Popen(**self.command("predict", self.model, *images, "--json"), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as process:
                lines = [process.stdout.readline()]
                process.send_signal(number)
                lines += process.stdout.readlines()
                err = process.stderr.read()
            self.assertEqual((process.returncode, err), (code, ""))
            self.assertLess(len(lines), len(images))
            for line in lines:
                self.assertEqual(json.loads(line)["path"], "digits/0.png")

    def test_nothing_to_look_at_is_an_error(self):
        (self.folder / "empty").mkdir()
        self.write("texts/a.txt", "")
        for folder in ("empty", "texts"):
            result = self.espalier("predict", self.model, "digits", folder)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, rf"^espalier: {folder}: is a folder without an image")
        self.fails_unwritten(2, "predict: IMAGE|FOLDER is required; see `espalier predict --help`", "predict", self.model)


class OfImageFolders(CliTest):
    def test_names_and_answers_are_those_of_the_data(self):
        noise, names = random.Random(1), ["bar left", "übel"]
        for split, count in (("train", 12), ("test", 5)):
            for label, name in enumerate(names):
                for i in range(count):
                    grey = draw(5 * label, noise)
                    rgb = bytes(value for value in grey for _ in range(3))
                    self.write(f"data/pets/{split}/{name}/{i}.png", png(SIDE, SIDE, 3, rgb))
        self.write("pets.json", {"model": {"type": "mlp", "input": [6, 6, 3], "hidden": [8], "classes": 2},
                                 "data": {"type": "image_folder", "path": "pets", "batch": 4, "cache": False},
                                 "stages": [DENSE]})
        self.succeeds("train", "pets.json", "--quiet")
        model = "runs/pets/models/dense.safetensors"
        evaluated = json.loads(self.succeeds("eval", model, "--json"))
        confusion = [[0, 0], [0, 0]]
        for line in self.succeeds("predict", model, "data/pets/test", "--json").splitlines():
            image = json.loads(line)
            best = image["predictions"][0]
            self.assertEqual(best["name"], names[best["class"]])
            self.assertAlmostEqual(sum(one["probability"] for one in image["predictions"]), 1, 6)
            confusion[names.index(image["path"].split("/")[3])][best["class"]] += 1
        self.assertEqual(confusion, evaluated["confusion"])
        self.assertTrue(re.search(r"^data/pets/test/übel/0\.png +(übel|bar left) \d",
                                  self.succeeds("predict", model, "data/pets/test"), re.M))


if __name__ == "__main__":
    unittest.main()
