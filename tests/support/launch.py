"""Starts quench, alone or under mpirun, and waits for what it does."""
import os
import pathlib
import signal
import subprocess
import time

from tiny_run import QUENCH

DONE, SOME_FAILED, USAGE, INTERNAL, STOPPED = 0, 1, 64, 70, 75
TIMEOUT = 300  # seconds; a hang is a failure
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]


def environment(fault=None):
    variables = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                 "OMPI_MCA_mpi_yield_when_idle": "1", "OMP_NUM_THREADS": "1"}
    variables.pop("QUENCH_FAULT", None)
    if fault:
        variables["QUENCH_FAULT"] = fault
    return variables


def command(config, directory, *more, ranks=1):
    """`quench run`; ranks 0: the program alone, without mpirun."""
    launcher = [*MPIRUN, "-n", str(ranks)] if ranks else []
    return [*launcher, QUENCH, "run", "-q", "-c", config, "--set", f"run.directory={directory}", *more]


def settings(*assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


def call(words, fault=None, **more):
    """The finished process, with text in stdout and stderr."""
    return subprocess.run(words, capture_output=True, text=True, env=environment(fault), timeout=TIMEOUT, **more)


def run(config, directory, *more, ranks=0, fault=None):
    return call(command(config, directory, *more, ranks=ranks), fault)


class Started:
    """A run in the background; what it says goes to a file."""

    def __init__(self, words, log):
        self.log = pathlib.Path(log)
        with open(self.log, "w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(words, stdout=stream, stderr=stream, env=environment())

    def wait_for(self, condition):
        """Until the condition holds; a failure when the process ends before or nothing happens."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert self.process.poll() is None, f"ended too early:\n{self.said()}"
            assert time.monotonic() < deadline, f"waited in vain:\n{self.said()}"
            time.sleep(0.01)

    def said(self):
        return self.log.read_text(encoding="utf-8")

    def wait(self):
        return self.process.wait(TIMEOUT)

    def signal(self, number):
        self.process.send_signal(number)

    def kill_all(self):
        """kill -9 of mpirun and every rank at once."""
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)


def children_of(pid):
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    direct = [int(child) for child in listed]
    return direct + [below for child in direct for below in children_of(child)]
