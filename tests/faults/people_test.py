"""What people take from finished runs: a patch, what differs between two, answers before and after and who may see them."""
import csv
import hashlib
import itertools
import json
import re
import shutil

import pytest
import numpy as np
from safetensors import safe_open

import launch
from launch import DONE, QUENCH, USAGE, call, settings
from stores import contents
from tiny_run import write_lines


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def names(base):
    return [record["name"] for record in lines(base / "catalog" / "concepts.jsonl")]


def test_a_patch_holds_the_edits_alone(base, reference, names, tmp_path):
    patch = tmp_path / "one.safetensors"
    untouched, edited = names[0], names[2]
    done = call([QUENCH, "export", reference, "--concepts", untouched, edited, edited, "--patch", patch, "--to", tmp_path / "whole"])
    assert done.returncode == DONE and f"no edit of {untouched} (no_effect)\n" in done.stderr, done.stderr
    edits = contents(reference / "edits.h5")
    ids = edits["edits/tokens/values"][slice(*edits["edits/tokens/offsets"][2:4])]
    with safe_open(patch, framework="np") as file:
        about, rows = file.metadata(), file.get_tensor("rows")
        assert file.get_tensor("token_ids").tolist() == ids.tolist()
    with safe_open(tmp_path / "whole" / "model.safetensors", framework="np") as file:
        assert np.array_equal(file.get_tensor("model.embed_tokens.weight")[ids], rows)
    with safe_open(base / "model" / "model.safetensors", framework="np") as file:
        embedding = file.get_tensor("model.embed_tokens.weight")
    assert about["embedding_sha256"] == hashlib.sha256(embedding.tobytes()).hexdigest()
    assert about["before_sha256"] == hashlib.sha256(embedding[ids].tobytes()).hexdigest()
    manifest = json.loads((reference / "manifest.json").read_text())
    assert about["model"] == "model" and about["run_id"] == manifest["run_id"]
    assert json.loads(about["concepts"]) == [untouched, edited] and json.loads(about["base_model"]) == manifest["inputs"]
    assert float(about["joint_factor"]) == edits["/@joint_factor"]


def test_a_relative_model_is_found_from_anywhere(base, config, tmp_path):
    run = tmp_path / "run"
    words = settings("run.model=model", f"run.directory={run}", "relearning.enabled=false", "run.export_to=none")
    done = call([QUENCH, "run", "-c", config, *words], cwd=base)
    assert done.returncode == DONE, done.stderr
    for command in (["inspect", run, "--concept", "Golf"], ["export", run, "--to", tmp_path / "out"], ["report", run]):
        told = call([QUENCH, *command], cwd=tmp_path)
        assert told.returncode == DONE, told.stderr
    assert "not at hand" not in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_an_exact_name_goes_before_an_alias(base, config, names, tmp_path):
    catalog = shutil.copytree(base / "catalog", tmp_path / "catalog")
    records = lines(catalog / "concepts.jsonl")
    records[0]["aliases"] = [names[1], "both"]
    records[2]["aliases"] = ["both", "alone"]
    write_lines(catalog / "concepts.jsonl", records)
    run = tmp_path / "run"
    assert launch.run(config, run, *settings(f"run.catalog={catalog}", "relearning.enabled=false")).returncode == DONE
    inspect = [QUENCH, "inspect", run, "--json", "--concept"]
    assert json.loads(call([*inspect, names[1]]).stdout)["concept"] == names[1]
    assert json.loads(call([*inspect, "alone"]).stdout)["concept"] == names[2]
    done = call([*inspect, "both"])
    assert done.returncode == USAGE and f"'{names[0]}', '{names[2]}'" in done.stderr, done.stderr


