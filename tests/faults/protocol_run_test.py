"""Whole runs that go the paper's way where that is a switch: attacks of so many epochs, and strengths for every concept."""
import json

import numpy as np
import pytest

import launch
from launch import DONE, QUENCH, settings
from stores import assert_same, contents

EPOCHS = settings("relearning.epochs=2", "erasure.unknown=edit", "run.export_to=none", "activations.layers=")


@pytest.fixture(scope="module")
def epochs(base, config):
    directory = base / "epochs"
    done = launch.run(config, directory, *EPOCHS)
    assert done.returncode == DONE, done.stderr
    return directory


def test_an_attack_is_of_whole_epochs(epochs):
    attacks = contents(epochs / "relearning.h5")
    ends, steps = attacks["curves/steps/offsets"], attacks["curves/steps/values"]
    assert len(ends) > 4
    # Three of four paragraphs are trained on, two at a time.
    for begin, end in zip(ends, ends[1:]):
        assert steps[begin:end].tolist() == [0, 2, 3]


def test_no_concept_is_left_as_unknown(epochs):
    edits, baseline = contents(epochs / "edits.h5"), contents(epochs / "baseline.h5")
    assert b"unknown_to_model" not in edits["edits/status/values"].tobytes()
    assert sorted(set(edits["cells/concept"].tolist())) == [0, 1, 2]
    assert len(baseline["knowledge/known"]) == 3


def test_it_goes_on_after_a_kill_in_the_back_off(config, epochs, tmp_path):
    # Three cells' tasks, then the joint edit's.
    killed = launch.run(config, tmp_path / "run", *EPOCHS, fault="erasure:4:KILL")
    assert killed.returncode < 0
    done = launch.run(config, tmp_path / "run", *EPOCHS, ranks=2)
    assert done.returncode == DONE, done.stderr
    assert_same(tmp_path / "run", epochs, stages=["erasure"])
    joint = contents(tmp_path / "run" / "edits.h5")["joint/scores"]
    assert np.isfinite(joint).any()


def test_plan_counts_the_steps_of_epochs(config):
    def training(*more):
        done = launch.call([QUENCH, "plan", "--json", "-c", config, "--set", "run.directory=none", *settings(*more)])
        assert done.returncode == DONE, done.stderr
        return json.loads(done.stdout)["training_tokens"]

    # Two concepts, erased and untouched; batches of two paragraphs of 24 tokens at most.
    assert training() == 2 * 2 * 4 * 2 * 24
    assert training("relearning.epochs=2") == 2 * 2 * 3 * 2 * 24
    assert training("relearning.epochs=2", "corpus.held_out_paragraphs=0") == 2 * 2 * 4 * 2 * 24
    assert training("relearning.epochs=10", "relearning.max_concepts=1") == 2 * 15 * 2 * 24
