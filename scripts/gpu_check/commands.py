"""Programs that are run under a limit: what one had printed by its end, or by its killing, is there."""

import os
import pathlib
import signal
import subprocess
import time


class Failed(Exception):
    """A part of the check that did not do what it should."""


class Stopped(Failed):
    """One that ran past its limit."""


class Skipped(Exception):
    """One that cannot be done here."""


class Terminated(BaseException):
    """SIGTERM: what is known is to be written."""


class Deadline:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return max(0, self.end - time.monotonic())


class Result:
    def __init__(self, code, out, err, late):
        self.code, self.out, self.err, self.late = code, out, err, late

    def checked(self):
        """Itself; Failed, with the last that it said, if it did not end well."""
        if self.late:
            raise Stopped("it ran past its limit")
        if self.code != 0:
            said = (self.err.strip() or self.out.strip()).splitlines()[-3:]
            how = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
            raise Failed(f"{how}: {' / '.join(said)}")
        return self


def end(process):
    """Ends a process and those that it started."""
    for how, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, how)
            process.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            pass


class Runner:
    """Runs programs in one folder, and keeps a log of what they say."""

    def __init__(self, folder, log):
        self.folder, self.log = pathlib.Path(folder), log
        self.count = 0

    def note(self, command, text):
        with open(self.log, "a", errors="replace") as log:
            log.write(f"$ {' '.join(map(str, command))}\n{text[:200_000]}\n")

    def start(self, command, environment, **streams):
        return subprocess.Popen(list(map(str, command)), env=environment, cwd=self.folder, start_new_session=True,
                                **streams)

    def run(self, command, environment, limit, watch=None):
        """`watch(process)` is called while it runs; what it printed is in files, so that nothing of it is lost."""
        self.count += 1
        files = [self.folder / f"{self.count}.{stream}" for stream in ("out", "err")]
        deadline = Deadline(limit)
        with open(files[0], "wb") as out, open(files[1], "wb") as err:
            process = self.start(command, environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            late = False
            try:
                while process.poll() is None:
                    if deadline.left() == 0:
                        late = True
                        break
                    if watch:
                        watch(process)
                    time.sleep(0.01)
            finally:
                if process.poll() is None:
                    end(process)
                texts = [file.read_text(errors="replace") for file in files]
                self.note(command, "".join(texts) + ("(stopped at its limit)\n" if late else ""))
        for file in files:
            file.unlink()
        return Result(process.returncode, *texts, late)
