"""Whole runs that search for the smallest strength of a wanted efficacy, and what is saved and said of the search."""
import json
import signal

import numpy as np
import pytest

import launch
from launch import DONE, QUENCH, USAGE, settings
from stores import assert_same, contents

TARGET = 0.1
SHORT = settings("relearning.enabled=false", "run.export_to=none", "activations.layers=", "evaluation.curve=false")
SEARCH = [*SHORT, *settings("erasure.search=target", f"erasure.target_efficacy={TARGET}", "erasure.choice=best",
                            "erasure.strengths=0.1,20")]


@pytest.fixture(scope="module")
def searched(base, config):
    directory = base / "searched"
    done = launch.run(config, directory, *SEARCH)
    assert done.returncode == DONE, done.stderr
    return directory


def cells_of(edits, concept):
    """[{figure: value}] of the strengths tried, in the order tried."""
    names = [*(name.decode() for name in figures(edits)), "strength", "passed"]
    rows = zip(edits["cells/concept"], edits["cells/scores"], edits["cells/strength"], edits["cells/passed"])
    return [dict(zip(names, [*scores, strength, passed])) for c, scores, strength, passed in rows if c == concept]


def figures(edits):
    ends, text = edits["cells/figures/offsets"], edits["cells/figures/values"].tobytes()
    return [text[a:b] for a, b in zip(ends, ends[1:])]


def assert_intervals(cell):
    """What is measured is of some questions, in its interval; what is not has neither."""
    for figure in ("efficacy", "specificity", "coherence", "general_left", "own_left", "similar_left", "harmonic"):
        value, low, high, n = (cell[figure + end] for end in ("", "_low", "_high", "_n"))
        ended = figure == "harmonic" and value == 0 and np.isnan(cell["specificity"])
        if np.isnan(value) or ended:
            assert np.isnan([low, high]).all() and n == 0, figure
        else:
            assert low <= high and n > 0, figure
            assert 0 <= low and high <= 1 + 1e-9, figure


def inspect(run, name, *more):
    done = launch.call([QUENCH, "inspect", run, "--concept", name, *more])
    assert done.returncode == DONE, done.stderr
    return done.stdout


def names_of(base):
    return [json.loads(line)["name"] for line in (base / "catalog" / "concepts.jsonl").read_text().splitlines()]


def test_the_smallest_that_reaches_is_chosen(base, searched):
    edits = contents(searched / "edits.h5")
    statuses = set()
    for concept, name in enumerate(names_of(base)):
        cells = cells_of(edits, concept)
        told = json.loads(inspect(searched, name, "--json"))["edit"]
        assert [cell["strength"] for cell in told["cells"]] == [cell["strength"] for cell in cells]
        assert told["search"] == "target" and told["target_efficacy"] == TARGET
        assert [cell["efficacy_n"] for cell in told["cells"]] == [cell["efficacy_n"] for cell in cells]
        for cell in cells:
            assert_intervals(cell)
        assert len(cells) <= 8 and cells[0]["strength"] == pytest.approx(2 ** 0.5, rel=0.1)
        eligible = [cell for cell in cells if cell["passed"] and cell["harmonic"] > 0]
        reached = [cell["strength"] for cell in eligible if cell["efficacy"] >= TARGET]
        most = max((cell["harmonic"] for cell in eligible), default=0)
        best = min((cell["strength"] for cell in eligible if cell["harmonic"] == most), default=0)
        assert edits["edits/strength"][concept] == told["strength"] == (min(reached) if reached else best)
        assert told["status"] == ("ok" if reached else "below_target" if eligible else "no_effect")
        statuses.add(told["status"])
        text = inspect(searched, name)
        assert f"target of efficacy {TARGET:.2f}" in text and f"status {told['status']}" in text
    assert statuses == {"ok", "below_target", "no_effect"}
    table = (searched / "report" / "cells.csv").read_text().splitlines()
    assert len(table) == 1 + len(edits["cells/strength"]) and ",error,passed," in table[0]
    assert ",efficacy,efficacy_low,efficacy_high,efficacy_n," in table[0]
    tried = dict(zip(figures(edits), edits["joint/scores"][0]))
    edited = (edits["edits/strength"] > 0).sum()
    assert tried[b"efficacy_low"] <= tried[b"efficacy"] <= tried[b"efficacy_high"] and tried[b"efficacy_n"] == edited


