"""Runs that start from a file of weights: of a pruned run, and of other tools."""

import json
import os
import pathlib
import re
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, png, safetensors, safetensors_bytes, sgd

TUNED = {"name": "tuned", "train": sgd(steps=20)}


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


class FromWeights(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()

    def sparsity(self, run):
        return self.read_json(f"{run}/result.json")["stages"][-1]["sparsity"]

    def start(self, model, *stages, run="second", warns=""):
        """What a run says that starts from `model`."""
        self.write("second.json", {**config(*(stages or [TUNED])), "model": model})
        result = self.espalier("train", "second.json", "--output", run)
        self.assertEqual((result.returncode, result.stderr), (0, warns))
        return result.stdout

    def prune(self, run, *stages, **prune):
        self.write("first.json", config({"name": "pruned", "prune": {"sparsity": 0.9, **prune}}, *stages))
        self.succeeds("train", "first.json", "--quiet", "--output", run)


class Masks(FromWeights):
    def test_of_a_run_hold_in_the_next(self):
        self.prune("first", {"name": "trained", "train": sgd(steps=5)})
        for file in ("checkpoint.safetensors", "models/pruned.safetensors", "models/trained.safetensors"):
            with self.subTest(file=file):
                run = "from-" + os.path.basename(file)
                said = self.start({"weights": f"first/{file}"}, run=run)
                self.assertIn(f"first/{file}: its masks are kept: 90 % of the weights stay 0\n", said)
                self.assertAlmostEqual(self.sparsity(run), 0.9, places=3)
        self.assertIn("note    first/models/pruned.safetensors: its masks are kept",
                      self.succeeds("check", "second.json", "--set", "model.weights=first/models/pruned.safetensors"))

    def test_hold_through_resume_and_later_prunes(self):
        self.prune("first")
        stages = [TUNED, {"name": "more", "prune": {"sparsity": 0.95, "scope": "layer"}},
                  {"name": "again", "train": sgd(steps=20)}]
        self.write("second.json", {**config(*stages), "model": {"weights": "first/checkpoint.safetensors"}})
        result = self.espalier("train", "second.json", "--output", "second")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"\Awarning: stage 'more': layer collapse: fc2 will be left with 6 of 120 weights, and has 10 "
                                        r"outputs\nwarning: stage 'more': layer collapse: fc2 is left with 6 of 120 weights, in \d of "
                                        r"10 filters\n\Z")
        tuned, _, again = self.read_json("second/result.json")["stages"]
        self.assertAlmostEqual(tuned["sparsity"], 0.9, places=3)
        self.assertGreater(again["sparsity"], 0.949)
        self.write("second.json", {**config(*stages), "model": {"weights": "second/checkpoint.safetensors"}})
        self.assertEqual(self.espalier("train", "second.json", "--quiet", "--output", "third").returncode, 0)
        self.assertIn("done already", self.succeeds("train", "second.json", "--resume", "--output", "third"))
        less = {"name": "less", "prune": {"sparsity": 0.5, "remove": True}}
        self.start({"weights": "first/checkpoint.safetensors"}, less, TUNED, run="removed")
        stages = self.read_json("removed/result.json")["stages"]
        self.assertAlmostEqual(stages[0]["sparsity"], 0.9, places=3)
        self.assertLess(stages[1]["sparsity"], 0.8)

    def test_of_a_network_that_was_cut(self):
        self.prune("first", {"name": "cut", "prune": {"unit": "channel", "ratio": 0.25}})
        before = self.sparsity("first")
        for file in ("checkpoint.safetensors", "models/cut.safetensors"):
            self.assertIn("its masks are kept", self.start({"weights": f"first/{file}"}, run=file[:6]))
            self.assertAlmostEqual(self.sparsity(file[:6]), before)

    def test_are_let_go_where_that_is_asked(self):
        self.prune("first")
        self.assertNotIn("stay 0", self.start({"weights": "first/checkpoint.safetensors", "hold_zeros": False}))
        self.assertLess(self.sparsity("second"), 0.8)
        # What a file's own run was told to hold says nothing of the next.
        self.assertIn("masks are kept", self.start({"weights": "first/checkpoint.safetensors"}, run="third"))


