"""A pipe where a file is expected is one line, never a wait without end; a pipe that somebody writes to is read."""

import os
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, sgd
from bad_input_test import png


class Pipes(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config({"name": "dense", "train": sgd(steps=1)}))
        os.mkfifo(self.folder / "pipe")

    def test_pipes_that_nobody_writes_to(self):
        regular = "is a pipe or a device, a regular file is expected"
        for command in ("inspect", "eval", "graph"):
            self.fails_unwritten(1, f"pipe: {regular}", command, "pipe")
        self.fails_unwritten(1, f"pipe: {regular}", "check", "small.json", "--set", "model.weights=pipe")
        os.mkfifo(self.folder / "pipe.json")
        for command in ("train", "check", "inspect"):
            self.fails_unwritten(2, "pipe.json: is a pipe that nobody writes to", command, "pipe.json")

    def test_pipes_in_the_folder_of_a_run(self):
        self.succeeds("train", "small.json", "--quiet")
        for name, code in (("checkpoint.safetensors", 1), ("metrics.jsonl", 1), ("log.txt", 1)):
            with self.subTest(name=name):
                kept = (self.folder / "runs/small" / name).read_bytes()
                (self.folder / "runs/small" / name).unlink()
                os.mkfifo(self.folder / "runs/small" / name)
                result = self.espalier("train", "small.json", "--resume")
                self.assertEqual((result.returncode, result.stderr),
                                 (code, f"espalier: runs/small/{name}: is a pipe or a device, a regular file is expected\n"))
                (self.folder / "runs/small" / name).unlink()
                (self.folder / "runs/small" / name).write_bytes(kept)
        (self.folder / "runs/small/result.json").unlink()
        os.mkfifo(self.folder / "runs/small/result.json")
        self.fails_unwritten(1, "runs/small/result.json: is a pipe that nobody writes to", "compare", "runs/small")

    def test_pipes_among_the_data(self):
        name = "data/mnist/train-images-idx3-ubyte"
        (self.folder / name).unlink()
        os.mkfifo(self.folder / name)
        result = self.espalier("check", "small.json")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, rf"\Aespalier: {name}: .+\n\Z")

    def test_a_pipe_for_the_image_cache(self):
        self.write("images.json", {"model": {"type": "mlp", "input": [4, 4, 3], "hidden": [4], "classes": 2},
                                   "data": {"type": "image_folder", "path": "pets", "batch": 2},
                                   "stages": [{"name": "dense", "train": sgd(steps=1)}]})
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                for i in range(2):
                    self.write(f"data/pets/{split}/{label}/{i}.png", png(4, 4, 3, 10 * i))
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        self.succeeds("check", "images.json", environment=cache)
        [file] = (self.folder / "cache/espalier").iterdir()
        file.unlink()
        os.mkfifo(file)
        self.assertIn("the decoded images are not kept for the next run: ",
                      self.succeeds("check", "images.json", environment=cache))
        self.assertTrue(stat.S_ISFIFO(file.stat().st_mode))

    def test_configs_through_pipes_work(self):
        text = (self.folder / "small.json").read_text()
        command = self.command("check", "/dev/stdin", "--set", "name=small")
        result = subprocess.run(**command, input=text, capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        command = self.command("check")
        command["args"] = ["bash", "-c", f'"$0" check <(sleep 0.3; cat small.json; sleep 0.1) --set name=small', command["args"][0]]
        result = subprocess.run(**command, capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
