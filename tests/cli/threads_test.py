"""How many threads compute: what is asked for, what the machine gives, and what is refused."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config

GROUPS = pathlib.Path("/sys/fs/cgroup")


class Threads(CliTest):
    def count(self, before=(), **environment):
        """What `espalier version` says, started by `before`."""
        command = self.command("version", environment=environment)
        for name in [name for name, value in environment.items() if value is None]:
            del command["env"][name]
        command["args"] = [*before, *command["args"]]
        text = subprocess.run(**command, capture_output=True, timeout=60, check=True).stdout
        return int(re.search(r"threads +(\d+)", text)[1])

    def test_as_many_as_asked_for(self):
        self.assertEqual(self.count(OMP_NUM_THREADS="3"), 3)
        self.assertEqual(self.count(OMP_NUM_THREADS="5,2"), 5)

    def test_no_more_than_the_affinity_allows(self):
        allowed = os.sched_getaffinity(0)
        self.assertLessEqual(self.count(OMP_NUM_THREADS=None), len(allowed))
        self.assertEqual(self.count(["taskset", "-c", str(min(allowed))], OMP_NUM_THREADS=None), 1)

    def test_beyond_reason(self):
        self.write_data()
        self.write("small.json", config())
        self.fails_unwritten(2, "OMP_NUM_THREADS: found '100000', expected a whole number from 1 to 1024", "train",
                             "small.json", environment={"OMP_NUM_THREADS": "100000"})
        self.fails_unwritten(2, "train: --threads: found '100000', expected a whole number from 1 to 1024", "train",
                             "small.json", "--threads", 100000)
        self.succeeds("train", "small.json", "--threads", 1, environment={"OMP_NUM_THREADS": "100000"})

    def test_another_number_is_told(self):
        self.write_data()
        self.write("small.json", config())
        self.succeeds("train", "small.json", "--quiet", "--threads", 1)
        (self.folder / "runs/small/result.json").unlink()  # of one that is done nothing goes on
        result = self.espalier("train", "--resume", "runs/small", "--threads", 2)
        self.assertRegex(result.stderr, "^runs/small/checkpoint.safetensors: was written with 1 thread and .*, goes on "
                                        "with 2 threads and ")

    def test_a_real_control_group(self):
        name = f"espalier-test-{os.getpid()}"
        version_1 = (GROUPS / "cpu" / "cpu.cfs_quota_us").exists() or (GROUPS / "cpu" / "cpu.shares").exists()
        group = GROUPS / "cpu" / name if version_1 else GROUPS / name
        try:
            group.mkdir()
            self.addCleanup(group.rmdir)
            if version_1:
                (group / "cpu.cfs_quota_us").write_text("50000")
            else:
                (group / "cpu.max").write_text("50000 100000")
        except OSError as error:
            self.skipTest(f"no control group can be made here: {error}")
        enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
        self.assertEqual(self.count(enter, OMP_NUM_THREADS=None), 1)
        self.assertEqual(self.count(enter, OMP_NUM_THREADS="2"), 2)


if __name__ == "__main__":
    unittest.main()
