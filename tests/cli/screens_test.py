"""What a person sees at 60, 80 and 120 columns and through a pipe, kept in screens/; `screens_test.py --write` draws it anew.

Numbers that vary from machine to machine are '#' there, and spaces about them are one."""

import fcntl
import os
import pathlib
import pty
import random
import re
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, draw, png, sgd
from compare_test import finished

SCREENS = pathlib.Path(__file__).parent / "screens"
WRITE = "--write" in sys.argv


class Terminal:
    """A terminal of so many columns, and a program on it that it may send Ctrl-C to."""

    def __init__(self, command, columns):
        self.mine, its = pty.openpty()
        self.resize(columns)
        prepare = command.pop("preexec_fn")

        def with_terminal():
            prepare()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        command["env"] = {"TERM": "xterm", **{k: v for k, v in command["env"].items() if k not in ("TERM", "NO_COLOR")},
                          **command.pop("more", {})}
        self.process = subprocess.Popen(**command, stdin=its, stdout=its, stderr=its, start_new_session=True,
                                        preexec_fn=with_terminal)
        os.close(its)
        self.output = b""

    def resize(self, columns):
        fcntl.ioctl(self.mine, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))

    def read_until(self, done, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not done(self.output):
            if not select.select([self.mine], [], [], 0.1)[0]:
                continue
            try:
                self.output += os.read(self.mine, 65536)
            except OSError:  # the program has ended
                break
        return self.output

    def finish(self):
        self.read_until(lambda _: False)
        code = self.process.wait(60)
        os.close(self.mine)
        return code

    def screen(self):
        """Its lines in the end: what was erased is gone."""
        lines, line, at = [], "", 0
        for token in re.findall(r"\x1b\[\d*(?:;\d+)*[A-Za-z]|[\s\S]", self.output.decode()):
            if token == "\n":
                lines.append(line.rstrip())
                line = ""
            elif token == "\r":
                at = 0
            elif token.startswith("\x1b"):
                if token[-1] in "JK":
                    line = line[:at]
            else:
                line = line[:at].ljust(at) + token + line[at + 1:]
                at += 1
        return "\n".join(lines + ([line.rstrip()] if line else [])) + "\n"


def columns_of(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def settled(text):
    return re.sub(r"(?<=\S) +", " ", re.sub(r"(?<![\w.])\d[\d,.:]*(e-\d+)?( (s|ms|GFLOP/s|GB/s|kB|MB|GB|%)\b)?", "#", text))


class Screens(CliTest):
    def setUp(self):
        super().setUp()
        self.write_data(train=40, test=20)
        self.write("small.json", config({"name": "dense", "train": sgd(steps=8)}, {"name": "pruned", "prune": {"sparsity": 0.5}},
                                        {"name": "tuned", "train": sgd(steps=4)}))

    def see(self, name, *arguments, vary=lambda text: text, code=0):
        for columns in (60, 80, 120, None):
            with self.subTest(name=name, columns=columns):
                if columns:
                    terminal = Terminal(self.command(*arguments, *(["--output", f"runs/{columns}"] if name == "train" else [])),
                                        columns)
                    self.assertEqual(terminal.finish(), code)
                    text = terminal.screen()
                    for line in text.splitlines():
                        # Sentences may wrap.
                        if not re.match(r"data |memory|runs/|small: |\s+\d+ x|espalier: ", line):
                            self.assertLessEqual(columns_of(line), columns)
                else:
                    result = self.espalier(*arguments)
                    self.assertEqual(result.returncode, code)
                    text = result.stderr if code else result.stdout
                    self.assertEqual(result.stdout if code else result.stderr, "")
                file = SCREENS / f"{name}.{columns or 'piped'}.txt"
                if WRITE:
                    file.write_text(vary(text))
                self.assertEqual(vary(text), file.read_text())

    def test_train(self):
        def vary(text):
            if re.search(r"^runs/\d", text, re.M):  # on a terminal, how wide times are decides what fits; see result_test.cpp
                text = re.sub(r"(?ms)^stage .*?(?=^$)", "(a table of what there is room for)\n", text)
            return settled(re.sub(r"runs/\w+", "runs/x", text)).replace("avx512", "avx2")

        self.see("train", "train", "small.json", vary=vary)

    def test_check(self):
        self.see("check", "check", "small.json", vary=lambda text: re.sub(
            r"(?m)^(time| +\w+:).*$", lambda m: settled(m[0]), text))

    def test_inspect(self):
        self.write("wide.json", {"model": {"type": "resnet20", "classes": 10}, "data": {"type": "cifar10"},
                                 "stages": [{"name": "d", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.1}}}]})
        self.see("inspect", "inspect", "wide.json")

    def test_compare(self):
        for name, change in (("a", {"seed": 0}), ("b", {"seed": 1})):
            made = config({"name": "tuned", "train": sgd(steps=20)}, name="x", **change)
            self.write(f"runs/{name}/config.json", made)
            self.write(f"runs/{name}/result.json", finished(97.0 + change["seed"], nonzeros=23515 + change["seed"],
                                                            loss=0.25 + change["seed"], latency_ms=0.5 + change["seed"]))
        self.write("runs/c/config.json", config({"name": "tuned", "train": sgd(steps=20)}, name="x", seed=2))
        self.see("compare", "compare", "runs/a", "runs/b", "runs/c")

    def on(self, columns, *arguments):
        terminal = Terminal(self.command(*arguments), columns)
        self.assertEqual(terminal.finish(), 0, terminal.output)
        return terminal.screen()

    def test_compare_keeps_results_rather_than_long_fields(self):
        for i, name in enumerate("ab"):
            made = config({"name": "tuned", "train": sgd(steps=20)}, name="x", seed=i)
            made["model"]["hidden"] = [12 + i] * 6
            made["data"]["root"] = "data-of-run-" + name
            made["stages"][0]["train"]["freeze"] = [f"fc{k + i}" for k in range(1, 4)]
            self.write(f"runs/{name}/config.json", made)
            self.write(f"runs/{name}/result.json", finished(97.0 + i, macs=234752 + i, latency_ms=0.5 + i,
                                                            bytes=943176 * (1 + i), loss=0.25 + i))
        head = self.on(80, "compare", "runs/a", "runs/b").splitlines()[0].split()
        self.assertEqual((head[0], [name for name in head if name in ("accuracy", "MACs", "latency", "size")]),
                         ("run", ["accuracy", "MACs", "latency", "size"]), head)

    def test_an_epoch_says_first_what_it_was_evaluated_to(self):
        self.write("small.json", {**config({"name": "dense", "train": sgd(epochs=1)}),
                                  "data": {"type": "mnist", "batch": 10, "validation": 0.25}})
        number = r"\d+\.\d+"
        loss, train = f"  loss {number}", f"  train {number} %"
        for columns, training in ((60, ""), (72, loss), (90, loss + train)):
            self.assertRegex(self.on(columns, "train", "small.json"),
                             rf"(?m)^dense  epoch 1/1{training}  validation {number} %  test {number} %(  .*)?$")

    def test_predict(self):
        self.succeeds("train", "small.json", "--quiet")
        noise = random.Random(0)
        names = ("a.png", "grün 花.png", "a longer way down/a name that is long for 60 columns.png")
        for i, name in enumerate(names):
            self.write(f"pictures/{name}", png(SIDE, SIDE, 1, draw(i, noise)))
        # Which classes, and how likely, is the machine's; so early in training the first four have two digits anywhere.
        self.see("predict", "predict", "runs/small/models/tuned.safetensors", "pictures", "--top", "4",
                 vary=lambda text: re.sub(r"  \d \d\d\.\d %", "  # ##.# %", text))

    def test_graph(self):
        self.see("graph", "graph", "small.json")

    def test_help(self):
        self.see("help_config", "help", "config")

    def test_errors(self):
        broken = config({"name": "dense", "train": {"epoch": 1, "optimizer": {"type": "sdg", "lr": 0.1}}},
                        {"name": "pruned", "prune": {"sparsity": 1.5, "criterion": "l3"}})
        self.write("broken.json", broken)
        self.see("errors", "check", "broken.json", code=2)

    def test_bench(self):
        self.see("bench", "bench", "train", "--model", "mlp", "--input", "8x8x1", "--batch", "16", "--seconds", "0.02",
                 vary=lambda text: settled(text).replace("avx512", "avx2"))


