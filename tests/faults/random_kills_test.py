"""Runs that are hit at any moment, again and again, by any signal, with any number of ranks: they end with the numbers of the
run that nothing interrupted."""
import os
import random
import signal
import time

import pytest

import launch
from launch import DONE, STOPPED
from stores import assert_same, leftovers

RUNS, HITS = 12, 8
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1]
# A rank that dies ends mpirun with 128 + its signal. TERM and USR1 are a death before their handlers are there, then a stop in
# order.
ENDS = {DONE, STOPPED, *(-number for number in SIGNALS), *(128 + number for number in SIGNALS)}
MPIRUN_TOLD_TO_END = 1  # its own code when the signal was for it, whatever the ranks' one


def hit(started, rng):
    """A signal to one of the ranks or to mpirun, or kill -9 of all. Returns the codes that may follow."""
    if rng.random() < 0.25:
        started.kill_all()
        return ENDS
    ranks = launch.children_of(started.process.pid)
    victim = rng.choice([started.process.pid, *ranks])
    os.kill(victim, rng.choice(SIGNALS))
    return ENDS | {MPIRUN_TOLD_TO_END} if ranks and victim == started.process.pid else ENDS


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_run_hit_at_random(config, reference, tmp_path, seed):
    rng = random.Random(seed)
    run = tmp_path / "run"
    for attempt in range(HITS):
        started = launch.Started(launch.command(config, run, ranks=rng.choice([0, 1, 2, 3])), tmp_path / "log")
        time.sleep(rng.uniform(0.1, 1 + attempt))
        ends = hit(started, rng) if started.process.poll() is None else ENDS
        code = started.wait()
        assert code in ends, f"attempt {attempt}: {code}\n{started.said()}"
        if code == DONE:
            break
    done = launch.run(config, run, ranks=2)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []
