"""Folders of images: what a user sees of them, and images of the classes that are no data set."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, png, sgd


class Images(CliTest):
    def setUp(self):
        super().setUp()
        self.write("pets.json", {"model": {"type": "mlp", "input": [4, 4, 3], "hidden": [4], "classes": 2},
                                 "data": {"type": "image_folder", "path": "pets", "batch": 2, "cache": False},
                                 "stages": [{"name": "dense", "train": sgd(steps=1)}]})
        for split in ("train", "test"):
            for i, label in enumerate(("grün ä", "the other")):
                self.write(f"data/pets/{split}/{label}/a b {i}.png", png(4, 4, 3, 100 * i))

    def test_what_is_read_is_said_first(self):
        self.write("data/pets/val/grün ä/1.png", png(4, 4, 1, 3))
        self.write("data/pets/train/readme.txt", "")
        (self.folder / "data/pets/train/none").mkdir()
        output = self.succeeds("check", "pets.json")
        self.assertTrue(output.startswith("data/pets: 5 images of 4 x 4 x 3, 240 B of memory\n"), output)
        for line in ("2 images to train on, 1 held out, 2 to test", "2 classes: grün ä, the other",
                     "pets: class folders without images are left out: none",
                     "pets: val/ has no images of: the other", "pets: of 5 images 1 from grey to RGB",
                     "pets: 1 file that is no .jpg, .jpeg, .png, .webp or .bmp: left out: train/readme.txt"):
            self.assertIn(line + "\n", output)

    def test_val_is_the_validation_split_unless_the_config_says_another(self):
        self.write("data/pets/val/grün ä/1.png", png(4, 4, 3, 3))
        stops = ["--set", 'stages.dense.train={"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.1}, "early_stop": {}}']
        self.assertIn("2 images to train on, 1 held out, 2 to test\n", self.succeeds("check", "pets.json", *stops))
        for command in ("check", "train"):
            self.assertIn("data/pets: 4 images", self.succeeds(command, "pets.json", "--set", "data.validation=0"))
        self.assertIn("data    2 images to train on, 2 to test\n",
                      self.succeeds("check", "pets.json", "--set", "data.validation=0"))
        self.fails(2, "pets.json: stages.dense.train.early_stop: needs images to judge by: /data/validation above 0 "
                      "(set on the command line)", "check", "pets.json", *stops, "--set", "data.validation=0")
        (self.folder / "data/pets/val/grün ä/1.png").rename(self.folder / "data/pets/test/grün ä/1.png")
        (self.folder / "data/pets/val/grün ä").rmdir()
        (self.folder / "data/pets/val").rmdir()
        for command in ("check", "train"):
            result = self.espalier(command, "pets.json", *stops)
            self.assertEqual((result.returncode, result.stderr),
                             (2, "espalier: pets.json: /stages/0/train/early_stop: needs images to judge by: a folder val/ "
                                 "beside test/, or /data/validation above 0\n"))
        self.assertFalse((self.folder / "runs/pets-2").exists())

    def test_eval_of_other_images(self):
        self.succeeds("train", "pets.json")
        model = "runs/pets/models/dense.safetensors"
        self.write("new/the other/x.png", png(4, 4, 3, 9))
        output = self.succeeds("eval", model, "--images", "new")
        self.assertRegex(output, r"^new: 1 images of 4 x 4 x 3, 48 B of memory\naccuracy .* \(new, 1 images\)\n$")
        home = self.succeeds("eval", model, "--images=~/new", environment={"HOME": str(self.folder)})
        self.assertEqual(home.splitlines()[1:], output.splitlines()[1:])
        self.write("new/cow/x.png", png(4, 4, 3, 9))
        self.fails_unwritten(1, "new: holds folders of classes that the model does not know: cow "
                                "(it knows grün ä, the other)", "eval", model, "--images", "new")


if __name__ == "__main__":
    unittest.main()