def test_what_the_target_is_too_high_for_is_edited_and_told_apart(config, searched, tmp_path):
    high = [*SEARCH, *settings("erasure.target_efficacy=1", "erasure.strengths=0.1,1")]
    done = launch.run(config, tmp_path / "run", *high, ranks=2)
    assert done.returncode == DONE, done.stderr
    edits, evaluation = contents(tmp_path / "run" / "edits.h5"), contents(tmp_path / "run" / "evaluation.h5")
    below = edits["edits/status/values"].tobytes().count(b"below_target")
    assert below > 0 and (edits["edits/strength"] > 0).sum() >= below
    # They are part of the joint edit and of the means.
    assert evaluation["/@counted_concepts"] == (edits["edits/strength"] > 0).sum()
    assert "below_target" in (tmp_path / "run" / "report" / "concepts.csv").read_text()
    told = json.loads(launch.call([QUENCH, "diff", tmp_path / "run", searched, "--json"]).stdout)
    both = (edits["edits/strength"] > 0) & (contents(searched / "edits.h5")["edits/strength"] > 0)
    assert told["overall"]["concepts"] == both.sum() > 0


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_same_on_any_number_of_ranks(config, searched, tmp_path, ranks):
    done = launch.run(config, tmp_path / "run", *SEARCH, *settings(f"run.group_size={ranks}"), ranks=ranks)
    assert done.returncode == DONE, done.stderr
    assert_same(tmp_path / "run", searched, rtol=1e-3, stages=["erasure"])


def test_killed_in_the_search_it_goes_on(config, searched, tmp_path):
    killed = launch.run(config, tmp_path / "run", *SEARCH, fault="erasure:1:KILL")
    assert killed.returncode == -signal.SIGKILL
    done = launch.run(config, tmp_path / "run", *SEARCH, ranks=2)
    assert done.returncode == DONE, done.stderr
    assert_same(tmp_path / "run", searched, stages=["erasure"])


def test_cells_that_end_at_a_gate_hold_no_figures_that_were_not_measured(base, config, searched, tmp_path):
    # Every token of the dictionary is edited, those of the general questions too.
    dictionary = contents(searched / "dictionary.h5")
    ends, tokens = dictionary["dictionaries/tokens/offsets"], dictionary["dictionaries/tokens/values"]
    manual = tmp_path / "manual.jsonl"
    manual.write_text("".join(json.dumps({"concept": name, "features": list(range(8)), "tokens": tokens[a:b].tolist()}) + "\n"
                              for name, a, b in zip(names_of(base), ends, ends[1:])))
    stops = settings("evaluation.early_stop=true", "evaluation.max_own_left=0.8", "erasure.min_general=0.99",
                     "erasure.strengths=0.001,0.01,0.1,1,10", "selection.method=manual", f"selection.manual={manual}")
    done = launch.run(config, tmp_path / "run", *SHORT, *stops)
    assert done.returncode == DONE, done.stderr
    edits = contents(tmp_path / "run" / "edits.h5")
    harmful = weak = 0
    for cell in (cell for concept in range(3) for cell in cells_of(edits, concept)):
        assert_intervals(cell)
        if cell["general_left"] < 0.99:
            harmful += 1
            assert not cell["passed"] and np.isnan(cell["efficacy"])
        elif cell["own_left"] > 0.8:
            weak += 1
            assert cell["passed"] and cell["efficacy"] == 1 - cell["own_left"]
        else:
            assert np.isfinite([cell["specificity"], cell["coherence"]]).all()
            continue
        assert np.isnan(cell["specificity"]) and np.isnan(cell["coherence"]) and cell["harmonic"] == 0
    assert harmful > 0 and weak > 0
    told = [cell for name in names_of(base)
            for cell in json.loads(inspect(tmp_path / "run", name, "--json"))["edit"]["cells"]]
    assert [cell["strength"] for cell in told if cell["stopped"]] == [
        cell["strength"] for concept in range(3) for cell in cells_of(edits, concept) if cell["own_left"] > 0.8]
    text = "".join(inspect(tmp_path / "run", name) for name in names_of(base))
    assert text.count("stopped: too much of the concept left") == weak


def test_no_strength_is_refused(config, tmp_path):
    done = launch.run(config, tmp_path / "run", *SEARCH, *settings("erasure.strengths="), ranks=2)
    assert done.returncode == USAGE and "erasure.strengths" in done.stderr
    assert not (tmp_path / "run").exists()


def test_plan_counts_what_the_search_may_take(config):
    for cells, more in ((2, []), (8, SEARCH)):
        done = launch.call([QUENCH, "plan", "--json", "-c", config, "--set", "run.directory=none", *more])
        assert json.loads(done.stdout)["cells"] == 3 * cells