class PlainZeros(FromWeights):
    def test_are_warned_of_or_held(self):
        self.prune("first", remove=True)
        file = "first/models/pruned.safetensors"
        warning = (f"{file}: 90 % of its weights are exactly 0, and training may change them: "
                   '"hold_zeros": true in the config\'s model keeps them at 0\n')
        self.start({"weights": file}, warns=warning)
        self.assertLess(self.sparsity("second"), 0.8)
        checked = self.succeeds("check", "second.json")
        self.assertIn("warning  " + warning, checked)
        self.start({"weights": file}, {"name": "seen", "evaluate": {}}, run="untrained")  # nothing may change
        said = self.start({"weights": file, "hold_zeros": True}, run="held")
        self.assertIn(f"{file}: its zeros are held: 90 % of the weights stay 0\n", said)
        self.assertAlmostEqual(self.sparsity("held"), 0.9, places=3)
        self.assertNotIn("stay 0", self.start({"weights": file, "hold_zeros": False}, run="free"))
        # The next run is told by its file, not by the config that the file was made with.
        self.assertIn("its masks are kept", self.start({"weights": "held/models/tuned.safetensors"}, run="next"))

    def test_of_chance_are_nothing(self):
        self.write("first.json", config({"name": "dense", "train": sgd(steps=2)}))
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        tensors, _ = safetensors(self.folder / "first/models/dense.safetensors")
        values = {name: (shape, floats(data)) for name, (_, shape, data) in tensors.items()}
        values["fc1.weight"] = ([12, 64], (0.0,) + values["fc1.weight"][1][1:])
        self.write("plain.safetensors", safetensors_bytes(values))
        self.start({**config()["model"], "weights": "plain.safetensors"})

    def test_are_of_weights_that_are_read(self):
        self.write("second.json", {**config(), "model": {**config()["model"], "hold_zeros": True}})
        self.fails_unwritten(2, "second.json: /model/hold_zeros: is for weights that are read, which 'weights' names",
                             "check", "second.json")


class TheirData(FromWeights):
    """What a file says of the data that it was trained on."""

    NORMALIZE = {"mean": [0.2], "std": [0.4]}

    def first(self, **data):
        self.write("first.json", config({"name": "dense", "train": sgd(steps=40)},
                                        data={**config()["data"], **data}))
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        return "first/models/dense.safetensors"

    def evaluate(self, file, run, warns="", **data):
        self.write("second.json", {"model": {"weights": file}, "data": {**config()["data"], **data},
                                   "stages": [{"name": "seen", "evaluate": {}}]})
        checked = self.espalier("check", "second.json")
        result = self.espalier("train", "second.json", "--output", run)
        self.assertEqual((result.returncode, result.stderr), (0, warns))
        self.assertEqual(warns in checked.stdout.replace("\n         ", " "), True, checked.stdout)
        return checked.stdout, result.stdout, self.read_json(f"{run}/result.json")["stages"][0]["loss"]

    def test_pixels_are_normalised_as_they_were(self):
        file = self.first(normalize=self.NORMALIZE)
        loss = self.read_json("first/result.json")["stages"][0]["loss"]
        line = (f"{file}: pixels are normalised as when it was trained, for the config has no data.normalize: "
                "mean 0.2, std 0.4\n")
        checked, said, again = self.evaluate(file, "taken")
        self.assertEqual(again, loss)
        self.assertEqual((checked.count(line), said.count(line)), (1, 1), checked + said)
        self.assertEqual(self.read_json("taken/config.json")["data"]["normalize"], self.NORMALIZE)
        _, said, again = self.evaluate(file, "same", normalize=self.NORMALIZE)
        self.assertEqual((again, line in said), (loss, False))
        warning = f"{file}: was trained on pixels of mean 0.2, std 0.4, and the config's are of mean 0, std 1\n"
        _, _, raw = self.evaluate(file, "raw", warning, normalize={"mean": [0], "std": [1]})
        self.assertNotEqual(raw, loss)

        # A run goes on as it was begun, also one of a version that took nothing from the file.
        self.evaluate(file, "taken-2")
        self.assertIn("done already", self.succeeds("train", "second.json", "--resume", "--output", "taken-2"))
        old = self.read_json("raw/config.json")
        self.assertIn("done already", self.succeeds("train", "--resume", "raw"))
        self.assertEqual(self.read_json("raw/config.json"), old)

    def test_what_was_not_normalised_is_warned_of(self):
        file = self.first()
        _, said, _ = self.evaluate(file, "plain")
        self.assertNotIn("normalised", said)
        self.evaluate(file, "other", f"{file}: was trained on pixels that were not normalised, and the config's are of "
                      "mean 0.2, std 0.4\n", normalize=self.NORMALIZE)

    def folders(self, name, *classes):
        for split in ("train", "test"):
            for label, one in enumerate(classes):
                self.write(f"data/{name}/{split}/{one}/0.png", png(SIDE, SIDE, 1, 80 * label))
        return {"type": "image_folder", "path": name, "batch": 2}

    def test_classes_are_the_same_or_begin_afresh(self):
        self.write("first.json", config({"name": "dense", "train": sgd(steps=2)}, data=self.folders("pets", "cat", "dog")))
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        file = "first/models/dense.safetensors"
        hint = '"skip": ["fc2"] in the config\'s model starts that layer afresh'
        second = {"model": {"weights": file}, "data": self.folders("zoo", "ape", "bear"),
                  "stages": [{"name": "tuned", "train": sgd(steps=2)}]}
        self.write("second.json", second)
        for command in ("check", "train"):
            self.fails(1, f"data/zoo: class 0 is 'ape', expected 'cat', with which {file} was trained; {hint}",
                       command, "second.json")
        self.write("third.json", {**second, "data": self.folders("farm", "cow", "goat", "hen")})
        for command in ("check", "train"):
            self.fails(1, f"data/farm: farm train has 3 classes, expected the model's 2 (those of {file}, or third.json: "
                       f"/model/classes; {hint}): cow, goat, hen", command, "third.json")
        skip = ("--set", 'model.skip=["fc2"]')
        for config_file in ("second.json", "third.json"):
            self.succeeds("check", config_file, *skip)
            self.succeeds("train", config_file, *skip)


