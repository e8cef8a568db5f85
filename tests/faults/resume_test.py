"""Runs that are killed or asked to stop in any stage go on with the same command line, with any number of ranks, and end
with the numbers of a run that nothing interrupted."""
import json
import shutil
import signal

import numpy as np
import pytest

import launch
from launch import DONE, INTERNAL, STOPPED, settings
from stores import STAGE_FILES, assert_same, contents, is_complete, leftovers

# Stages that do their work as tasks; one that is hit after its first task leaves the others open.
TASK_STAGES = ["corpus", "dictionary", "activations", "baseline", "erasure", "evaluation", "relearning"]
ENDLESS = settings("relearning.steps=1000000", "relearning.points=1")


def test_the_reference_exercises_every_stage(reference):
    strength = contents(reference / "edits.h5")["edits/strength"]
    assert (strength > 0).sum() >= 2
    assert contents(reference / "relearning.h5")["attacks/concept"].size >= 4
    assert contents(reference / "edits.h5")["joint/factors"].size > 0
    assert leftovers(reference) == []
    for table in ("cells", "concepts", "curve", "examples", "relearning", "relearning_means", "tokens"):
        rows = (reference / "report" / f"{table}.csv").read_text(encoding="utf-8").splitlines()
        assert len(rows) > 1, f"{table}.csv holds nothing"


def interrupt_in_each_stage(config, run, name, ranks, expected):
    """Starts the run again and again, hit in one stage after the other."""
    for stage in TASK_STAGES:
        done = launch.run(config, run, ranks=ranks, fault=f"{stage}:1:{name}")
        assert done.returncode in expected, f"{stage}: {done.returncode}\n{done.stderr}"
        yield stage, done


@pytest.mark.parametrize("name, code, after", [("KILL", -signal.SIGKILL, 2), ("TERM", STOPPED, 3), ("USR1", STOPPED, 0)])
def test_one_process_hit_in_each_stage(config, reference, tmp_path, name, code, after):
    run = tmp_path / "run"
    for stage, done in interrupt_in_each_stage(config, run, name, 0, {code}):
        assert not (run / STAGE_FILES[stage]).exists()
        assert list((run / "journals" / stage).glob("*.jnl"))
        if code == STOPPED:
            assert done.stderr.count(f"{stage}: stopped (SIG{name}) with ") == 1, done.stderr
            assert done.stderr.count("the same command goes on") == 1, done.stderr
    done = launch.run(config, run, ranks=after)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []


# mpirun reports a killed rank as 128 + 9, and ends the others. Ranks that stop in order agree on 75.
@pytest.mark.parametrize("name, code, ranks, after", [("KILL", 128 + signal.SIGKILL, 2, 1), ("TERM", STOPPED, 2, 3),
                                                      ("USR1", STOPPED, 3, 2)])
def test_ranks_hit_in_each_stage(config, reference, tmp_path, name, code, ranks, after):
    run = tmp_path / "run"
    for _, done in interrupt_in_each_stage(config, run, name, ranks, {code}):
        if code == STOPPED:
            assert done.stderr.count("the same command goes on") == 1, done.stderr
    done = launch.run(config, run, ranks=after)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []


# Killed when all is done but the last step: the file or folder is written and has not its name yet.
@pytest.mark.parametrize("ranks, after", [(0, 2), (2, 0)])
def test_killed_before_anything_is_published(config, reference, tmp_path, ranks, after):
    run = tmp_path / "run"
    for name in [*STAGE_FILES.values(), "model", "index.html"]:
        done = launch.run(config, run, ranks=ranks, fault=f"{name}:1:KILL")
        assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, f"{name}: {done.returncode}\n{done.stderr}"
        place = {"model": run / "model", "index.html": run / "report" / "index.html"}.get(name, run / name)
        assert not place.exists()
    done = launch.run(config, run, ranks=after)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []


def test_groups_share_a_factorisation(config, reference, tmp_path):
    run = tmp_path / "run"
    done = launch.run(config, run, *settings("run.group_size=2"), ranks=2)
    assert done.returncode == DONE, done.stderr
    # Padding and sums differ; the neurons of the features do not.
    assert_same(run, reference, rtol=1e-3, atol=1e-4, stages=["corpus", "activations"])


@pytest.mark.parametrize("stage", ["dictionary", "evaluation"])
def test_all_ranks_and_mpirun_killed_at_once(config, reference, tmp_path, stage):
    run = tmp_path / "run"
    started = launch.Started(launch.command(config, run, ranks=2), tmp_path / "log")
    journals = run / "journals" / stage
    started.wait_for(lambda: any(file.stat().st_size > 0 for file in journals.glob("*.jnl")))
    started.kill_all()
    assert not is_complete(run / "relearning.h5")
    done = launch.run(config, run, ranks=3)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)