class Live(CliTest):
    def setUp(self):
        super().setUp()
        long = config({"name": "dense", "train": sgd(epochs=1000)}, data={"type": "synthetic", "train_images": 20000, "batch": 1})
        long["model"]["input"] = [28, 28, 1]
        self.write("long.json", long)

    def live(self, columns):
        terminal = Terminal(self.command("train", "long.json"), columns)
        self.addCleanup(terminal.process.kill)
        terminal.read_until(lambda output: output.count(b"  [") > 2)
        return terminal

    def test_the_live_line_fits_and_nothing_is_left_behind(self):
        terminal = self.live(60)
        shown = [re.sub(r"\x1b\[\w+", "", line.replace("\n", "")) for line in re.split(r"\r", terminal.output.decode())]
        self.assertLess(max(len(line) for line in shown if "  [" in line), 60)
        terminal.resize(40)
        # The cursor waits at its beginning: a narrower terminal wraps it behind the cursor, "^C" lands on it.
        self.assertTrue(terminal.output.count(b"\x1b[J\r") > 2)
        before = len(terminal.output)
        terminal.read_until(lambda output: output[before:].count(b"  [") > 3)
        shown = [line for line in terminal.output[before:].decode().split("\r") if "  [" in line]
        self.assertLess(len(re.sub(r"\x1b\[\w+|\n", "", shown[-1])), 40)
        os.write(terminal.mine, b"\x03")
        self.assertEqual(terminal.finish(), 130)
        screen = terminal.screen()
        self.assertNotIn("  [", screen)
        self.assertNotIn("^C", screen)
        self.assertIn("\ninterrupted; runs/long/checkpoint.safetensors is saved", re.sub(r"\x1b\[\w+", "", screen))


class Colours(CliTest):
    def error(self, **settings):
        terminal = Terminal({**self.command("check", "nowhere.json"), "more": settings}, 80)
        self.assertEqual(terminal.finish(), 2)
        return terminal.output.decode().splitlines()[0]

    def test_errors_and_who_wants_no_colour(self):
        self.assertTrue(self.error().startswith("\x1b[1;31mespalier:\x1b[0m nowhere.json: "))
        self.assertTrue(self.error(NO_COLOR="").startswith("\x1b[1;31m"))
        for settings in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertTrue(self.error(**settings).startswith("espalier: nowhere.json: "), settings)


if __name__ == "__main__":
    if WRITE:
        sys.argv.remove("--write")
        SCREENS.mkdir(exist_ok=True)
    unittest.main()