class OtherTools(FromWeights):
    def setUp(self):
        super().setUp()
        self.write("first.json", config({"name": "seen", "evaluate": {}}))
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        tensors, _ = safetensors(self.folder / "first/models/seen.safetensors")
        self.values = {name: (shape, floats(data)) for name, (_, shape, data) in tensors.items()}

    def start_from(self, values, *stages, run="second", lie=lambda header: None):
        self.write("other.safetensors", safetensors_bytes(values, lie=lie))
        return self.start({**config()["model"], "weights": "other.safetensors"}, *stages, run=run)

    def assert_read(self, run):
        tensors, _ = safetensors(self.folder / run / "models/seen.safetensors")
        self.assertEqual({name: (shape, floats(data)) for name, (_, shape, data) in tensors.items()}, self.values)

    def test_prefixes_before_all_names_are_taken_off(self):
        for prefix in ("model.", "module.", "module._orig_mod.", "module.model."):
            with self.subTest(prefix=prefix):
                said = self.start_from({prefix + name: value for name, value in self.values.items()},
                                       {"name": "seen", "evaluate": {}}, run=prefix)
                self.assertEqual(said.count(f"other.safetensors: '{prefix}' is taken off all its names\n"), 1, said)
                self.assert_read(prefix)
        self.values["model.fc1.weight"] = self.values.pop("fc1.weight")
        self.write("other.safetensors", safetensors_bytes(self.values))
        self.fails(1, "other.safetensors: no tensor 'fc1.weight', which the model needs", "check", "second.json")

    def test_pruned_in_pytorch_its_mask_is_kept(self):
        values = dict(self.values)
        shape, original = values.pop("fc1.weight")
        mask = [float(i % 4 == 0) for i in range(len(original))]
        values["module.fc1.weight_orig"], values["module.fc1.weight_mask"] = (shape, original), (shape, mask)
        values = {name if name.startswith("module.") else "module." + name: value for name, value in values.items()}
        said = self.start_from(values)
        share = 100 * (len(original) * 3 / 4) / (len(original) + 120)
        self.assertIn(f"other.safetensors: its masks are kept: {share:.3g} % of the weights stay 0\n", said)
        tensors, _ = safetensors(self.folder / "second/models/tuned.safetensors")
        trained = floats(tensors["fc1.weight"][2])
        self.assertEqual([value != 0 for value in trained], [value != 0 for value in mask])
        self.assertNotEqual([value for value in trained if value],
                            [value for value, kept in zip(original, mask) if kept])
        values["module.fc1.weight_mask"] = ([4], [1.0] * 4)
        self.write("other.safetensors", safetensors_bytes(values))
        self.fails(1, "other.safetensors: 'fc1.weight_mask' is f32[4], expected f32 or u8 as large as "
                      "'fc1.weight_orig', f32[12, 64]", "check", "second.json")

    def test_metadata_may_be_null(self):
        self.start_from(self.values, {"name": "seen", "evaluate": {}},
                        lie=lambda header: header.update(__metadata__=None))
        self.assert_read("second")

    def test_batch_norms_may_lack_their_counts(self):
        model = {"type": "vgg11", "input": [32, 32, 1], "width": 0.05, "classes": 10}
        data = {"type": "synthetic", "train_images": 40, "test_images": 20, "batch": 20}
        stages = [{"name": "seen", "train": sgd(steps=3)}]
        self.write("first.json", {"model": model, "data": data, "stages": stages})
        self.succeeds("train", "first.json", "--quiet", "--output", "vgg")
        tensors, _ = safetensors(self.folder / "vgg/models/seen.safetensors")
        values = {name: (shape, floats(content)) for name, (_, shape, content) in tensors.items()
                  if not name.endswith("num_batches_tracked")}
        self.assertLess(len(values), len(tensors))
        self.write("other.safetensors", safetensors_bytes(values))
        self.write("second.json", {"model": {**model, "weights": "other.safetensors"}, "data": data, "stages": stages})
        self.succeeds("train", "second.json", "--quiet", "--output", "second")
        counts = [content for name, (_, _, content) in
                  safetensors(self.folder / "second/models/seen.safetensors")[0].items()
                  if name.endswith("num_batches_tracked")]
        self.assertEqual(set(counts), {struct.pack("<q", 3)})


