"""Each command as it should go, and as it goes when it is mistyped."""

import fcntl
import json
import math
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, SIDE, config, safetensors, sgd

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Usage(CliTest):
    def test_without_arguments_usage(self):
        listed = re.findall(r"^  (\w+)  ", self.succeeds("help").split("Commands:")[1].split("\n\n")[0], re.M)
        self.assertEqual(listed[0], "train")
        self.assertIn("version", listed)
        self.fails_unwritten(2, f"no command given; usage: espalier {'|'.join(listed)} ...; `espalier help` says more")

    def test_mistyped(self):
        for arguments, message in (
                ("trian", "no command 'trian', did you mean 'train'?"),
                ("frobnicate", "no command 'frobnicate'; `espalier help` lists them"),
                ("a.json", "no command 'a.json', did you mean 'espalier train a.json'?"),
                ("--quiet train a.json", "'--quiet' stands before the command; options come after it"),
                ("train", "train: CONFIG is required; see `espalier train --help`"),
                ("train --outptu x", "train: no option '--outptu', did you mean '--output'?"),
                ("train a.json --resmue", "train: no option '--resmue', did you mean '--resume'?"),
                ("train a.json b.json", "train: one argument too many: 'b.json'; see `espalier train --help`"),
                ("train a.json --output", "train: --output needs DIR; see `espalier train --help`"),
                ("train a.json --output=", "train: --output needs DIR; see `espalier train --help`"),
                ("train a.json --threads 0",
                 "train: --threads: found '0', expected a whole number from 1 to 1024"),
                ("train a.json --threads many",
                 "train: --threads: found 'many', expected a whole number from 1 to 1024"),
                ("train a.json --device cdua",
                 "train: --device: found 'cdua', expected cpu, cuda, cuda:N or auto, did you mean 'cuda'?"),
                ("check --quiet a.json", "check: no option '--quiet'; see `espalier check --help`"),
                ("eval", "eval: CHECKPOINT is required; see `espalier eval --help`"),
                ("eval --jsn a", "eval: no option '--jsn', did you mean '--json'?"),
                ("inspect", "inspect: CONFIG|CHECKPOINT is required; see `espalier inspect --help`"),
                ("graph", "graph: CONFIG|CHECKPOINT is required; see `espalier graph --help`"),
                ("graph a.json --dott x", "graph: no option '--dott', did you mean '--dot'?"),
                ("explain", "explain: CONFIG is required; see `espalier explain --help`"),
                ("explain a.json --stge x", "explain: no option '--stge', did you mean '--stage'?"),
                ("sensitivity", "sensitivity: CHECKPOINT is required; see `espalier sensitivity --help`"),
                ("compare", "compare: RUN is required; see `espalier compare --help`"),
                ("bench", "bench: train|infer is required; see `espalier bench --help`"),
                ("bench tran --model mlp", "bench: found 'tran', expected train or infer, did you mean 'train'?"),
                ("bench train", "bench: needs --model NAME or --checkpoint FILE"),
                ("bench infer", "bench: needs --model NAME or --checkpoint FILE"),
                ("bench train --model mlpp", "bench: --model: no model 'mlpp', did you mean 'mlp'?"),
                ("bench train --model x", "bench: --model: no model 'x'; `espalier help models` lists them"),
                ("bench train --model mlp --input 28x28",
                 "bench: --input: found '28x28', expected HEIGHTxWIDTHxCHANNELS, such as 224x224x3"),
                ("bench train --model mlp --input 28x28x",
                 "bench: --input: found '28x28x', expected HEIGHTxWIDTHxCHANNELS, such as 224x224x3"),
                ("bench train --model mlp --batch -1",
                 "bench: --batch: found '-1', expected a whole number from 1 to 1000000"),
                ("bench train --model mlp --seconds 0",
                 "bench: --seconds: found '0', expected seconds: above 0, at most 86400"),
                ("bench infer --checkpoint x --classes 3", "bench: --classes: the checkpoint has its own"),
                ("help confg", "help: nothing is called 'confg', did you mean 'config'?"),
                ("help sparsty", "help: nothing is called 'sparsty', did you mean 'sparsity'?"),
                ("help lmap", "help: nothing is called 'lmap', did you mean 'lamp'?"),
                ("help stages.dense.train.epocs", "help: nothing is called 'stages.dense.train.epocs', did you mean 'epochs'?"),
                ("help frobnicate", "help: nothing is called 'frobnicate'; `espalier help` lists what there is"),
                ("help train --all", "help: --all: is for `espalier help config --all`"),
                ("help train lamp", "help: one argument too many: 'lamp'; see `espalier help --help`"),
                ("help methods lmap", "help: methods: no method 'lmap', did you mean 'lamp'?"),
                ("help methods frobnicate", "help: methods: no method 'frobnicate'; `espalier help methods` lists them"),
                ("completion fisch", "completion: found 'fisch', expected bash, zsh or fish, did you mean 'fish'?")):
            with self.subTest(arguments):
                self.fails_unwritten(2, message, *arguments.split())

    def test_empty(self):
        for option in ("--output", "--data"):
            self.fails_unwritten(2, f"train: {option}: is empty", "train", "a.json", option, "")

    def test_unknown_instruction_set(self):
        self.fails_unwritten(2, "ESPALIER_ISA: 'sse9' is no instruction set, expected avx2 or avx512",
                             "inspect", "a.json", environment={"ESPALIER_ISA": "sse9"})

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run(**self.command("help", "config"), stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((result.returncode, result.stderr),
                         (1, "espalier: standard output: cannot be written\n"))

    def test_a_reader_that_goes_away_is_no_failure(self):
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run(**self.command("help", "schema"), stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


class Help(CliTest):
    def test_every_command_has_help(self):
        overview = self.succeeds("help")
        self.assertEqual(self.succeeds("--help"), overview)
        self.assertEqual(self.succeeds("-h"), overview)
        commands = re.search(r"\nCommands:\n(.*?)\n\n", overview, re.DOTALL)[1]
        names = re.findall(r"^  (\w+) ", commands, re.MULTILINE)
        self.assertLessEqual({"train", "check", "eval", "predict", "inspect", "graph", "explain", "sensitivity", "sweep", "compare", "bench",
                              "help", "completion", "version"}, set(names))
        for command in names:
            text = self.succeeds(command, "--help")
            self.assertIn(f"Usage: espalier {command}", text)
            self.assertTrue(self.succeeds("help", command).startswith(text))

    def test_topics(self):
        for topic, part in (("config", "seed"), ("models", "lenet300"), ("data", "ESPALIER_DATA"), ("criteria", "l2"), ("regrowths", "rigl"), ("init", "kaiming_normal"),
                            ("methods", "gradual_magnitude"), ("environment", "NO_COLOR"), ("man", ".TH ESPALIER 1"), ("runs", "STAGE.best.safetensors")):
            self.assertIn(part, self.succeeds("help", topic))
        self.assertIn(self.succeeds("help", "runs"), self.succeeds("help", "best"))

    def test_config_in_sections(self):
        overview = self.succeeds("help", "config")
        self.assertLess(len(overview.splitlines()), 70)
        model = self.succeeds("help", "config.model")
        self.assertTrue(model.startswith("model: the network\n"), model)
        self.assertRegex(model, r"\n {14}default \[28, 28, 1\] for type mlp, lenet300, lenet5(, [\w, ]+)?\n")
        self.assertNotIn("optimizer", model)
        self.assertNotIn("bench", model)
        self.assertIn("\n  momentum ", self.succeeds("help", "optimizer"))
        for path in ("stages.train.optimizer", "config.stages.N.train.optimizer", "/stages/0/train/optimizer"):
            self.assertEqual(self.succeeds("help", path), self.succeeds("help", "optimizer"))
        for path in ("stages.dense.train.epochs", "/stages/dense/train/epochs", "/stages/0/train/epochs"):
            self.assertEqual(self.succeeds("help", path), self.succeeds("help", "stages.train.epochs"))
        whole = self.succeeds("help", "config", "--all")
        for section in re.findall(r"^  ([a-z_.N]+\.[a-z_.N]+) ", overview, re.MULTILINE):
            self.assertIn(f"\n{section}: ", whole)

    def test_words(self):
        for word, parts in (
                ("sparsity", ["stages.N.train.prune.sparsity, stages.N.prune.sparsity\n"]),
                ("lamp", ["A criterion:\n  lamp ", "stages.N.train.prune.criterion, stages.N.prune.criterion\n"]),
                ("vgg19", ["A model:\n  vgg19 ", "model.type\n", "    batch_norm  a norm"]),
                ("adamw", ["stages.N.train.optimizer.type\n", "    weight_decay  ", "default 0.01"]),
                ("threads", ["espalier train --threads N"]),
                ("train", ["Usage: espalier train [OPTIONS] CONFIG\n", "`espalier help config.train`"])):
            text = self.succeeds("help", word)
            for part in parts:
                self.assertIn(part, text)

        self.assertIn("\n    for unit weight, filter, row, column, kernel, block, layer\n", self.succeeds("help", "sparsity"))

    def test_help_on_what_others_call_otherwise(self):
        source = (ROOT / "cli" / "help.cpp").read_text()
        synonyms = re.findall(r'\{"([\w-]+)", \{("[^}]*")\}\}', source)
        self.assertGreater(len(synonyms), 20)
        for word, here in synonyms:
            text = self.succeeds("help", word)
            self.assertTrue(text.startswith(f"{word}: here that is "), text)
            for cased in (word.capitalize(), word.upper()):
                self.assertEqual(self.succeeds("help", cased), text.replace(word, cased, 1))
            for name in json.loads(f"[{here}]"):
                self.assertIn(self.succeeds("help", name).strip(), text)
        self.assertRegex(self.espalier("help", "statistics").stderr, "^espalier: help: nothing is called 'statistics'; the help "
                                                                 r"on (\w+, )+\w+ mentions it; `espalier help` lists what there is\n$")

    def test_help_fits_the_screen(self):
        for about in ((), ("config",), ("config", "--all"), ("models",), ("data",), ("criteria",), ("model",), ("vgg19",),
                      ("train",), ("bench",), ("methods",), ("methods", "depgraph")):
            for width, text in ((80, self.succeeds("help", *about)), (60, self.on_terminal(60, "help", *about))):
                longest = max(re.sub(r"https://\S+", "", text).splitlines(), key=len)  # an address stays whole
                self.assertLessEqual(len(longest), width, longest)

    def on_terminal(self, columns, *arguments):
        """What the program shows on a terminal of so many columns."""
        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(**self.command(*arguments), stdout=terminal)
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(main, 65536):
                shown += part
        except OSError:  # the end, as Linux says it
            pass
        os.close(main)
        self.assertEqual(process.wait(), 0)
        return shown.decode().replace("\r\n", "\n")

    def test_criteria_say_what_they_look_at_and_how_scores_become_one(self):
        entries = re.split(r"\n(?=\S)", self.succeeds("help", "criteria"))
        of = {entry.split()[0]: " ".join(entry.split()[1:]) for entry in entries}
        for name, looks in (("bn_scale", "of a channel it looks at its norms' scales; reduction mean; normalizer none"),
                            ("group_norm", "of a channel it looks at the weights that make and read it and its norms' "
                                           "scales; reduction mean; normalizer mean"),
                            ("taylor", "scales and at the squares of batches' dL/dw; reduction mean; normalizer mean"),
                            ("random", "of a channel it looks at nothing; normalizer none")):
            self.assertIn(looks, of[name])

    def test_each_method_is_a_config_that_runs(self):
        text = self.succeeds("help", "methods")
        entries = re.split(r"\n(?=\w)", text.split("\n\n", 1)[1])
        self.assertGreater(len(entries), 20)
        for entry in entries:
            name = entry.split()[0]
            with self.subTest(method=name):
                self.write(f"{name}.json", self.succeeds("help", "methods", name))
                self.succeeds("inspect", f"{name}.json")
                self.assertIn(f"`espalier help methods {name}`", self.succeeds("help", name))
        self.assertIn(" criterion lamp, scope global", " ".join(text.split()))
        self.assertEqual((self.folder / "lamp.json").read_text().splitlines()[0],
                         "// lamp: the smallest weights by their share of what is left of their layer go")
        self.write_data()
        self.succeeds("train", "random.json", "--quiet", "--set", "model.input=[8, 8, 1]", "--set", "stages.sparse.train.epochs=1")
        stages = self.read_json("runs/random/result.json")["stages"]
        self.assertEqual([(stage["name"], round(stage["sparsity"], 3)) for stage in stages], [("pruned", 0.8), ("sparse", 0.8)])

    def test_schema_is_the_one_that_the_build_left_for_editors(self):
        self.assertEqual(self.succeeds("help", "schema"), (ROOT / "configs" / "schema.json").read_text())

    def test_version(self):
        line = self.succeeds("--version")
        self.assertRegex(line, r"^espalier \d+\.\d+\.\d+ \(([0-9a-f]{12}|unknown)\)\n$")
        self.assertEqual(self.succeeds("-V"), line)
        self.assertRegex(self.succeeds("version").removeprefix(line),
                         r"^instruction set  \w+ \(this machine has: .*\)\n"
                         r"threads          \d+\ncompiler         \w+ .*\n$")


class Train(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())

    def test_a_run(self):
        text = self.succeeds("train", "small.json")
        run = self.folder / "runs" / "small"
        self.assertEqual({str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()},
                         {"config.json", "log.txt", "metrics.jsonl", "checkpoint.safetensors", "result.json",
                          "models/dense.safetensors", "models/pruned.safetensors"})
        self.assertRegex(text, r"^small: mlp with 120 images to train on and 40 to test, \d+ threads?, \w+\n")
        self.assertIn("runs/small holds the models, metrics and result.json", text)
        result = self.read_json("runs/small/result.json")
        self.assertEqual([(stage["name"], stage["kind"]) for stage in result["stages"]],
                         [("dense", "train"), ("pruned", "prune")])
        weights = SIDE * SIDE * 12 + 12 * 10
        self.assertEqual(result["stages"][1]["sparsity"], 0.5)
        self.assertEqual(result["stages"][0]["nonzeros"] - result["stages"][1]["nonzeros"], weights // 2)
        self.assertEqual(result["stages"][0]["bytes"], (run / "models" / "dense.safetensors").stat().st_size)
        rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([row["step"] for row in rows if row["stage"] == "dense"][-1], 20)
        self.assertEqual([row["prune"]["unit"] for row in rows if "prune" in row], ["weight"])

    def test_quiet_and_set_and_output_and_data(self):
        (self.folder / "data").rename(self.folder / "elsewhere")
        text = self.succeeds("train", "small.json", "--quiet", "--data", "elsewhere", "--output", "deep/er",
                             "--set", "stages.dense.train.steps=3", "--set", "stages.1.prune.sparsity=0.25",
                             "--set", "model.hidden=[6, 5]", "--threads", "1")
        self.assertEqual((text, self.read_json("deep/er/result.json")["threads"]), ("", 1))
        saved = self.read_json("deep/er/config.json")
        self.assertEqual(saved["stages"][0]["train"]["steps"], 3)
        self.assertEqual(saved["model"]["hidden"], [6, 5])
        self.assertEqual(self.read_json("deep/er/result.json")["stages"][1]["sparsity"], 0.25)

    def test_data_root(self):
        self.write("rooted.json", config(data={"type": "mnist", "batch": 10, "root": "no-such"}))
        missing = " lacks train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, " \
                  "t10k-labels-idx1-ubyte (plain, .gz or .xz); get them by `scripts/get-data mnist`, or say where " \
                  "they are by --data or ESPALIER_DATA"
        self.fails_unwritten(1, f"mnist: no-such/mnist{missing}", "train", "rooted.json",
                             environment={"ESPALIER_DATA": "data"})
        self.fails_unwritten(1, f"mnist: nor-here/mnist{missing}", "train", "small.json",
                             environment={"ESPALIER_DATA": "nor-here"})
        self.fails_unwritten(1, f"mnist: here/mnist{missing}", "train", "small.json", "--data", "here")
        self.succeeds("train", "rooted.json", "--data", "data")

    def test_autotune_keeps_its_choices(self):
        self.succeeds("train", "small.json", "--autotune")
        self.assertIsInstance(self.read_json("runs/small/kernels.json"), dict)

    def test_a_reader_that_goes_away_does_not_end_the_run(self):
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run(**self.command("train", "small.json"), stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue((self.folder / "runs" / "small" / "result.json").exists())

    def test_nan_stops_with_step_layer_and_checkpoint(self):
        self.write("nan.json", config({"name": "dense", "train": sgd(epochs=1)},
                                      {"name": "hot", "train": {"steps": 9, "optimizer": {"type": "sgd", "lr": 1e30}}}))
        result = self.espalier("train", "nan.json")
        self.assertEqual((result.stderr.splitlines()[1:], result.returncode),  # the first is a warning of the rate
                         (["espalier: stage 'hot': the loss is nan at step 2 (epoch 1), first seen in the output of fc2 "
                           "(linear); the last good checkpoint is runs/nan/checkpoint.safetensors (step 0); a lower "
                           "learning rate or optimizer.clip_norm may help"], 1))
        self.assertIn("dense  epoch 1/1", result.stdout)
        self.assertFalse((self.folder / "runs" / "nan" / "result.json").exists())
        self.assertIn("runs/nan: goes on with stage 'hot', step 1",
                      self.espalier("train", "nan.json", "--resume").stdout)


class OfARun(CliTest):
    """Commands that read what a run has written."""

    def setUp(self):
        super().setUp()
        self.write_data()
        stages = ({"name": "dense", "train": sgd(epochs=4, ema=0.9)}, {"name": "pruned", "prune": {"sparsity": 0.5}})
        self.write("small.json", config(*stages))
        self.succeeds("train", "small.json", "--quiet")
        self.results = self.read_json("runs/small/result.json")["stages"]

    def test_eval(self):
        for file, stage in (("checkpoint", 1), ("models/pruned", 1), ("models/dense", 0)):
            shown = json.loads(self.succeeds("eval", f"runs/small/{file}.safetensors", "--json"))
            expected = {key: self.results[stage][key] for key in ("accuracy", "top5", "loss")}
            classes, confusion = shown.pop("classes"), shown.pop("confusion")
            self.assertEqual(shown, {**expected, "images": 40, "data": "mnist test"})
            self.assertEqual([row["name"] for row in classes], [str(digit) for digit in range(10)])
            self.assertEqual([row["images"] for row in classes], [sum(row) for row in confusion])
            self.assertEqual(sum(row["images"] for row in classes), 40)
            for k, row in enumerate(classes):
                self.assertEqual(row["accuracy"], 100 * confusion[k][k] / row["images"] if row["images"] else None)
            self.assertAlmostEqual(sum(confusion[k][k] for k in range(10)) / 40 * 100, shown["accuracy"])
        plain, flipped = (json.loads(self.succeeds("eval", "runs/small/checkpoint.safetensors", "--json", *flip))
                          for flip in ((), ("--flip",)))
        self.assertNotEqual(plain["loss"], flipped["loss"])
        for said, flip in (plain, ()), (flipped, ("--flip",)):  # the logits are those that were judged
            self.succeeds("eval", "runs/small/checkpoint.safetensors", "--logits", "logits", "--set", "data.batch=40", *flip)
            _, shape, content = safetensors(self.folder / "logits")[0]["logits"]
            self.assertEqual(shape, [40, 10])
            values = struct.unpack("<400f", content)
            loss = sum(math.log(sum(math.exp(z - values[10 * i + i % 10]) for z in values[10 * i:10 * i + 10]))
                       for i in range(40)) / 40
            self.assertAlmostEqual(loss, said["loss"], 5)
        self.assertRegex(self.succeeds("eval", "runs/small/checkpoint.safetensors"),
                         r"^accuracy \d+\.\d\d %  top-5 \d+\.\d\d %  loss \d\.\d{4}  \(mnist test, 40 images\)\n$")

    def test_eval_takes_the_average_where_a_checkpoint_has_one(self):
        self.write("nan.json", config({"name": "dense", "train": {**sgd(epochs=2, ema=0.9), "schedule": {
            "type": "multistep", "milestones": [1], "gamma": 1e30}}}))
        self.assertEqual(self.espalier("train", "nan.json").returncode, 1)
        shown = json.loads(self.succeeds("eval", "runs/nan/checkpoint.safetensors", "--json"))
        epoch = json.loads((self.folder / "runs/nan/metrics.jsonl").read_text().splitlines()[0])
        self.assertEqual((shown["accuracy"], shown["loss"]), (epoch["accuracy"], epoch["test_loss"]))
        self.assertIn("average/fc1.weight", safetensors(self.folder / "runs/nan/checkpoint.safetensors")[0])

    def test_eval_set(self):
        first = json.loads(self.succeeds("eval", "runs/small/checkpoint.safetensors", "--json"))
        other = json.loads(self.succeeds("eval", "runs/small/checkpoint.safetensors", "--json", "--set",
                                         'data.normalize={"mean": [0.5], "std": [0.1]}'))
        self.assertNotEqual(first["loss"], other["loss"])
        self.fails_unwritten(2, "--set data.bacth=3: data.bacth: no such field, did you mean 'batch'?", "eval",
                             "runs/small/checkpoint.safetensors", "--set", "data.bacth=3")

    def test_inspect(self):
        of_config = json.loads(self.succeeds("inspect", "small.json", "--json"))
        pruned = json.loads(self.succeeds("inspect", "runs/small/checkpoint.safetensors", "--json"))
        self.assertEqual([(layer["name"], layer["type"], layer["shape"], layer["parameters"], layer["macs"])
                          for layer in of_config["layers"]],
                         [("fc1", "linear", [12, 64], 780, 768), ("fc2", "linear", [10, 12], 130, 120)])
        self.assertEqual({key: of_config[key] for key in ("parameters", "macs", "bytes")},
                         {"parameters": 910, "macs": 888, "bytes": 3640})
        self.assertEqual(of_config["channels"], [])
        self.assertEqual(pruned["nonzeros"], self.results[1]["nonzeros"])
        zeros = sum(layer["sparsity"] * layer["macs"] for layer in pruned["layers"])
        self.assertAlmostEqual(zeros, 444)
        table = self.succeeds("inspect", "runs/small/models/pruned.safetensors").splitlines()
        self.assertEqual(table[0].split(), ["layer", "shape", "parameters", "non-zeros", "sparsity", "MACs"])
        self.assertEqual(table[-3].split()[:2] + table[-3].split()[-3:], ["total", "910", "50.00", "%", "888"])

    def test_graph(self):
        text = """\
group 1: 12 channels, 75 weights each
  made by  fc1
  read by  fc2
group 2: 10 channels, the network's output: they stay
  made by  fc2
"""
        self.assertEqual(self.succeeds("graph", "small.json", "--dot", "net.dot"), text)
        self.assertEqual(self.succeeds("graph", "runs/small/checkpoint.safetensors"), text)
        dot = (self.folder / "net.dot").read_text()
        self.assertIn('op1 -> op2 [label="12 (group 1)", color="0.000 0.85 0.75", penwidth=2];', dot)
        self.assertIn('op2 -> output [label="10 (group 2)"', dot)
        groups = json.loads(self.succeeds("graph", "small.json", "--json"))["groups"]
        self.assertEqual([(member["parameter"], member["axis"], member["side"]) for member in groups[0]["members"]],
                         [("fc1.weight", 0, "out"), ("fc1.bias", 0, "out"), ("fc2.weight", 1, "in")])
        self.assertEqual(groups[0]["members"][2]["channel_of"], list(range(12)))

    def test_compare(self):
        self.succeeds("train", "small.json", "--quiet", "--output", "runs/other", "--set", "seed=1")
        lines = self.succeeds("compare", "runs/small", "runs/other", "--stages").splitlines()
        self.assertEqual([line.split()[:3] for line in lines[1:5]],
                         [["runs/small", "0", "dense"], ["runs/small", "0", "pruned"],
                          ["runs/other", "1", "dense"], ["runs/other", "1", "pruned"]])
        self.write("runs/broken/result.json", '{"name": "x", "seed": 0}')
        self.write("runs/text/result.json", "{")
        for run, code, message in (
                ("nowhere", 2, "nowhere: there is no such folder"),
                ("runs", 2, "runs: is not the folder of a run"),
                ("runs/broken", 1, "runs/broken/result.json: not a run's result: /device: missing"),
                ("runs/text", 1, "runs/text/result.json:1:2: not JSON: the text ends before the JSON does: a bracket, "
                                 "brace or quote is not closed")):
            self.fails_unwritten(code, message, "compare", run)

    def test_bench_of_a_checkpoint_and_of_plain_weights(self):
        for mode in ("train", "infer"):
            shown = json.loads(self.succeeds("bench", mode, "--checkpoint", "runs/small/checkpoint.safetensors",
                                             "--seconds", "0.05", "--batch", "1", "--json"))
            self.assertEqual((shown["model"], shown["mode"], shown["batch"], shown["macs"]), ("mlp", mode, 1, 888))
        self.succeeds("bench", "infer", "--model", "mlp", "--seconds", "0.05", "--json")
        self.fails_unwritten(1, "runs/small/models/dense.safetensors: 'fc1.weight' has shape [12, 64], the model's "
                                "is [256, 784]", "bench", "infer", "--model", "mlp", "--seconds", "0.05",
                             "--checkpoint", "runs/small/models/dense.safetensors")


class Bench(CliTest):
    def test_json_alone(self):
        result = self.espalier("bench", "train", "--model", "mlp", "--input", "8x8x1", "--classes", "4", "--batch",
                               "16", "--seconds", "0.05", "--json", "--verbose")
        shown = json.loads(result.stdout)
        self.assertEqual(list(shown), ["model", "mode", "batch", "threads", "isa", "device", "card", "precision", "macs",
                                       "images_per_second", "milliseconds", "peak_memory_bytes", "profile"])
        self.assertEqual((shown["mode"], shown["batch"], shown["macs"]), ("train", 16, 64 * 256 + 256 * 128 + 128 * 4))
        self.assertGreaterEqual(shown["milliseconds"]["median"], shown["milliseconds"]["best"])
        self.assertAlmostEqual(shown["images_per_second"]["median"] * shown["milliseconds"]["median"], 16e3)
        self.assertIn("linear_backward_data", result.stderr)
        kernels = shown["profile"]["kernels"]
        self.assertEqual([kernels[0][key] for key in ("layer", "kernel", "macs")],
                         ["fc1", "linear_forward", 16 * 64 * 256])
        self.assertTrue(all(row["milliseconds"] > 0 and row["floor_milliseconds"] > 0 for row in kernels))
        plain = json.loads(self.succeeds("bench", "infer", "--model", "mlp", "--seconds", "0.05", "--json"))
        self.assertNotIn("profile", plain)

    def test_verbose_has_a_row_for_each_kernel_a_step_needs(self):
        text = self.succeeds("bench", "train", "--model", "lenet5", "--batch", "2", "--seconds", "0.05", "--verbose")
        rows = [line.split()[:2] for line in text.splitlines() if line.startswith(("conv", "fc"))]
        self.assertEqual(rows, [[layer, kernel]
                                for layer, op in (("conv1", "conv2d"), ("conv2", "conv2d"), ("fc1", "linear"),
                                                  ("fc2", "linear"))
                                for kernel in (f"{op}_forward", "activation_bias_backward", f"{op}_backward_weights",
                                               f"{op}_backward_data")
                                if (layer, kernel) != ("conv1", "conv2d_backward_data")])
        self.assertEqual(text.count(" max_pool_backward "), 2)
        self.assertRegex(text, r"(?m)^fc1 .* product \([^ ]+\) .* GFLOP/s +\d+ %$")
        self.assertRegex(text, r"(?m)^ +max_pool_forward .* GB/s +\d+ %$")


class Check(CliTest):
    def test_says_what_a_run_would_cost_and_writes_nothing(self):
        self.write_data()
        self.write("small.json", config())
        before = sorted(self.folder.rglob("*"))
        text = self.succeeds("check", "small.json", "--set", "data.validation=0.25")
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        self.assertTrue(text.startswith("small.json: is valid\n\nlayer  shape "), text)
        self.assertIn("data    90 images to train on, 30 held out, 40 to test\n", text)
        # data 160 images of 64 bytes; weights 910; a batch of 10: 64 + 12 + 10 numbers an image
        self.assertIn("memory  about 21 kB: data 10.2 kB, parameters 3.64 kB, gradients 3.64 kB, optimizer 0 B, "
                      "activations of a batch 3.44 kB\n", text)
        self.assertRegex(text, r"time    about \S+ s on \d+ threads?\n"
                               r"        dense: \S+ s, 20 steps at [\d,]+ images/s\n        pruned: \S+ s\n$")

    def test_what_follows_a_cut_is_planned_at_its_size(self):
        self.write_data()
        self.write("small.json", config(
            {"name": "pruned", "prune": {"unit": "channel", "ratio": 0.5, "min_channels": 1}},
            {"name": "tuned", "train": sgd(steps=20)}))
        text = self.succeeds("check", "small.json")
        self.assertIn("gradients 1.84 kB", text)  # of 6 x 64 + 6 + 10 x 6 + 10 numbers
        self.assertRegex(text, r"\n        pruned: \S+ s, cuts MACs from 888 to 444\n"
                               r"        tuned: \S+ s, 20 steps at \S+ images/s\n$")
        self.succeeds("train", "small.json", "--quiet", "--output", "cut")
        cut = json.loads(self.succeeds("inspect", "cut/models/pruned.safetensors", "--json"))
        self.assertEqual(cut["channels"], [{"layer": "fc1", "before": 12, "after": 6}])
        widths = "channels of  before  after\nfc1              12      6  ################................\n"
        self.assertTrue(self.succeeds("inspect", "cut/models/pruned.safetensors").endswith("\n" + widths))
        log = [line[21:] for line in (self.folder / "cut/log.txt").read_text().splitlines()]  # after the time
        self.assertIn("\n\n" + widths, "\n".join(log), "before the table of stages")

    def test_a_batch_of_more_than_there_are_is_all(self):
        self.write_data()
        self.write("small.json", config())
        note = "data.batch is 1000, but mnist train has 120 images: each batch is all of them\n"
        batch = ("--set", "data.batch=1000", "--set", 'stages=[{"name":"a","train":{"epochs":2,"optimizer":'
                                                      '{"type":"sgd","lr":0.1}}}]')
        planned = self.succeeds("check", "small.json", *batch)
        self.assertIn(note, planned)
        self.assertIn(", 2 steps at ", planned)
        self.assertIn(note, self.succeeds("train", "small.json", *batch, "--output", "big"))
        self.succeeds("train", "small.json", *batch, "--set", "data.batch=120", "--output", "all")
        self.assertEqual(*((self.folder / run / "models/a.safetensors").read_bytes()[-1000:] for run in ("big", "all")))

    def test_a_batch_of_one_has_no_variance_on_maps_of_one_pixel(self):
        self.write_data()
        self.write("small.json", config({"name": "few", "train": sgd(steps=7)}, {"name": "all", "train": sgd(epochs=1)},
                                        model={"type": "resnet18", "width": 0.05, "input": [8, 8, 1], "classes": 10}))
        def message(stage, batch, remedy):
            return (f"small.json: /stages/{stage}: layer4.0.downsample.1 (batch_norm) has one value a channel of an image, and so no "
                    f"variance in a batch of one, as {batch}: set another data.batch{remedy}")
        for command in ("check", "train"):
            self.fails_unwritten(2, message("1 (all)", "an epoch's last is", ", or data.drop_last to true"),
                                 command, "small.json", "--set", "data.batch=17")
            self.fails_unwritten(2, message("0 (few)", "all are", ""), command, "small.json", "--set", "data.batch=1")
        planned = self.succeeds("check", "small.json", "--set", "data.batch=17", "--set", "data.drop_last=true")
        self.assertRegex(planned, r"(?s)few: .* 7 steps at .*all: .* 7 steps at ")
        self.succeeds("train", "small.json", "--set", "data.batch=17", "--set", "data.drop_last=true")
        self.succeeds("check", "small.json", "--set", "data.batch=17", "--set", "stages.all.train.epochs=null",
                      "--set", "stages.all.train.steps=7")

    def test_finds_what_a_run_would_stumble_on(self):
        self.write_data()
        for code, changes, message in (
                (2, ["model.input=[28, 28, 1]"],
                 "small.json: model.input: found [28, 28, 1], but images of mnist train have shape [8, 8, 1]"),
                (1, ['stages.pruned.prune.exclude=["fc9"]'],
                 "small.json: stages.pruned: prune: exclude 'fc9' names no convolution or linear layer, "
                 "known: fc1, fc2, did you mean 'fc1'?")):
            self.write("small.json", config())
            arguments = [part for change in changes for part in ("--set", change)]
            self.fails_unwritten(code, message, "check", "small.json", *arguments)
            self.fails_unwritten(code, message, "train", "small.json", *arguments)


if __name__ == "__main__":
    unittest.main()
