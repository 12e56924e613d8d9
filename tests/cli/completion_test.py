"""What Tab completes, asked of the program and of the shells themselves; and the manual page."""

import os
import shlex
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import BINARY, CliTest, config


class Completion(CliTest):
    def words(self, *typed):
        return [line.split("\t")[0] for line in self.succeeds("__complete", *typed).splitlines()]

    def test_commands_and_options(self):
        self.assertEqual(self.words("tr"), ["train"])
        self.assertIn("train\tTrains, prunes", self.succeeds("__complete", ""))
        self.assertEqual(self.words("--v"), ["--version"])
        self.assertEqual(self.words("train", "--res"), ["--resume"])
        self.assertEqual(self.words("train", "--quiet", "--qu"), [])  # once is enough
        self.assertEqual(self.words("train", "--set", "seed=1", "--se"), ["--set"])
        self.assertEqual(self.words("frobnicate", ""), [])

    def test_values(self):
        self.assertEqual(self.words("train", "--device", ""), ["cpu", "cuda", "auto"])
        self.assertEqual(self.words("train", "--device=cu"), ["--device=cuda"])
        self.assertEqual(self.words("bench", "inf"), ["infer"])
        self.assertEqual(self.words("bench", "infer", "--model", "lenet"), ["lenet300", "lenet5"])
        self.assertIn("criteria", self.words("help", ""))
        self.assertIn("lamp", self.words("help", "la"))
        self.assertEqual(self.words("help", "methods", "la"), ["lamp"])
        self.assertEqual(self.words("help", "criteria", "la"), [])
        self.assertIn("depgraph", self.words("help", "dep"))
        self.assertEqual(self.words("check", "quickst"), ["quickstart", ":files"])  # a recipe, or a file
        self.assertEqual(self.words("train", "--output", ""), [":folders"])
        self.assertEqual(self.words("compare", "runs/a", ""), [":folders"])
        self.assertEqual(self.words("eval", "x.safetensors", "--images", ""), [":folders"])
        self.assertEqual(self.words("train", "--threads", ""), [])

    def test_paths_of_a_config(self):
        self.write("a.json", config())
        self.assertIn("model.", self.words("train", "a.json", "--set", ""))
        self.assertEqual(self.words("train", "a.json", "--set", "model.hi"), ["model.hidden="])
        self.assertEqual(self.words("train", "a.json", "--set", "model.activation="),
                         ["model.activation=relu", "model.activation=gelu"])
        self.assertEqual(self.words("train", "a.json", "--set", "stages."), ["stages.dense.", "stages.pruned."])
        self.assertEqual(self.words("train", "a.json", "--set", "stages.dense.train.optimizer.mo"),
                         ["stages.dense.train.optimizer.momentum="])
        self.write("runs/A/config.json", config({"name": "other", "evaluate": {}}, name="A"))
        self.assertEqual(self.words("train", "--resume", "runs/A", "--set", "stages."), ["stages.other."])
        self.assertEqual(self.words("train", "--resume", "runs/A/", "--set=stages."), ["--set=stages.other."])
        self.assertEqual(self.words("train", "gone.json", "--set", "stages."), [])
        self.assertEqual(self.words("train", "a.json", "--set", "nothing.of"), [])


class Shells(CliTest):
    def setUp(self):
        super().setUp()
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "espalier").symlink_to(BINARY)
        self.environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder)}
        (self.folder / "folder").mkdir()
        self.write("file.json", config())

    def shell(self, *command):
        result = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def script(self, shell):
        return str(self.folder / self.write(f"completion.{shell}", self.succeeds("completion", shell)))

    def test_bash(self):
        script = self.script("bash")

        def complete(*words):  # as bash splits them
            quoted = " ".join(map(shlex.quote, words))
            lines = self.shell("bash", "--norc", "-c",
                               f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _espalier; "
                               "(( ! ${#COMPREPLY[@]} )) || printf '%s\\n' \"${COMPREPLY[@]}\"").splitlines()
            return lines

        self.assertEqual(complete("espalier", "tr"), ["train"])
        self.assertEqual(complete("espalier", "train", "--res"), ["--resume"])
        self.assertEqual(complete("espalier", "train", "fi"), ["file.json"])
        self.assertEqual(complete("espalier", "train", "--output", "f"), ["folder"])
        self.assertEqual(complete("espalier", "train", "--output", "=", "f"), ["folder"])
        self.assertEqual(complete("espalier", "train", "--device", "=", "cu"), ["cuda"])
        self.assertEqual(complete("espalier", "train", "--device", "="), ["cpu", "cuda", "auto"])
        self.assertEqual(complete("espalier", "train", "file.json", "--set", "model.activation", "=", "g"), ["gelu"])
        self.assertEqual(complete("espalier", "train", "file.json", "--set", "stages.d"), ["stages.dense."])
        self.assertIn("-F _espalier espalier", self.shell("bash", "--norc", "-c", f"source {script}; complete -p espalier"))

    @unittest.skipUnless(shutil.which("zsh"), "there is no zsh")
    def test_zsh(self):
        self.assertEqual(self.shell("zsh", "-n", self.script("zsh")), "")

    @unittest.skipUnless(shutil.which("fish"), "there is no fish")
    def test_fish(self):
        script = self.script("fish")
        self.shell("fish", "-n", script)

        def complete(line):
            shown = self.shell("fish", "--no-config", "-c", f"source {script}; complete -C {shlex.quote(line)}")
            return [word.split("\t")[0] for word in shown.splitlines()]

        self.assertEqual(complete("espalier tr"), ["train"])
        self.assertEqual(complete("espalier train --device=cu"), ["--device=cuda"])
        self.assertEqual(complete("espalier train fi"), ["file.json"])
        self.assertEqual(complete("espalier train --output=fo"), ["--output=folder/"])

    @unittest.skipUnless(shutil.which("groff"), "there is no groff")
    def test_manual_page(self):
        self.write("espalier.1", self.succeeds("help", "man"))
        text = self.shell("groff", "-man", "-ww", "-Tascii", "-P-cbou", "espalier.1")
        self.assertIn("--autotune", text)
        self.assertIn("ESPALIER_DATA", text)


if __name__ == "__main__":
    unittest.main()
