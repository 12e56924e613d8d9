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
                     "pets: val/ has no images of: the other", "pets: of 5 images, 1 from grey to RGB",
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
                             (2, "espalier: pets.json: stages.dense.train.early_stop: needs images to judge by: a folder val/ "
                                 "beside test/, or /data/validation above 0\n"))
        self.assertFalse((self.folder / "runs/pets-2").exists())

    def test_an_old_run_that_wrote_validation_0_goes_on(self):
        self.succeeds("train", "pets.json", "--set", "data.validation=0")
        self.assertIn("the run is done already", self.succeeds("train", "pets.json", "--resume"))

    def test_eval_of_other_images(self):
        self.succeeds("train", "pets.json")
        model = "runs/pets/models/dense.safetensors"
        self.write("new/the other/x.png", png(4, 4, 3, 9))
        output = self.succeeds("eval", model, "--images", "new")
        self.assertRegex(output, r"^new: 1 image of 4 x 4 x 3, 48 B of memory\naccuracy .* \(new, 1 image\)\n$")
        self.write("given/val/the other/x.png", png(4, 4, 3, 9))
        self.assertEqual(self.succeeds("eval", model, "--images", "given").splitlines()[1].replace("given", "new"),
                         output.splitlines()[1])
        home = self.succeeds("eval", model, "--images=~/new", environment={"HOME": str(self.folder)})
        self.assertEqual(home.splitlines()[1:], output.splitlines()[1:])
        self.write("new/cow/x.png", png(4, 4, 3, 9))
        self.fails_unwritten(1, "new: holds folders of classes that the model does not know: cow "
                                "(it knows grün ä, the other)", "eval", model, "--images", "new")


class Classes(CliTest):
    """A config need not say how many there are."""

    def setUp(self):
        super().setUp()
        self.config = {"model": {"type": "mlp", "input": [4, 4, 3], "hidden": [4]},
                       "data": {"type": "image_folder", "path": "pets", "batch": 2, "cache": False},
                       "stages": [{"name": "dense", "train": sgd(steps=1)}]}
        self.write("pets.json", self.config)
        self.write_pets("cat", "cow", "dog")

    def write_pets(self, *labels):
        for split in ("train", "test"):
            for i, label in enumerate(labels):
                self.write(f"data/pets/{split}/{label}/{i}.png", png(4, 4, 3, 50 * i))

    def test_a_folder_says_how_many(self):
        self.assertIn("3 classes: cat, cow, dog\n", self.succeeds("check", "pets.json"))
        self.assertRegex(self.succeeds("inspect", "pets.json"), r"fc2 +3x4 ")
        self.assertIn("3 channels, the network's output", self.succeeds("graph", "pets.json"))
        self.succeeds("train", "pets.json")
        self.assertEqual(self.read_json("runs/pets/config.json")["model"]["classes"], 3)
        self.assertIn("the run is done already", self.succeeds("train", "pets.json", "--resume"))
        self.assertIn("the run is done already", self.succeeds("train", "--resume", "runs/pets"))
        self.succeeds("eval", "runs/pets/models/dense.safetensors")
        self.fails(1, "data/pets: pets train has 3 classes, expected the model's 4 (pets.json: "
                      "model.classes): cat, cow, dog", "train", "pets.json", "--set", "model.classes=4", "--output", "other")
        self.assertIn("3 classes", self.succeeds("check", "runs/pets/config.json", "--set", "model.classes=null"))

    def test_a_run_keeps_its_number(self):
        self.succeeds("train", "pets.json")
        self.write_pets("cat", "cow", "dog", "pig")
        self.fails(1, "data/pets: pets train has 4 classes, expected the model's 3 (runs/pets/config.json: "
                      "/model/classes): cat, cow, dog, pig", "train", "--resume", "runs/pets")

    def test_without_the_folder(self):
        self.config["stages"][0]["train"]["freeze"] = ["fc9"]
        self.write("pets.json", self.config)
        none = "none/pets: there is no such folder or archive, expected "
        result = self.espalier("check", "pets.json", "--data", "none")
        lines = result.stderr.splitlines()  # what can be known without it is told, too
        self.assertEqual((result.returncode, len(lines)), (1, 3), result.stderr)
        self.assertIn(none, lines[0])
        self.assertIn("freeze 'fc9' names no layer", lines[1])
        for command in ("inspect", "graph"):
            result = self.espalier(command, "pets.json", "--data", "none")
            self.assertEqual(result.returncode, 1)
            self.assertIn("espalier: pets.json: model.classes is left to the data set, which cannot be read: " + none,
                          result.stderr)

    def test_a_new_head(self):
        self.succeeds("train", "pets.json")
        self.write_pets("cat", "cow", "dog", "pig")
        self.config["model"] = {"weights": "runs/pets/models/dense.safetensors", "skip": ["fc2"]}
        self.write("more.json", self.config)
        self.succeeds("train", "more.json")
        self.assertEqual(self.read_json("runs/more/config.json")["model"]["classes"], 4)

    def test_a_checkpoint_has_its_own(self):
        self.succeeds("train", "pets.json")
        model = "runs/pets/models/dense.safetensors"
        self.fails_unwritten(2, f"{model}: is no config, and has its own classes: --data is for a config's",
                             "inspect", model, "--data", "data")


if __name__ == "__main__":
    unittest.main()
