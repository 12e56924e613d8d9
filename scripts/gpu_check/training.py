"""Complete runs of `espalier train`: recipes, a cut, the same bits again, and after a stop."""

import json
import signal

from gpu_check.commands import Failed, Skipped

MIN_ACCURACY = 97  # per cent, of MNIST's recipe: anywhere it reaches about 98
SGD = {"type": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
CUT = {"unit": "channel", "criterion": "l2", "ratio": 0.25, "schedule": {"type": "cubic", "begin": 1, "every": 6}}


class Training:
    def __init__(self, check):
        self.check, self.folder = check, check.scratch
        self.small = check.device == "cpu"
        self.precisions = ("f32",) if self.small else ("tf32", "bf16")

    def config(self, name, length=None, **train):
        """ResNet-20 on some of CIFAR-10, for two epochs if `length` says nothing else."""
        length = length or {"epochs": 1 if self.small else 2}
        network = {"type": "resnet20", "input": [32, 32, 3]} | ({"width": 0.25} if self.small else {})
        data = {"type": "image_folder", "path": "cifar10-part.tar", "batch": 128,
                "augment": [{"type": "crop", "pad": 4, "fill": "reflect"}, {"type": "flip"}],
                "normalize": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]}}
        stage = {"name": "dense", "train": {**length, "optimizer": SGD, **train}}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, "seed": 1, "model": network, "data": data, "stages": [stage]}))
        return path

    def train(self, config, folder, precision, deadline, *more, environment=None, watch=None):
        command = ["train", config, "--output", folder, "--precision", precision, *more]
        return self.check.espalier(command, deadline.left(), environment=environment, watch=watch)

    def result(self, folder):
        return json.loads((self.folder / folder / "result.json").read_text())["stages"][-1]

    def mnist(self, deadline):
        precision = self.precisions[0]
        shorter = ["--set", "stages.dense.train.epochs=1", "--set", "stages.tuned.train.epochs=1"] if self.small else []
        self.train("mnist_mlp", "mnist", precision, deadline, *shorter).checked()
        accuracy = self.result("mnist")["accuracy"]
        if not self.small and accuracy < MIN_ACCURACY:
            raise Failed(f"accuracy {accuracy:.2f} %, expected at least {MIN_ACCURACY}")
        return f"accuracy {accuracy:.2f} %"

    def resnet(self, precision):
        def body(deadline):
            self.train(self.config("resnet20"), f"resnet20-{precision}", precision, deadline).checked()
            last = self.result(f"resnet20-{precision}")
            return f"accuracy {last['accuracy']:.2f} %, loss {last['loss']:.4f}"

        return body

    def cut(self, deadline):
        precision = self.precisions[0]
        self.train(self.config("cut", prune=CUT), "cut", precision, deadline).checked()
        after = self.result("cut")
        evaluate = ["eval", "cut/models/dense.safetensors", "--json", "--precision", precision]
        saved = json.loads(self.check.espalier(evaluate, deadline.left()).checked().out)
        if saved["accuracy"] != after["accuracy"]:
            raise Failed(f"eval of what was saved says {saved['accuracy']}, the run {after['accuracy']}")
        return f"{after['macs']:,} MACs left, accuracy {after['accuracy']:.2f} %"

    def models_of(self, folder):
        models = {path.name: path.read_bytes() for path in sorted((self.folder / folder / "models").iterdir())}
        if not models:
            raise Failed(f"{folder} has no models")
        return models

    def again(self, deadline):
        """The runs of resnet() once more."""
        done = []
        for precision in self.precisions:
            if not (self.folder / f"resnet20-{precision}" / "result.json").exists():
                continue
            self.train(self.config("resnet20"), f"again-{precision}", precision, deadline).checked()
            if self.models_of(f"again-{precision}") != self.models_of(f"resnet20-{precision}"):
                raise Failed(f"{precision}: the same seed gave other bits")
            done.append(precision)
        if not done:
            raise Skipped("there is no run to compare with")
        return ", ".join(done)

    def resumed(self, deadline):
        """One that is stopped at its first row of metrics and goes on, beside one that is not."""
        precision = self.precisions[-1]
        config = self.config("resumed", {"steps": 10 if self.small else 250}, log_every=1)
        rows = self.folder / "stopped" / "metrics.jsonl"

        signalled = []

        def stop_at_first_row(process):
            if not signalled and rows.exists() and rows.stat().st_size > 0:
                signalled.append(process.send_signal(signal.SIGTERM))  # once: the second ends it at once

        self.train(config, "whole", precision, deadline).checked()
        stopped = self.train(config, "stopped", precision, deadline, watch=stop_at_first_row)
        if stopped.code != 128 + signal.SIGTERM:
            stopped.checked()
            raise Failed("the run came to its end before it could be stopped")
        before = len(rows.read_text().splitlines())
        self.train(config, "stopped", precision, deadline, "--resume").checked()
        if self.models_of("stopped") != self.models_of("whole"):
            raise Failed(f"{precision}: a run that was stopped at row {before} went on to other bits")
        return f"{precision}, stopped at row {before} of {len(rows.read_text().splitlines())}"

    def tiny(self):
        """Some steps, of which the last are a graph, an evaluation and a checkpoint: for compute-sanitizer."""
        path = self.folder / "tiny.json"
        path.write_text(json.dumps({
            "name": "tiny", "model": {"type": "resnet20", "input": [16, 16, 3], "width": 0.5},
            "data": {"type": "synthetic", "batch": 4, "train_images": 20, "test_images": 8},
            "stages": [{"name": "dense", "train": {"steps": 5, "optimizer": SGD}}]}))
        return path