class Files(FromWeights):
    """docs/formats.md names all that they hold."""
    LAYERS = [{"type": "conv", "channels": 8}, {"type": "norm"}, {"type": "activation"},
              {"type": "conv", "channels": 8}, {"type": "activation"}, {"type": "flatten"}, {"type": "linear"}]

    def test_hold_what_the_page_says(self):
        cut = {"unit": "channel", "criterion": "l1", "ratio": 0.25, "min_channels": 1}
        average = {"name": "tuned", "train": {"steps": 20, "ema": 0.5, "optimizer": {"type": "adam", "lr": 0.01},
                                              "regularize": {"type": "greg1", "ratio": 0.25}}}
        self.write("first.json", {**config({"name": "cut", "prune": cut},
                                           {"name": "zeroed", "prune": {**cut, "ratio": 0.4, "apply": "zero"}}, average),
                                  "model": {"type": "layers", "input": [SIDE, SIDE, 1], "layers": self.LAYERS}})
        self.succeeds("train", "first.json", "--quiet", "--output", "first")
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text().split("## The graph")[0]
        rows = set(re.findall(r"`([\w./]+)`", "".join(line for line in page.splitlines() if line.startswith("| `"))))
        model, last, end = ("models/tuned.safetensors", "last_step.safetensors", "checkpoint.safetensors")
        files = {name: safetensors(self.folder / "first" / name) for name in (model, last, end)}
        kinds = {name: {re.sub("[^/]+$", "NAME", tensor) for tensor in tensors} for name, (tensors, _) in files.items()}
        self.assertEqual(kinds, {model: {"NAME"}, end: {"NAME", "mask/NAME"},
                                 last: {"NAME", "mask/NAME", "slot0/NAME", "slot1/NAME", "average/NAME"}})
        self.assertLessEqual(set.union(*kinds.values()), rows)
        keys = {key for _, metadata in files.values() for key in metadata}
        self.assertEqual(keys, {key for key in rows if key == "format" or key.startswith("espalier.")} -
                         {"espalier.checksums", "espalier.normalize", "espalier.classes"})
        self.assertNotIn("espalier.position", files[model][1])
        masks = {name.split("/")[1] for name in files[last][0] if name.startswith("mask/")}
        self.assertLessEqual({"norm1.weight", "norm1.bias", "conv2.bias", "linear1.weight"}, masks)
        self.assertEqual(set(json.loads(files[model][1]["espalier.masked"])), masks)
        tensors = files[last][0]
        for name in masks:  # all that belongs to a parameter is 0 where its mask is
            for kind in ("", "slot0/", "slot1/", "average/"):
                held = [value for value, kept in zip(floats(tensors[kind + name][2]), tensors["mask/" + name][2]) if not kept]
                self.assertEqual(set(held), {0.0}, kind + name)
            self.assertEqual(files[model][0][name][2], tensors["average/" + name][2])
        history = json.loads(files[end][1]["espalier.history"])
        self.assertEqual({key for one in history for key in one}, {"before", "kept", "axes"})
        position = json.loads(files[last][1]["espalier.position"])
        self.assertEqual(set(position["callbacks"]), {"evaluate", "metrics", "regularize"})
        self.assertEqual(json.loads(files[end][1]["espalier.position"])["stage"], 3)


if __name__ == "__main__":
    unittest.main()