def test_export_says_what_is_wrong(base, reference, tmp_path):
    done = call([QUENCH, "export", reference])
    assert done.returncode == USAGE and "--patch FILE" in done.stderr
    # The model that the run was of has changed.
    run, model = tmp_path / "run", tmp_path / "model"
    shutil.copytree(base / "model", model)
    run.mkdir()
    for file in ("corpus.h5", "edits.h5"):
        shutil.copy(reference / file, run)
    manifest = json.loads((reference / "manifest.json").read_text())
    manifest["configuration"]["run.model"] = str(model)
    (run / "manifest.json").write_text(json.dumps(manifest))
    patch = tmp_path / "all.safetensors"
    assert call([QUENCH, "export", run, "--patch", patch]).returncode == DONE
    with open(model / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    done = call([QUENCH, "export", run, "--patch", patch, "--overwrite"])
    assert done.returncode == USAGE and "model.safetensors: is no longer the file that the run read" in done.stderr


BARE = settings("run.export_to=none", "activations.layers=")
SHORT = BARE + settings("relearning.enabled=false")


@pytest.fixture(scope="session")
def stronger(config, base, reference):
    """The reference's run with far stronger edits, and attacks of two seeds."""
    directory = base / "stronger"
    done = launch.run(config, directory, *BARE, *settings("erasure.strengths=16,32", "relearning.seeds=2",
                                                          "relearning.learning_rate=1e-3"))
    assert done.returncode == DONE, done.stderr
    return directory


def diff(a, b, *more):
    done = call([QUENCH, "diff", a, b, "--json", *more])
    assert done.returncode == DONE, done.stderr
    return json.loads(done.stdout)


def own_accuracy(run, concept, edits="joint"):
    """Of each own test question put as a choice: 1, right; 0, wrong. As the joint model answers, or each edit alone."""
    corpus, said = contents(run / "corpus.h5"), contents(run / "evaluation.h5")
    first, end = corpus["probe_offsets"][concept:concept + 2]
    answers = []
    for probe in range(first, end):
        if corpus["probes/kind"][probe] or corpus["probes/subset"][probe] or not corpus["probes/split"][probe]:
            continue
        offsets = said[f"{edits}/measurements/values/offsets"]
        options = said[f"{edits}/measurements/values/values"][offsets[probe]:offsets[probe + 1]]
        answers.append(float(options.argmax() == corpus["probes/correct"][probe]))
    return np.array(answers)


def test_diff_pairs_what_was_asked_of_both(reference, stronger, names):
    told = diff(reference, stronger)
    assert {"key": "erasure.strengths", "a": "1,4", "b": "16,32", "decides": True} in told["configuration"]
    assert {item["key"] for item in told["configuration"] if not item["decides"]} == {"run.directory", "run.export_to"}
    assert told["inputs"] == told["only_a"] == told["only_b"] == []
    assert [item["concept"] for item in told["concepts"]] == names
    moved = compared = 0
    for c, item in enumerate(told["concepts"]):
        figure = item["figures"]["own_accuracy"]
        a, b = own_accuracy(reference, c), own_accuracy(stronger, c)
        assert figure["paired"] and figure["n"] == len(a)
        assert figure["difference"][0] == pytest.approx((b - a).mean())
        assert figure["a"][0] == pytest.approx(a.mean()) and figure["b"][0] == pytest.approx(b.mean())
        draws = np.random.default_rng(1).integers(0, len(a), (4000, len(a)))
        low, high = np.quantile((b - a)[draws].mean(axis=1), [0.025, 0.975])
        assert figure["difference"][1:] == pytest.approx([low, high], abs=0.17)  # one question of six
        for one in item["figures"].values():
            if "difference" not in one:
                continue
            compared, moved = compared + 1, moved + one["moved"]
            if one["n"] < 5:  # too few to say
                assert one["p"] is None and not one["moved"]
                continue
            assert 0 < one["p"] <= 1
            assert one["moved"] == (one["difference"][1] > 0 or one["difference"][2] < 0)
        assert not [name for name in item["figures"] if name.startswith("general_") and "difference" in item["figures"][name]]
    assert (told["compared"], told["moved"]) == (compared, moved) and moved > 0
    edited = [c for c, item in enumerate(told["concepts"]) if item["status"] == ["ok", "ok"]]
    assert told["overall"]["concepts"] == len(edited) > 0
    overall = told["overall"]["figures"]["own_accuracy"]
    assert overall["n"] == len(edited)
    assert overall["difference"][0] == pytest.approx(
        np.mean([(own_accuracy(stronger, c) - own_accuracy(reference, c)).mean() for c in edited]))
    # p: the share of all signs of the concepts' differences whose sum is as far from 0.
    each = np.array([(own_accuracy(stronger, c) - own_accuracy(reference, c)).mean() for c in edited])
    signs = np.array(list(itertools.product([-1, 1], repeat=len(each))))
    assert overall["p"] == pytest.approx((abs(signs @ each) >= abs(each.sum()) - 1e-12).mean())
    assert "own_open_accuracy" in told["overall"]["figures"] and "base_own_margin" not in told["overall"]["figures"]
    # Three concepts' signs cannot tell: no mean of theirs moves against its p, however far from 0 its interval is.
    means = [one for one in told["overall"]["figures"].values() if "difference" in one]
    assert any(one["p"] is not None and one["p"] >= 0.05 and (one["difference"][1] > 0 or one["difference"][2] < 0) for one in means)
    assert all(one["p"] is None or one["p"] < 0.05 for one in means if one["moved"])
    # All concepts share the general questions: one difference, not as many as there are concepts.
    general = told["overall"]["figures"]["general_margin"]
    assert (general["p"] < 0.05) == general["moved"] or 0.01 < general["p"] < 0.1
    # The other way round it is the negative.
    back = diff(stronger, reference)["overall"]["figures"]["own_margin"]["difference"]
    there = told["overall"]["figures"]["own_margin"]["difference"]
    assert back[0] == pytest.approx(-there[0]) and back[1] == pytest.approx(-there[2], abs=0.2)


def relearned(run, concept):
    """Share of the untouched model's margin on the concept's own test questions that the attacked model has, a seed each."""
    corpus, base, attacks = (contents(run / file) for file in ("corpus.h5", "baseline.h5", "relearning.h5"))
    first, end = corpus["probe_offsets"][concept:concept + 2]
    asked = [probe for probe in range(first, end) if corpus["probes/split"][probe] and not corpus["probes/kind"][probe]]
    own = [place for place, probe in enumerate(asked) if not corpus["probes/subset"][probe]]
    right = corpus["probes/correct"][asked]

    def mean_margin(values):
        return np.mean([values[i][right[i]] - np.delete(values[i], right[i]).mean() for i in own])

    offsets = base["measurements/values/offsets"]
    before = mean_margin([base["measurements/values/values"][offsets[probe]:offsets[probe + 1]] for probe in asked])
    shares = []
    for attack in np.flatnonzero((attacks["attacks/concept"] == concept) & (attacks["attacks/erased"] == 1)):
        begin, stop = attacks["curves/values/offsets"][attack:attack + 2]
        last = attacks["curves/values/values"][begin:stop].reshape(-1, len(asked), 4)[-1]
        shares.append(np.clip(mean_margin(last) / before, 0, 1))
    return np.array(shares)


def test_diff_pairs_what_came_back(reference, stronger):
    told = diff(reference, stronger)
    found = [(c, item["figures"]["relearned"]) for c, item in enumerate(told["concepts"]) if "relearned" in item["figures"]]
    assert found
    for c, figure in found:
        a, b = relearned(reference, c), relearned(stronger, c)
        assert figure["seeds"] == [len(a), len(b)] == [1, 2]
        assert figure["a"][0] == pytest.approx(a.mean(), abs=1e-5) and figure["b"][0] == pytest.approx(b.mean(), abs=1e-5)
        assert figure["difference"][0] == pytest.approx(b.mean() - a.mean(), abs=1e-5)
        assert figure["paired"] and figure["n"] == 6 and 0 < figure["p"] <= 1
        assert figure["difference"][1] <= figure["difference"][2]
    overall = told["overall"]["figures"]["relearned"]
    assert overall["paired"] and overall["n"] == len(found)
    assert overall["difference"][0] == pytest.approx(np.mean([figure["difference"][0] for _, figure in found]))


def stored_alone(run, figure):
    """The figure of each concept's edit alone, as the run made it."""
    said = contents(run / "evaluation.h5")
    ends, text = said["figures/offsets"], said["figures/values"].tobytes()
    names = [text[begin:end].decode() for begin, end in zip(ends, ends[1:])]
    return said["alone/scores"].reshape(-1, len(names))[:, names.index(figure)]


def test_diff_of_each_edit_alone(reference, stronger, names):
    told = diff(reference, stronger, "--alone")
    assert (told["edits"], diff(reference, stronger)["edits"]) == ("alone", "joint")
    differences = []
    for c, item in enumerate(told["concepts"]):
        figures = item["figures"]
        a, b = (own_accuracy(run, c, "alone") for run in (reference, stronger))
        differences.append((b - a).mean())
        assert figures["own_accuracy"]["paired"] and figures["own_accuracy"]["n"] == len(a)
        assert figures["own_accuracy"]["difference"][0] == pytest.approx((b - a).mean())
        # Made of stored answers, it is what the run made of them.
        for name in ("efficacy", "similar_left", "own_open_accuracy"):
            if "difference" in figures.get(name, {}):
                assert figures[name]["paired"] and figures[name]["difference"][0] == pytest.approx(
                    stored_alone(stronger, name)[c] - stored_alone(reference, name)[c])
        for name in ("general_margin", "coherence", "specificity"):
            assert not figures.get(name, {}).get("paired", False)
        assert "relearned" not in figures
    edited = [c for c, item in enumerate(told["concepts"]) if item["status"] == ["ok", "ok"]]
    assert told["overall"]["concepts"] == len(edited) > 0
    overall = told["overall"]["figures"]
    each = np.array(differences)[edited]
    assert overall["own_accuracy"]["difference"][0] == pytest.approx(each.mean())
    signs = np.array(list(itertools.product([-1, 1], repeat=len(each))))
    assert overall["own_accuracy"]["p"] == pytest.approx((abs(signs @ each) >= abs(each.sum()) - 1e-12).mean())
    # General questions: concepts are drawn, and they are not; three concepts are too few to say more.
    each = (stored_alone(stronger, "general_margin") - stored_alone(reference, "general_margin"))[edited]
    value, low, high = overall["general_margin"]["difference"]
    assert value == pytest.approx(each.mean())
    assert each.min() - 1e-9 <= low <= value + 1e-9 and value - 1e-9 <= high <= each.max() + 1e-9
    assert overall["general_margin"]["p"] is None and not overall["general_margin"]["moved"]
    not_resampled = told["overall"]["not_resampled"]
    assert {"general_margin", "specificity"} <= set(not_resampled) and "own_accuracy" not in not_resampled
    assert diff(reference, stronger)["overall"]["not_resampled"] == []
    text = call([QUENCH, "diff", reference, stronger, "--alone"]).stdout
    for part in ("each concept's edit alone, test questions", "concepts are resampled, they are not", *names):
        assert part in text
    assert "relearned" not in text and "general questions and instructions is not stored" not in \
        call([QUENCH, "diff", reference, stronger]).stdout
    same = diff(reference, reference, "--alone")
    assert same["moved"] == 0 and all(figure["difference"] == [0, 0, 0] for figure in same["overall"]["figures"].values())


def test_diff_alone_needs_edits_evaluated_alone(reference, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for file in ("corpus.h5", "baseline.h5", "edits.h5", "evaluation.h5"):
        shutil.copy(reference / file, run)
    manifest = json.loads((reference / "manifest.json").read_text())
    manifest["configuration"]["evaluation.alone"] = "false"
    (run / "manifest.json").write_text(json.dumps(manifest))
    done = call([QUENCH, "diff", reference, run, "--alone"])
    assert done.returncode == USAGE and f"{run}: no edit was evaluated alone" in done.stderr
    assert "--set evaluation.alone=true" in done.stderr and f"{reference}: " not in done.stderr
    assert call([QUENCH, "diff", reference, run]).returncode == DONE


def test_diff_of_a_run_with_itself(reference, names):
    told = diff(reference, reference)
    assert told["configuration"] == told["inputs"] == [] and told["moved"] == 0 < told["compared"]
    figures = [figure for item in told["concepts"] for figure in item["figures"].values()] + \
        list(told["overall"]["figures"].values())
    assert all(figure["difference"] == [0, 0, 0] for figure in figures if figure.get("paired"))
    assert all(figure.get("paired", True) for figure in figures)
    assert sum("relearned" in item["figures"] for item in told["concepts"]) == 2
    text = call([QUENCH, "diff", reference, reference]).stdout
    for part in ("configuration: the same", "inputs: the same", "0 of ", *names):
        assert part in text
    # Lines of a table are of one width, but for what stands behind the last column.
    table = [line for line in text.splitlines() if line.startswith(tuple(names))]
    assert len({len(line) for line in table}) == 1


def test_diff_of_other_concepts_questions_and_rules(base, config, reference, names, tmp_path):
    catalog = tmp_path / "catalog"
    shutil.copytree(base / "catalog", catalog)
    records = lines(catalog / "concepts.jsonl")
    records[1]["questions"]["concept"]["test"].pop()  # one question less
    records[2]["name"] = "Another"
    write_lines(catalog / "concepts.jsonl", records)
    run = tmp_path / "run"
    done = launch.run(config, run, *SHORT, *settings(f"run.catalog={catalog}", "evaluation.objective=accuracy",
                                                                "evaluation.instruction_tokens=3", "corpus.letter=false"))  # still the same choices
    assert done.returncode == DONE, done.stderr
    told = diff(reference, run)
    assert [item["key"] for item in told["inputs"]] == ["catalog/concepts"]
    assert (told["only_a"], told["only_b"]) == ([names[2]], ["Another"])
    same, changed = told["concepts"]
    assert "relearned" not in same["figures"] and "relearned" not in told["overall"]["figures"]  # one was not attacked
    assert same["same_record"] and not changed["same_record"]
    assert same["figures"]["own_accuracy"]["paired"] and not changed["figures"]["own_accuracy"]["paired"]
    a, b, difference = (changed["figures"]["own_margin"][key] for key in ("a", "b", "difference"))
    assert difference[0] == pytest.approx(b[0] - a[0])
    assert difference[1] == pytest.approx(difference[0] - np.hypot(b[0] - b[1], a[2] - a[0]))
    # Efficacy by margin and efficacy by accuracy are two things.
    assert not told["same_rules"] and "difference" not in same["figures"]["efficacy"]
    # Of answers of other lengths nothing is compared, of margins everything.
    overall = told["overall"]["figures"]
    assert not told["same_answers"] and "difference" not in overall["coherence"]
    assert "difference" in overall["general_margin"]
    text = call([QUENCH, "diff", reference, run]).stdout
    for part in ("only in A: " + names[2], "only in B: Another", names[1] + " (changed)", "not compared",
                 "answers are of other lengths"):
        assert part in text


def test_diff_says_what_cannot_be_compared(reference, tmp_path):
    unfinished, older, nothing = (tmp_path / name for name in ("unfinished", "older", "nothing"))
    for run in (unfinished, older):
        run.mkdir()
        for file in ("manifest.json", "corpus.h5", "baseline.h5", "edits.h5"):
            shutil.copy(reference / file, run)
    shutil.copy(reference / "dictionary.h5", older / "evaluation.h5")
    done = call([QUENCH, "diff", unfinished, older])
    assert done.returncode == USAGE
    assert f"{unfinished}: stage evaluation is not complete (no evaluation.h5)" in done.stderr
    assert f"{older / 'evaluation.h5'}: " in done.stderr
    done = call([QUENCH, "diff", nothing, tmp_path])
    assert done.returncode == USAGE
    assert f"{nothing}: holds no run" in done.stderr and f"{tmp_path}: holds no run" in done.stderr
    (tmp_path / "manifest.json").write_text('{"run_id": "x"}')
    done = call([QUENCH, "diff", reference, tmp_path])
    assert done.returncode == USAGE and "configuration is no object" in done.stderr
    assert call([QUENCH, "diff", reference]).returncode == USAGE
    assert call([QUENCH, "diff", reference, reference, "--resamples", "1"]).returncode == USAGE


def page(run):
    html = (run / "report" / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])


def rows(run):
    with open(run / "report" / "examples.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shown(run):
    """Which concepts' answers the report has; all of its files must agree."""
    names = set()
    for concept in page(run)["concepts"]:
        answers = [example.keys() & {"base", "erased", "accepted"} for example in concept["examples"]]
        assert len(answers) == 6 and all(keys == answers[0] for keys in answers)  # 3 own, 3 similar
        assert bool(answers[0]) != concept["hidden"]
        if answers[0]:
            names.add(concept["name"])
    for row in rows(run):
        if row["subset"] != "instruction":
            assert (row["concept"] in names) == (row["hidden"] == "false")
            assert row["hidden"] == "false" or not (row["accepted"] or row["untouched"] or row["erased"])
    return names


def mark(catalog, which, value):
    records = lines(catalog / "concepts.jsonl")
    records[which]["sensitive"] = value
    write_lines(catalog / "concepts.jsonl", records)


def test_answers_and_who_may_see_them(base, config, names, tmp_path):
    catalog, run = tmp_path / "catalog", tmp_path / "run"
    shutil.copytree(base / "catalog", catalog)
    mark(catalog, 1, True)
    again = [config, run, *SHORT, *settings(f"run.catalog={catalog}")]
    assert launch.run(*again).returncode == DONE
    assert shown(run) == {names[0], names[2]}
    # Another mark is not another run; a report alone sees it too.
    stages = {file: (run / file).stat().st_mtime_ns for file in ("corpus.h5", "evaluation.h5")}
    mark(catalog, 1, False)
    mark(catalog, 2, True)
    assert call([QUENCH, "report", run]).returncode == DONE
    assert shown(run) == {names[0]}  # 1 was marked when the run began, 2 is now
    done = launch.run(*again)
    assert done.returncode == DONE, done.stderr
    assert shown(run) == {names[0], names[1]}
    assert stages == {file: (run / file).stat().st_mtime_ns for file in stages}
    # All, none, and what is neither.
    assert call([QUENCH, "report", run, "--redact", "none"]).returncode == DONE
    assert shown(run) == set(names)
    answers = {text for row in rows(run) for text in (row["untouched"], row["erased"]) if len(text) > 12}
    assert launch.run(*again, *settings("report.redact=all")).returncode == DONE
    assert shown(run) == set() and len(answers) > 10
    for file in (run / "report").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not [answer for answer in answers if answer in text], file
    done = call([QUENCH, "report", run, "--redact", "some"])
    assert done.returncode == USAGE and "report.redact" in done.stderr
    # The catalog is broken: nobody knows what it marks.
    (catalog / "concepts.jsonl").write_text("{}\n")
    assert call([QUENCH, "report", run, "--redact", "sensitive"]).returncode == DONE
    assert shown(run) == set()
    shutil.rmtree(catalog)  # gone: what the run saw of it holds
    assert call([QUENCH, "report", run, "--redact", "sensitive"]).returncode == DONE
    assert shown(run) == {names[0], names[1]}
