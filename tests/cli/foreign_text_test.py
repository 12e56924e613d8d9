"""Names and texts that others made, through every command: what reaches the terminal is printable, short, and in our words."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, safetensors_bytes, sgd
from bad_input_test import png

LONGEST_LINE = 2500
LIBRARIES = ("json.exception", "filesystem error", "basic_string", "vector::", "map::at", "std::", "spdlog", "CLI11",
             "mistake in this program")
HOSTILE = {"escapes": "\x1b[2J\x1b]0;owned\x07\r\b\x7f", "c1": "a\x9b31mb\u2028", "lines": "a\nespalier: all is well\n"}


class ForeignText(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())

    def harmless(self, *arguments, code=None, **options):
        """Runs a command and holds every byte and line of its output to what a terminal may show."""
        command = self.command(*[os.fsencode(str(a)) for a in arguments], **options)
        command["args"] = [command["args"][0], *[os.fsencode(str(a)) for a in arguments]]
        command.pop("text")
        result = subprocess.run(**command, capture_output=True, timeout=60)
        for stream in (result.stdout, result.stderr):
            text = stream.decode()  # it is UTF-8
            for character in text.replace("\n", ""):
                self.assertFalse(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0, repr(text[:2000]))
            for line in text.split("\n"):
                self.assertLess(len(line.encode()), LONGEST_LINE)
            for words in LIBRARIES:
                self.assertNotIn(words, text)
        if code is not None:
            self.assertEqual(result.returncode, code, result.stderr[:1000])
        self.assertGreaterEqual(result.returncode, 0, "ended by a signal")
        if result.returncode:
            self.assertRegex(result.stderr, rb"\Aespalier: [^\n]+\n\Z")
        return result

    def test_arguments(self):
        names = {**HOSTILE, "bytes": os.fsdecode(b"caf\xe9\xff"), "long": "x" * 100_000, "long path": "x/" * 50_000}
        for name in names.values():
            for arguments in ((name,), ("train", name), ("train", name + ".json"), ("check", name), ("eval", name),
                              ("inspect", name), ("inspect", name + ".json"), ("graph", name), ("compare", name),
                              ("help", name), ("bench", name, "--model", "mlp"), ("bench", "train", "--model", name),
                              ("bench", "infer", "--model", "mlp", "--input", name), ("bench", "infer", "--checkpoint", name),
                              ("train", "small.json", "--" + name), ("train", "small.json", name),
                              ("train", "small.json", "--device", name), ("train", "small.json", "--threads", name),
                              ("train", "small.json", "--quiet=" + name), ("train", "small.json", "--set", name),
                              ("train", "small.json", "--set", name + "=1"), ("train", "small.json", "--set", "seed=" + name),
                              ("train", "small.json", "--set", "stages." + name + ".train=1"),
                              ("check", "small.json", "--data", name)):
                with self.subTest(arguments=[a[:20] for a in arguments]):
                    self.assertIn(self.harmless(*arguments).returncode, (1, 2))

    def test_a_folder_of_any_name(self):
        for name in (*HOSTILE.values(), os.fsdecode(b"caf\xe9")):
            folder = os.fsencode(self.folder) + b"/" + os.fsencode(name)
            os.mkdir(folder)
            pathlib.Path(os.fsdecode(folder), "c.json").write_text(json.dumps(config({"name": "a", "train": sgd(steps=1)})))
            with self.subTest(name=name):
                output = name + "/run"
                self.harmless("check", name + "/c.json", code=0)
                self.harmless("train", "small.json", "--output", output, "--set", "stages.dense.train.steps=1", code=0)
                self.harmless("train", "small.json", "--output", output, code=2)
                self.harmless("eval", output + "/checkpoint.safetensors", "--json", code=0)
                self.harmless("inspect", output + "/checkpoint.safetensors", code=0)
                self.harmless("graph", output + "/checkpoint.safetensors", "--dot", output + "/x/y", code=1)
                self.harmless("compare", output, output, code=0)

    def test_values_of_a_config(self):
        for text in (*HOSTILE.values(), "\ud800", "x" * 900_000):
            for edit in (lambda c: c.update({text: 1}), lambda c: c.update(name=text), lambda c: c["model"].update(type=text),
                         lambda c: c["data"].update(path=text), lambda c: c["data"].update(root=text),
                         lambda c: c["model"].update(weights=text), lambda c: c["stages"][0].update(name=text),
                         lambda c: c["stages"][1]["prune"].update(exclude=[text]), lambda c: c["data"].update(batch=text),
                         lambda c: c["stages"].append(text)):
                bad = config()
                edit(bad)
                self.write("bad.json", bad)
                self.assertIn(self.harmless("check", "bad.json").returncode, (1, 2))

    def test_texts_that_are_no_json(self):
        for text in (b"\x1b[2J", b'{"a": \x1b[2J}', b'{"a": "\x1b"}', b'{"\xff": 1}', b"[" * 1_000_000, b'{"a":' * 1_000_000,
                     b"x" * 900_000, b'{"' + b"x" * 900_000, b'{"a": 1' + b"0" * 900_000 + b"}", b"\0", b"\xef\xbb\xbf{",
                     json.dumps(config()).encode() + b'\0{"name": "other"}'):
            self.write("bad.json", text)
            for command in ("train", "check", "inspect", "graph"):
                self.harmless(command, "bad.json", code=2)
            self.write("runs/bad/result.json", text)
            self.harmless("compare", "runs/bad", code=1)

    def test_a_zero_byte_is_named_with_its_place(self):
        text = json.dumps(config())
        self.write("bad.json", text.encode() + b'\0{"name": "other"}')
        self.fails_unwritten(2, f"bad.json:1:{len(text) + 1}: not JSON: a zero byte", "check", "bad.json")

    def test_results(self):
        stage = {"name": "a", "kind": "train", **{key: 1.0 for key in ("seconds", "images_per_second", "accuracy", "top5", "loss",
                 "sparsity", "latency_ms")}, "parameters": 1, "nonzeros": 1, "macs": 1, "bytes": 1}
        whole = {"name": "x", "seed": 0, "device": "cpu", "threads": 1, "version": "0", "commit": "c", "stages": [stage]}
        for text in (*HOSTILE.values(), "x" * 900_000):
            self.write("run/result.json", {**whole, "stages": [{**stage, "name": text}]})
            self.harmless("compare", "run", "run", code=0)
            self.write("run/result.json", {**whole, "seed": text})
            self.harmless("compare", "run", code=1)
            self.write("run/result.json", {**whole, "stages": [{**stage, "best": {text: 1}}]})
            self.harmless("compare", "run", code=1)

    def test_weights_files(self):
        for text in (*HOSTILE.values(), "x" * 900_000):
            for name, content in (("tensor", safetensors_bytes({text: ([1], [0.0])})),
                                  ("dtype", safetensors_bytes({"a": ([1], [0.0])}, lie=lambda h: h["a"].update(dtype=text))),
                                  ("config", safetensors_bytes({}, {"espalier.config": text})),
                                  ("sums", safetensors_bytes({}, {"espalier.checksums": text})),
                                  ("history", safetensors_bytes({}, {"espalier.config": json.dumps(config()),
                                                                     "espalier.history": text}))):
                self.write("w.safetensors", content)
                with self.subTest(name=name, text=text[:10]):
                    for command in (["eval", "w.safetensors"], ["inspect", "w.safetensors"], ["graph", "w.safetensors"],
                                    ["check", "small.json", "--set", "model.weights=w.safetensors"],
                                    ["bench", "infer", "--checkpoint", "w.safetensors"]):
                        self.assertIn(self.harmless(*command).returncode, (1, 2))

    def test_metadata_cannot_exhaust_the_stack(self):
        """Nor can a config whose model comes from weights."""
        self.succeeds("train", "small.json", "--quiet", "--set", "stages.dense.train.steps=1")
        for key in ("position", "classes", "history", "config", "checksums"):
            for text in ("[" * 100_000, '{"results":' * 100_000, "[" * 100_000 + "]" * 100_000):
                metadata = {"espalier.config": json.dumps(config()), "espalier.position": "{}", f"espalier.{key}": text}
                self.write("deep.safetensors", safetensors_bytes({}, metadata))
                for command in (["inspect", "deep.safetensors"], ["eval", "deep.safetensors"],
                                ["check", "small.json", "--set", "model={\"weights\":\"deep.safetensors\"}"]):
                    with self.subTest(key=key, text=text[:10], command=command[0]):
                        self.assertIn(self.harmless(*command).returncode, (1, 2))
                self.write("runs/small/checkpoint.safetensors", safetensors_bytes({}, metadata))
                self.assertIn(self.harmless("train", "small.json", "--resume").returncode, (1, 2))
        deep = json.dumps(config()).replace('"seed"', "").replace('"hidden": [12]', '"hidden": ' + "[" * 10**6 + "]" * 10**6)
        self.write("deep.json", deep.replace('"type": "mlp"', '"weights": "runs/small/models/dense.safetensors"'))
        result = self.harmless("check", "deep.json", code=2)
        self.assertIn(b"more than 100 lists and objects inside of each other", result.stderr)

    def test_folders_of_images(self):
        self.write("images.json", {"model": {"type": "mlp", "input": [4, 4, 3], "hidden": [4], "classes": 2},
                                   "data": {"type": "image_folder", "path": "pets", "batch": 2},
                                   "stages": [{"name": "dense", "train": sgd(steps=1)}]})
        cache = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        for split in ("train", "test"):
            for label in ("cat", "\x1b[2J\x7f\x9b"):
                for i in range(2):
                    self.write(f"data/pets/{split}/{label}/{i}.png", png(4, 4, 3, 10 * i))
        self.write("data/pets/train/cat/\x1b[2J.txt", b"")
        self.harmless("check", "images.json", environment=cache, code=0)
        self.harmless("train", "images.json", environment=cache, code=0)
        self.harmless("eval", "runs/images/checkpoint.safetensors", "--json", environment=cache, code=0)
        self.write("data/pets/train/cat/\x1b[2J\n.png", b"no image")
        self.harmless("check", "images.json", environment=cache, code=1)
        self.harmless("check", "images.json", "--set", "data.skip_corrupt=true", environment=cache, code=0)
        (self.folder / "data/pets").rename(os.fsdecode(os.fsencode(self.folder) + b"/data/p\xe9"))
        self.harmless("check", "images.json", "--set", "data.skip_corrupt=true", "--set", "data.path=.",
                      "--data", os.fsdecode(b"data/p\xe9"), environment=cache, code=0)


if __name__ == "__main__":
    unittest.main()
