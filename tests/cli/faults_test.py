"""What machines and people do to a run: streams that are closed, disks that are full, folders that go, files that are
both read and written, memory that is not there."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, safetensors, sgd

ENDLESS = {"name": "dense", "train": sgd(epochs=10**7, eval_every=10**7)}


def synthetic(*stages, **model):
    whole = config(*stages)
    whole["model"].update(model)
    whole["data"] = {"type": "synthetic", "batch": 10, "train_images": 40, "test_images": 20}
    return whole


class Streams(CliTest):
    def setUp(self):
        super().setUp()
        self.write("small.json", synthetic())

    def run_closed(self, closed, *arguments, **streams):
        """`espalier ARGUMENTS` with these descriptors closed."""
        command = self.command(*arguments)
        prepare = command.pop("preexec_fn")

        def close():
            prepare()
            for descriptor in closed:
                os.close(descriptor)
        return subprocess.run(**command, preexec_fn=close, timeout=120, **{"stdout": subprocess.DEVNULL, **streams})

    def test_closed_streams_are_nobodys_files(self):
        for closed in ((0, 1), (0, 1, 2), (1,), (2,)):
            with self.subTest(closed=closed):
                output = "".join(map(str, closed))
                result = self.run_closed(closed, "train", "small.json", "--output", output)
                self.assertEqual(result.returncode, 0)
                rows = (self.folder / output / "metrics.jsonl").read_text().splitlines()
                self.assertTrue(rows)
                for row in rows:
                    self.assertIsInstance(json.loads(row), dict)
                counted = json.loads(safetensors(self.folder / output / "checkpoint.safetensors")[1]["espalier.position"])
                self.assertEqual(counted["metrics_bytes"], (self.folder / output / "metrics.jsonl").stat().st_size)

    def test_errors_that_nobody_can_hear(self):
        """The exit code says it all."""
        self.assertEqual(self.run_closed((2,), "train", "none.json").returncode, 2)
        self.assertEqual(self.run_closed((0, 1, 2), "train", "none.json").returncode, 2)
        with open("/dev/full", "w") as full:
            self.assertEqual(self.run_closed((), "train", "none.json", stderr=full).returncode, 2)
            self.assertEqual(self.run_closed((), "help", "config", stdout=full, stderr=full).returncode, 1)
            self.write("x.safetensors", b"none")
            self.assertEqual(self.run_closed((), "inspect", "x.safetensors", stderr=full).returncode, 1)
            quiet = self.run_closed((), "bench", "infer", "--model", "mlp", "--seconds", "0.01", "--verbose", "--json",
                                    stderr=full)
            self.assertEqual(quiet.returncode, 0)

    def test_an_error_for_a_reader_that_has_gone(self):
        reading, writing = os.pipe()
        os.close(reading)
        result = self.run_closed((), "train", "none.json", stderr=writing)
        os.close(writing)
        self.assertEqual(result.returncode, -signal.SIGPIPE)

    def test_a_log_on_a_full_disk(self):
        self.succeeds("train", "small.json", "--quiet")
        log = self.folder / "runs/small/log.txt"
        log.unlink()
        log.symlink_to("/dev/full")
        with open("/dev/full", "w") as full:
            result = self.run_closed((), "train", "small.json", "--resume", stderr=full)
        self.assertEqual(result.returncode, 1)
        self.fails(1, "runs/small/log.txt: cannot be written: No space left on device", "train", "small.json",
                   "--resume", "--quiet")


class Folders(CliTest):
    def test_a_run_whose_folder_was_replaced_writes_nothing_into_the_other(self):
        self.write("endless.json", synthetic(ENDLESS))
        self.write("other.json", synthetic())
        self.succeeds("train", "other.json", "--output", "other", "--quiet")
        with subprocess.Popen(**self.command("train", "endless.json", "--output", "d"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            kill = threading.Timer(60, process.kill)
            kill.start()
            process.stdout.readline()
            process.stdout.readline()  # the first epoch
            process.send_signal(signal.SIGSTOP)
            (self.folder / "d").rename(self.folder / "gone")
            (self.folder / "other").rename(self.folder / "d")
            before = {path: path.read_bytes() for path in (self.folder / "d").rglob("*") if path.is_file()}
            process.send_signal(signal.SIGCONT)
            threading.Thread(target=lambda: time_out(process), daemon=True).start()
            _, err = process.communicate()
            kill.cancel()
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err, "^espalier: d: was removed, renamed or replaced by another folder while this run wrote "
                              "into it; [a-z/.]* and what would follow are not written\n$")
        after = {path: path.read_bytes() for path in (self.folder / "d").rglob("*") if path.is_file()}
        self.assertEqual(after, before)

    def test_a_folder_of_models_that_cannot_be_written_is_seen_at_the_start(self):
        self.write("small.json", synthetic())
        models = self.folder / "runs/small/models"
        models.mkdir(parents=True)
        models.chmod(0o555)
        self.fails_unwritten(2, "runs/small/models: this output folder cannot be written", "train", "small.json",
                             drop_override=True)
        models.chmod(0o755)


def time_out(process):
    """On a program that writes on, so that its test ends."""
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.terminate()


class Overwritten(CliTest):
    """Outputs that are inputs."""

    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())
        self.succeeds("train", "small.json", "--quiet")
        self.checkpoint = "runs/small/checkpoint.safetensors"
        (self.folder / "soft").symlink_to(self.checkpoint)
        os.link(self.folder / self.checkpoint, self.folder / "hard")

    def test_a_checkpoint(self):
        for name in (self.checkpoint, f"./{self.checkpoint}", "soft", "hard"):
            same = "" if name == self.checkpoint else f"{self.checkpoint}, "
            for command, option in (("eval", "--logits"), ("graph", "--dot")):
                with self.subTest(command=command, name=name):
                    self.fails_unwritten(2, f"{command}: {option}: {name} is {same}what the command reads, and would be "
                                            "overwritten", command, self.checkpoint, option, name)
        self.succeeds("eval", self.checkpoint, "--logits", "logits")
        self.succeeds("eval", self.checkpoint, "--logits", "logits")

    def test_the_data(self):
        labels = "data/mnist/t10k-labels-idx1-ubyte"
        (self.folder / "link").symlink_to(labels)
        for name in (labels, "link"):
            self.fails_unwritten(2, f"eval: --logits: {name} is a file of data/mnist, which the command reads, and would "
                                    "be overwritten", "eval", self.checkpoint, "--logits", name)
        self.succeeds("eval", self.checkpoint, "--logits", "data/mnist/fresh")

    def test_the_weights_of_a_config(self):
        whole = config()
        whole["model"] = {"weights": self.checkpoint}
        self.write("further.json", whole)
        for name in ("further.json", self.checkpoint):
            self.fails_unwritten(2, f"graph: --dot: {name} is what the command reads, and would be overwritten",
                                 "graph", "further.json", "--dot", name)

    def test_standard_output(self):
        before = (self.folder / self.checkpoint).read_bytes()
        for command in ("inspect", "eval", "graph"):
            with open(self.folder / "hard", "a") as end:
                result = subprocess.run(**self.command(command, self.checkpoint), stdout=end, stderr=subprocess.PIPE)
            self.assertEqual((result.returncode, result.stderr),
                             (2, f"espalier: {command}: standard output goes to {self.checkpoint}, which the command "
                                 "reads\n"))
        self.assertEqual((self.folder / self.checkpoint).read_bytes(), before)


@unittest.skipIf(os.environ.get("ESPALIER_SANITIZE"), "sanitizers reserve address space without end")
class Memory(CliTest):
    def measured(self, *arguments, limit):
        """What it says on standard error, its exit code and its peak of resident memory in MB."""
        command = self.command(*arguments)
        prepare = command.pop("preexec_fn")

        def bound():
            prepare()
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with subprocess.Popen(**command, preexec_fn=bound, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            err = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return err, process.returncode, usage.ru_maxrss / 1000

    def test_what_does_not_fit_is_said_before_it_is_asked_for(self):
        self.write("wide.json", synthetic({"name": "a", "train": {"steps": 1, "optimizer": {"type": "adam", "lr": 0.1}}},
                                          input=[28, 28, 1], hidden=[10**6]))
        model = "model: mlp needs 3.18 GB (parameters 3.18 GB, activations of an image 4 MB); the limit on address " \
                "space (ulimit -v) is 3 GB"
        plan = "wide.json: a run needs about 12.8 GB: data 47 kB, parameters 3.18 GB, gradients 3.18 GB, optimizer " \
               "6.36 GB, activations of a batch 40 MB; the limit on address space (ulimit -v) is 5 GB"
        for arguments, limit, message in ((("inspect", "wide.json"), 3, model), (("graph", "wide.json"), 3, model),
                                          (("check", "wide.json"), 5, plan), (("train", "wide.json"), 5, plan)):
            with self.subTest(arguments):
                err, code, peak = self.measured(*arguments, limit=limit * 10**9)
                self.assertEqual((err, code), (f"espalier: {message}\n", 1))
                self.assertLess(peak, 500)
        self.assertFalse((self.folder / "runs").exists())

    def test_weights_are_planned_from_their_header(self):
        train = {"name": "a", "train": {"steps": 1, "optimizer": {"type": "sgd", "lr": 0.1}}}
        self.write("narrow.json", synthetic(train, input=[28, 28, 1], hidden=[16]))
        self.espalier("train", "narrow.json", "--output", "narrow")
        weights = "narrow/models/a.safetensors"
        self.write("further.json", synthetic(train, input=[28, 28, 1], hidden=[16], weights=weights))
        self.write("wide.json", synthetic(train, input=[28, 28, 1], hidden=[10**6], weights=weights))
        shapes = f"{weights}: 'fc1.weight' has shape [16, 784], the model's is [1000000, 784]"
        plan = "further.json: a run needs about 12.1 GB: data 2.35 GB, parameters 50.9 kB, gradients 50.9 kB, " \
               "optimizer 0 B, activations of a batch 9.72 GB; the limit on address space (ulimit -v) is 5 GB"
        large = ("--set", "data.train_images=3000000", "--set", "data.batch=3000000")
        for arguments, message in ((("inspect", "wide.json"), shapes), (("check", "wide.json"), shapes),
                                   (("train", "wide.json"), shapes),
                                   (("eval", weights, "--set", "model.hidden=[1000000]"), shapes),
                                   (("check", "further.json", *large), plan),
                                   (("train", "further.json", *large), plan)):
            with self.subTest(arguments):
                err, code, peak = self.measured(*arguments, limit=5 * 10**9)
                self.assertEqual((err, code), (f"espalier: {message}\n", 1))
                self.assertLess(peak, 500)
        self.assertFalse((self.folder / "runs").exists())


class GoingOn(CliTest):
    """--resume has the checkpoint; it needs little else."""

    def setUp(self):
        super().setUp()
        self.write_data()
        self.write("small.json", config())
        self.run_folder = self.folder / "runs" / "small"

    def counted(self, output="runs/small"):
        """The bytes of metrics.jsonl that the checkpoint counts."""
        metadata = safetensors(self.folder / output / "checkpoint.safetensors")[1]
        return json.loads(metadata["espalier.position"])["metrics_bytes"]

    def interrupt(self, name, output):
        """Starts a run that would not end, and stops it behind its first epoch."""
        with subprocess.Popen(**self.command("train", name, "--output", output), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143)

    def test_without_the_weights_that_named_the_network(self):
        self.succeeds("train", "small.json", "--quiet", "--output", "first")
        weights = self.folder / "first/models/dense.safetensors"
        whole = config({"name": "more", "train": sgd(steps=20)})
        whole["model"] = {"weights": "first/models/dense.safetensors"}
        self.write("more.json", whole)
        self.succeeds("train", "more.json", "--quiet")
        weights.unlink()
        self.assertIn("runs/more: the run is done already", self.succeeds("train", "more.json", "--resume"))
        message = "more.json: /model/type: missing, and the weights do not say it: first/models/dense.safetensors: " \
                  "cannot open: No such file or directory"
        self.fails_unwritten(2, message, "train", "more.json", "--output", "afresh", "--resume")
        whole["model"]["weights"] = "others.safetensors"
        self.write("more.json", whole)
        self.fails_unwritten(2, message.replace("first/models/dense", "others"), "train", "more.json", "--resume")

    def go_on_for_a_while(self, output):
        """Resumes endless.json and stops it again; what it says on standard error."""
        with subprocess.Popen(**self.command("train", "endless.json", "--output", output, "--resume"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            for _ in range(3):
                process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143, err)
        return err

    def test_without_its_metrics(self):
        self.write("endless.json", config({**ENDLESS, "train": {**ENDLESS["train"], "log_every": 1}}))
        self.interrupt("endless.json", "d")
        metrics = self.folder / "d/metrics.jsonl"
        metrics.unlink()
        for missing in (True, False):
            err = self.go_on_for_a_while("d")
            self.assertEqual("d/metrics.jsonl: is missing, and begins anew without the rows it had\n" in err, missing, err)
        steps = [row["step"] for row in map(json.loads, metrics.read_text().splitlines()) if "loss" in row]
        self.assertEqual(steps, list(range(steps[0], steps[0] + len(steps))))
        self.assertEqual(self.counted("d"), metrics.stat().st_size)

    def test_with_metrics_that_were_cut_short(self):
        self.succeeds("train", "small.json", "--quiet")
        metrics = self.run_folder / "metrics.jsonl"
        whole = metrics.read_bytes()
        first = whole.index(b"\n") + 1
        for size, left in ((len(whole) - 1, whole.rindex(b"\n", 0, -1) + 1), (first + 5, first), (first, first), (5, 0), (0, 0)):
            with self.subTest(size=size):
                counted = self.counted()
                metrics.write_bytes(whole[:size])
                result = self.espalier("train", "small.json", "--resume")
                warning = f"runs/small/metrics.jsonl: has {size} of the {counted} bytes that the checkpoint counts, and " \
                          f"goes on after its last complete row, at byte {left}\n"
                self.assertEqual((result.returncode, result.stderr), (0, warning if size < counted else ""))
                self.assertEqual(metrics.read_bytes(), whole[:left])
                self.assertEqual(self.counted(), left)

    def test_going_on_behind_metrics_that_were_cut_short(self):
        self.write("endless.json", config({**ENDLESS, "train": {**ENDLESS["train"], "log_every": 1}}))
        self.interrupt("endless.json", "runs/small")
        metrics = self.run_folder / "metrics.jsonl"
        kept = metrics.read_bytes()[:200]  # a row and a half
        metrics.write_bytes(kept)
        self.go_on_for_a_while("runs/small")
        text = metrics.read_bytes()
        self.assertTrue(text.startswith(kept[: kept.rindex(b"\n") + 1]))
        steps = [row["step"] for row in map(json.loads, text.splitlines()) if "loss" in row]
        self.assertEqual(steps[0], 1)
        self.assertGreater(len(steps), 1)
        self.assertEqual(self.counted(), len(text))

    def test_without_its_models(self):
        self.succeeds("train", "small.json", "--quiet")
        models = self.run_folder / "models"
        last = (models / "pruned.safetensors").read_bytes()
        for model in models.iterdir():
            model.unlink()
        models.rmdir()
        result = self.espalier("train", "small.json", "--resume")
        self.assertEqual((result.returncode, result.stderr),
                         (0, "runs/small/models/dense.safetensors: is missing, and the checkpoint does not hold it; "
                             "another run makes it again (--output DIR writes elsewhere)\n"))
        self.assertIn("runs/small/models/pruned.safetensors: was missing, and is written again from the checkpoint\n",
                      result.stdout)
        self.assertEqual((models / "pruned.safetensors").read_bytes(), last)

    def test_with_kernels_that_there_are_not(self):
        self.succeeds("train", "small.json", "--quiet")
        (self.run_folder / "kernels.json").write_text('{"linear 1x2x3": "warp", "linear 4x5x6": "rows"}')
        result = self.espalier("train", "small.json", "--resume")
        self.assertEqual((result.returncode, result.stderr),
                         (0, "runs/small/kernels.json: 'warp' for 'linear 1x2x3' is no kernel of this version; the shape "
                             "is served as without --autotune, and results may differ in their last bits\n"))
        (self.run_folder / "kernels.json").write_text('["rows"]')
        self.fails_unwritten(1, "runs/small/kernels.json: not the kernels that --autotune chose, which are an object",
                             "train", "small.json", "--resume")

    def test_from_the_config_in_its_folder(self):
        """A run that was killed before its first checkpoint starts afresh from its own config.json, which stays."""
        (self.folder / "d").mkdir()
        self.write("d/config.json", {**config(), "name": "mine"})
        self.succeeds("train", "d/config.json", "--output", "d", "--resume", "--quiet")
        self.assertEqual(self.read_json("d/config.json")["name"], "mine")


class Batches(CliTest):
    def test_a_criterion_looks_at_each_image_once_at_most(self):
        cut = {"name": "cut", "prune": {"unit": "channel", "criterion": "taylor", "ratio": 0.2, "min_channels": 2,
                                        "batches": 10**6}}
        self.write("cut.json", synthetic(cut))
        note = "stage 'cut': prune.batches is 1,000,000, and the training set has 4 batches: it looks at each once"
        self.assertIn(note, self.succeeds("check", "cut.json"))
        self.assertIn(note, self.succeeds("train", "cut.json"))
        self.assertNotIn("looks at each", self.succeeds("check", "cut.json", "--set", "stages.cut.prune.batches=4"))


if __name__ == "__main__":
    unittest.main()
