"""How a config comes to the program: comments in it, the home folder in its paths, recipes by name."""

import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import BINARY, CliTest, config, sgd

COMMENTED = """// The first try.
{
  "model": {"type": "mlp", "input": [8, 8, 1], "hidden": [12],},  /* as small
                                                                    as can be */
  "data": {"type": "mnist", "batch": 10}, // or 20
  "stages": [
    {"name": "dense", "train": {"steps": 5, "optimizer": {"type": "sgd", "lr": 0.05}}},
  ],
}
"""


class Comments(CliTest):
    def test_are_read_and_not_written(self):
        self.write_data()
        self.write("c.json", COMMENTED)
        for command in ("check", "inspect", "train"):
            self.succeeds(command, "c.json")
        self.assertEqual(self.read_json("runs/c/config.json")["data"]["batch"], 10)
        self.succeeds("eval", "runs/c/checkpoint.safetensors")

    def test_mistakes_keep_their_places(self):
        self.write("c.json", COMMENTED.replace('"batch"', "batch"))
        self.fails_unwritten(2, "c.json:5:29: not JSON: found 'batch', expected a name in quotes", "train", "c.json")
        self.write("c.json", COMMENTED.replace("as can be */", "as can be"))
        self.fails_unwritten(2, "c.json:3:67: not JSON: a comment that no */ closes", "train", "c.json")


class Home(CliTest):
    def test_is_what_a_tilde_means(self):
        self.write_data()
        (self.folder / "data").rename(self.folder / "sets")
        home = {"HOME": str(self.folder)}
        small = config({"name": "dense", "train": sgd(steps=5)})
        small["data"]["root"] = "~/sets"
        self.write("small.json", small)
        self.succeeds("train", "small.json", "--output=~/out", "--quiet", environment=home)
        self.succeeds("eval", "out/checkpoint.safetensors", "--data=~/sets", environment=home)
        small["model"]["weights"] = "~/out/models/dense.safetensors"
        self.write("small.json", small)
        self.succeeds("check", "small.json", environment=home)
        self.succeeds("check", "small.json", "--set", "data.root=null", environment={"ESPALIER_DATA": "~/sets", **home})
        del small["model"]["type"]
        self.write("small.json", small)
        self.succeeds("check", "small.json", environment=home)
        self.assertFalse((self.folder / "~").exists())


class Recipes(CliTest):
    def taken(self, name, result):
        """The file that it says it has taken for `name`."""
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stderr.startswith(f"{name} is "), result.stderr)
        return result.stderr[len(f"{name} is "):].rstrip("\n")

    def test_are_found_by_name(self):
        for command in ("inspect", "graph"):
            result = self.espalier(command, "mnist_mlp", "--json")
            self.assertTrue(self.taken("mnist_mlp", result).endswith("share/espalier/configs/mnist_mlp.json"))
            json.loads(result.stdout)
        small = [f"--set={field}" for field in ("data.train_images=64", "data.test_images=64", "stages.dense.train.epochs=1",
                                                "stages.tuned.train.epochs=1")]
        file = self.taken("quickstart", self.espalier("check", "quickstart", *small))
        self.assertEqual(file, self.taken("quickstart", self.espalier("train", "quickstart", *small)))
        self.assertEqual(self.read_json("runs/quickstart/result.json")["name"], "quickstart")
        self.assertEqual(self.espalier("train", "quickstart", *small, "--quiet", "--output", "quiet").stderr, "")

    def test_help_lists_them(self):
        text = self.succeeds("help", "recipes")
        self.assertIn(" mnist_mlp mlp on mnist: dense (3 epochs), pruned (prune), tuned (2 epochs) ", " ".join(text.split()))
        self.assertNotIn("schema\n", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_none_beside_the_program(self):
        alone = self.folder / "bin/espalier"
        alone.parent.mkdir()
        shutil.copy(BINARY, alone)
        for arguments, stream in ((["help", "recipes"], "stdout"), (["train", "quickstart"], "stderr")):
            command = self.command()
            command["args"] = [alone, *arguments]
            result = subprocess.run(**command, capture_output=True)
            self.assertIn(f"in {self.folder}/share/espalier/configs", " ".join(getattr(result, stream).split()))

    def test_what_is_here_comes_first(self):
        self.write("mnist_mlp.json", config())
        self.assertEqual(self.taken("mnist_mlp", self.espalier("inspect", "mnist_mlp")), "mnist_mlp.json")
        self.write_data()
        self.write("mnist_mlp", config())
        self.succeeds("check", "mnist_mlp")

    def test_mistyped(self):
        self.write("sparse.json", config())
        known = "there is no such file, and no recipe of that name"
        for command in ("train", "check", "inspect", "graph"):
            for name, message in (
                    ("mnist_mpl", f"mnist_mpl: {known}, did you mean 'mnist_mlp'?"),
                    ("sparce", f"sparce: {known}, did you mean 'sparse'?"),
                    ("zebra", f"zebra: {known}; `espalier help recipes` lists them"),
                    ("sparce.json", "sparce.json: cannot open: No such file or directory, did you mean 'sparse.json'?"),
                    ("configs/mnist_mlp.json", "configs/mnist_mlp.json: cannot open: No such file or directory; "
                                               "'mnist_mlp' alone is a recipe")):
                with self.subTest(command=command, name=name):
                    self.fails_unwritten(2, message, command, name)


if __name__ == "__main__":
    unittest.main()