def test_killed_inside_a_factorisation(config, tmp_path):
    """One dictionary of all concepts, whose rows are shared out: it goes on from its checkpoint, on another number of ranks."""
    joint = settings("dictionary.scope=catalog", "dictionary.stop=patience", "dictionary.patience=300",
                     "dictionary.max_iterations=300", "relearning.enabled=false", "activations.layers=")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert launch.run(config, whole, *joint, ranks=2).returncode == DONE
    saving = [*joint, *settings("dictionary.checkpoint=0")]
    started = launch.Started(launch.command(config, run, *saving, ranks=2), tmp_path / "log")
    started.wait_for(lambda: any((run / "journals" / "dictionary").glob("*.fit")))
    started.kill_all()
    assert not (run / "dictionary.h5").exists()
    done = launch.run(config, run, *joint, ranks=3)
    assert done.returncode == DONE, done.stderr
    assert "a factorisation goes on after iteration" in done.stderr
    assert_same(run, whole, rtol=1e-4, atol=1e-5, stages=["corpus", "dictionary", "selection"])
    assert leftovers(run) == []


@pytest.fixture
def before_relearning(reference, tmp_path):
    """A copy of the reference that has its attacks before it."""
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    (run / "relearning.h5").unlink()
    return run


def signal_in_an_attack(config, run, ranks, number):
    """The exit code after a signal from outside, in the middle of a stage."""
    words = launch.command(config, run, "--accept-changes", *ENDLESS, ranks=ranks)
    started = launch.Started(words, run / "log")
    started.wait_for(lambda: "relearning: begins" in started.said())
    started.signal(number)
    return started.wait(), started.said()


@pytest.mark.parametrize("ranks, name, codes", [(0, "TERM", {STOPPED}), (0, "INT", {STOPPED}), (2, "USR1", {STOPPED}),
                                                (2, "TERM", {STOPPED, 1, 128 + signal.SIGTERM})])
def test_signal_from_outside(config, reference, before_relearning, ranks, name, codes):
    run = before_relearning
    code, said = signal_in_an_attack(config, run, ranks, signal.Signals[f"SIG{name}"])
    assert code in codes, said
    assert not (run / "relearning.h5").exists()
    done = launch.run(config, run, "--accept-changes", ranks=2)
    assert done.returncode == DONE, done.stderr
    assert "evaluation: kept" in done.stderr
    assert_same(run, reference)


def test_time_limit_stops_with_a_checkpoint(config, before_relearning):
    done = launch.run(config, before_relearning, "--accept-changes", *ENDLESS, *settings("run.time_limit=0.05"))
    assert done.returncode == STOPPED, done.stderr
    assert "time limit" in done.stderr
    manifest = json.loads((before_relearning / "manifest.json").read_text(encoding="utf-8"))
    assert "stopped" in manifest["outcome"]


def test_a_rank_that_hangs_ends_the_job(config, reference, tmp_path):
    """The leader of a group of two stops for ever after its first record; the other one does not wait for ever."""
    run = tmp_path / "run"
    shared = settings("run.group_size=2")
    done = launch.run(config, run, *shared, *settings("run.watchdog=5"), ranks=2, fault="baseline:1:STOP:0")
    assert done.returncode == INTERNAL, f"{done.returncode}\n{done.stderr}"
    assert "rank 1 on " in done.stderr and "has waited" in done.stderr and "run.watchdog" in done.stderr
    done = launch.run(config, run, *shared, ranks=2)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("damage", ["partial", "truncated", "unmarked"])
def test_unfinished_file_is_made_again(config, reference, tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    file = run / "evaluation.h5"
    if damage == "partial":
        file.rename(run / "evaluation.h5.partial")
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    else:
        unmark(file)
    done = launch.run(config, run)
    assert done.returncode == DONE, done.stderr
    assert "evaluation: begins" in done.stderr and "erasure: kept" in done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []


def unmark(path):
    import h5py
    with h5py.File(path, "r+") as file:
        file.attrs["complete"] = 0


# In groups sums are taken in another order. Training amplifies that: AdamW's first steps follow a gradient's sign.
@pytest.mark.parametrize("ranks, group, rtol, atol", [(1, 1, 1e-5, 1e-7), (2, 1, 1e-5, 1e-7), (3, 1, 1e-5, 1e-7),
                                                      (2, 2, 1e-3, 1e-4), (3, 3, 1e-3, 1e-4)])
def test_rank_counts_agree(config, reference, tmp_path, ranks, group, rtol, atol):
    done = launch.run(config, tmp_path / "run", *settings(f"run.group_size={group}"), ranks=ranks)
    assert done.returncode == DONE, done.stderr
    run = tmp_path / "run"
    for file, key in [("selection.h5", "selected"), ("edits.h5", "edits/tokens")]:
        ours, theirs = contents(run / file), contents(reference / file)
        exact = [name for name in theirs if name.startswith(key) and "@" not in name]
        for name in exact:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert_same(run, reference, rtol, atol)
