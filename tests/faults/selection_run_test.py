"""Selections that wait for a judge's answers, are answered on the spot, or are written by a person; and what `inspect` says."""
import csv
import json
import re
import shutil

import numpy as np
import pytest

import launch
from launch import DONE, QUENCH, USAGE, settings
from stores import contents

WAITING = 10
SHORT = settings("relearning.enabled=false", "run.export_to=none", "activations.layers=")
JUDGE = [*SHORT, *settings("selection.method=judge", "selection.ratio=0.5", "judge.name=some-model")]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answer(request, content):
    return {"id": "x", "custom_id": request["custom_id"], "error": None,
            "response": {"status_code": 200, "body": {"choices": [{"message": {"role": "assistant", "content": content}}]}}}


def write(path, records):
    path.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records))


def feature_of(request):
    return int(request["custom_id"].split("-")[2])


def wait_for(config, run, ranks, *more):
    done = launch.run(config, run, *JUDGE, *more, ranks=ranks)
    assert done.returncode == WAITING, done.stderr
    return done.stderr


YES = '{"is_member": true, "confidence": 0.9}'


def is_membership(request):
    return request["custom_id"].startswith("membership-")


@pytest.mark.parametrize("ranks", [0, 2])
def test_both_questions_at_once(config, tmp_path, ranks):
    run, judge = tmp_path / "run", tmp_path / "run" / "judge"
    assert "features.answers.jsonl" in wait_for(config, run, ranks)
    requests = lines(judge / "features.jsonl")
    asked = [request for request in requests if is_membership(request)]
    assert {feature_of(request) for request in asked} == {feature_of(request) for request in requests}
    assert len(requests) == 2 * len(asked)
    assert all("\nTokens: [" in request["body"]["messages"][0]["content"] for request in requests)
    # Errors alone are no answers: the run goes on waiting.
    failed = {"response": None, "error": {"code": 429, "message": "too many requests"}}
    write(judge / "features.answers.jsonl", [json.dumps({"custom_id": request["custom_id"], **failed}) for request in requests])
    assert "answers none of the questions" in wait_for(config, run, ranks)
    # An error beside answers is a missing value, and asked again with the next questions.
    write(judge / "features.answers.jsonl",
          [json.dumps({"custom_id": asked[0]["custom_id"], **failed})]
          + [answer(request, YES if is_membership(request) else "Things.") for request in requests if request is not asked[0]])
    done = launch.run(config, run, *JUDGE, ranks=ranks)
    assert done.returncode == DONE and "1 features have no answer of the judge" in done.stderr
    states = contents(run / "selection.h5")["features/judged"]
    assert (states == 3).sum() == 1 and (states == 1).sum() == len(asked) - 1
    # Other candidates: what was answered is not asked again, the one without an answer is, and so are the new ones.
    every = [*settings("selection.judge_candidates=all"), "--accept-changes"]
    wait_for(config, run, ranks, *every)
    more = lines(judge / "features.jsonl")
    answered = {request["custom_id"] for request in requests} - {asked[0]["custom_id"]}
    assert not answered & {request["custom_id"] for request in more}
    assert asked[0]["custom_id"] in {request["custom_id"] for request in more}
    write(judge / "features.answers.jsonl",
          [answer(request, YES if is_membership(request) else "Things.") for request in more])
    done = launch.run(config, run, *JUDGE, *every, ranks=ranks)
    assert done.returncode == DONE and "have no answer" not in done.stderr
    selection = contents(run / "selection.h5")
    assert (selection["features/judged"] == 1).sum() == len(asked) + sum(map(is_membership, more)) - 1
    # And back: nothing is left to ask.
    assert launch.run(config, run, *JUDGE, "--accept-changes", ranks=ranks).returncode == DONE
    assert (contents(run / "selection.h5")["features/judged"] == 1).sum() == len(asked)


@pytest.mark.parametrize("ranks", [0, 3])
def test_two_rounds_of_answers(config, tmp_path, ranks):
    run, judge, twice = tmp_path / "run", tmp_path / "run" / "judge", settings("selection.judge_rounds=2")
    said = wait_for(config, run, ranks, *twice)
    assert "describe.answers.jsonl" in said and "the same command again" in said
    assert json.loads((run / "manifest.json").read_text())["outcome"].startswith("waiting: ")
    describe = lines(judge / "describe.jsonl")
    assert describe[0]["body"]["model"] == "some-model"
    # One answer is missing, one is empty, one line is broken.
    write(judge / "describe.answers.jsonl",
          ["broken", answer(describe[1], " ")] + [answer(request, "Things.") for request in describe[2:]])
    assert "membership.answers.jsonl" in wait_for(config, run, ranks, *twice)
    membership = lines(judge / "membership.jsonl")
    assert len(membership) == len(describe) - 2
    assert "Description: Things." in membership[0]["body"]["messages"][0]["content"]
    # Answers to other questions do not count as answers.
    write(judge / "membership.answers.jsonl", [answer({"custom_id": "membership-of-old"}, "{}")])
    assert "answers none of the questions" in wait_for(config, run, ranks, *twice)
    write(judge / "membership.answers.jsonl",
          [answer(membership[0], YES), answer(membership[1], '{"is_member": false, "confidence": 0.9}'),
           answer(membership[2], "perhaps")] + [answer(request, YES) for request in membership[3:]])
    done = launch.run(config, run, *JUDGE, *twice, ranks=ranks)
    assert done.returncode == DONE, done.stderr
    assert "3 features have no answer of the judge" in done.stderr
    selection = contents(run / "selection.h5")
    states = selection["features/judged"]
    assert (states == 3).sum() == 3 and (states == 2).sum() == 1
    assert (states == 1).sum() == len(describe) - 4
    assert (selection["features/selected"] == (states == 1)).all()
    # Complete, it stays so; other answers are another selection.
    again = launch.run(config, run, *JUDGE, *twice, ranks=ranks)
    assert again.returncode == DONE and contents(run / "selection.h5").keys() == selection.keys()
    write(judge / "membership.answers.jsonl", [answer(membership[0], YES)])
    assert launch.run(config, run, *JUDGE, *twice, ranks=ranks).returncode == DONE
    assert contents(run / "selection.h5")["features/selected"].sum() == 1


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_local_model_answers(base, config, tmp_path, ranks):
    run = tmp_path / "run"
    local = [*JUDGE, *settings(f"judge.model={base}/model")]
    done = launch.run(config, run, *local, ranks=ranks)
    assert done.returncode == DONE, done.stderr
    requests = [line["custom_id"] for line in lines(run / "judge" / "features.jsonl")]
    assert [line["custom_id"] for line in lines(run / "judge" / "features.answers.jsonl")] == requests
    answers = (run / "judge" / "features.answers.jsonl").read_text()
    other = tmp_path / "other"
    assert launch.run(config, other, *local, ranks=2).returncode == DONE
    assert (other / "judge" / "features.answers.jsonl").read_text() == answers


@pytest.mark.parametrize("scope", ["catalog", "vocabulary"])
def test_one_dictionary_for_all_concepts(config, tmp_path, scope):
    """Rows over the ranks, features assigned to concepts by selection, and on to the end."""
    run = tmp_path / "run"
    done = launch.run(config, run, *SHORT, *settings(f"dictionary.scope={scope}"), ranks=2)
    assert done.returncode == DONE, done.stderr
    selection = contents(run / "selection.h5")
    assert len(contents(run / "dictionary.h5")["dictionaries/ridge"]) == 1
    assert selection["features/selected"].sum() > 0 and len(selection["tokens/ids/values"]) > 0
    alone = tmp_path / "alone"
    assert launch.run(config, alone, *SHORT, *settings(f"dictionary.scope={scope}"), ranks=0).returncode == DONE
    assert (contents(alone / "selection.h5")["tokens/ids/values"] == selection["tokens/ids/values"]).all()


def figures(run, concept, name):
    """By the judge: of the base model, and of the joint one."""
    with open(run / "report" / "concepts.csv", encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[concept]
    return row[f"by_judge_base_{name}"], row[f"by_judge_{name}"]


def test_answers_are_judged(base, config, tmp_path):
    run, folder = tmp_path / "run", tmp_path / "run" / "judge"
    judged = [*SHORT, *settings("evaluation.judge=file", "judge.name=some-model")]
    done = launch.run(config, run, *judged, ranks=2)
    assert done.returncode == WAITING, done.stderr
    assert "vllm run-batch" in done.stderr and "evaluation-" in done.stderr
    assert (run / "report" / "index.html").exists() and not (run / "judgement.h5").exists()
    asked, = folder.glob("evaluation-????????.jsonl")
    requests, answers = lines(asked), asked.with_suffix(".answers.jsonl")
    assert {request["body"]["model"] for request in requests} == {"some-model"}
    # All is right and fluent that is not empty; the first answer, to an open question, is none.
    write(answers, [answer(requests[0], "I cannot say.")] +
          [answer(request, "So it is.\nCorrect: 1\nRating: [[2]]") for request in requests[1:]])
    done = launch.run(config, run, *judged, ranks=3)
    assert done.returncode == DONE, done.stderr
    assert re.search("[12] without a verdict", done.stderr), done.stderr  # 2: both models gave that answer
    verdicts = contents(run / "judgement.h5")
    assert len(verdicts["joint/scores"]) == 3 and len(verdicts["joint/mean"]) == 1
    said = verdicts["items/joint"][verdicts["items/question"] == 2]
    assert set(said[~np.isnan(said)]) == {2.0}
    assert [float(x) for x in figures(run, 0, "general_fluency")] == [2, 2]
    # A model of this machine answers in the same file.
    local = launch.run(config, run, *judged, *settings(f"judge.model={base}/model"), "--accept-changes", ranks=2)
    assert local.returncode == DONE, local.stderr
    ids = [line["custom_id"] for line in lines(asked)]
    assert [line["custom_id"] for line in lines(answers)] == ids
    # Another judge is asked anew.
    assert len(ids) == len(requests) and not {request["custom_id"] for request in requests} & set(ids)


def test_a_person_decides(base, config, tmp_path):
    names = [record["name"] for record in lines(base / "catalog" / "concepts.jsonl")]
    chosen = tmp_path / "chosen.jsonl"
    manual = [*SHORT, *settings("selection.method=manual", f"selection.manual={chosen}")]
    write(chosen, [{"concept": "Nobody", "features": [1]}, {"concept": names[0], "features": [8], "token": []}])
    done = launch.run(config, tmp_path / "run", *manual, ranks=2)
    assert done.returncode == USAGE
    for part in ("line 1, field concept", "line 2, field features: 8 is no id", "line 2, field token: unknown field"):
        assert part in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
    write(chosen, [{"concept": names[1], "features": [2, 5]}])
    done = launch.run(config, tmp_path / "run", *manual, ranks=2)
    assert done.returncode == DONE, done.stderr
    assert contents(tmp_path / "run" / "selection.h5")["features/selected"].nonzero()[0].tolist() == [8 + 2, 8 + 5]
    assert inspect(tmp_path / "run", names[0])["edit"]["status"] == "no_features"


def inspect(run, concept):
    done = launch.call([QUENCH, "inspect", run, "--concept", concept, "--json"])
    assert done.returncode == DONE, done.stderr
    return json.loads(done.stdout)


def test_inspect_agrees_with_the_files(base, reference):
    name = lines(base / "catalog" / "concepts.jsonl")[0]["name"]
    told = inspect(reference, name)
    selection, edits = contents(reference / "selection.h5"), contents(reference / "edits.h5")
    assert [f["selected"] for f in told["selection"]["features"]] == selection["features/selected"][:8].astype(bool).tolist()
    tokens = {token["id"]: token for token in told["selection"]["tokens"] + told["selection"]["variants"]}
    count = edits["edits/tokens/offsets"][1]
    ids = edits["edits/tokens/values"][:count].tolist()
    assert sorted(tokens) == ids
    rows = edits["edits/values/values"][:edits["edits/values/offsets"][1]].reshape(count, -1)
    for token, row, norm in zip(ids, rows, edits["edits/row_norms/values"]):
        share = told["edit"]["strength"] * (row.astype(float) ** 2).sum() ** 0.5 / norm
        assert tokens[token]["share_of_row"] == pytest.approx(share, rel=1e-5)
    for feature in told["selection"]["features"]:
        assert (">= 0.2" if feature["selected"] else "< 0.2") in feature["why"]
    text = launch.call([QUENCH, "inspect", reference, "--concept", name]).stdout
    for part in ("features:", "variants:", "near misses:", "status "):
        assert part in text


def test_a_concept_alone(config, base, tmp_path):
    name = lines(base / "catalog" / "concepts.jsonl")[0]["name"]
    done = launch.run(config, tmp_path / "run", *SHORT, *settings(f"corpus.concepts={name}"))
    assert done.returncode == DONE, done.stderr
    assert "general word frequencies took their place" in done.stderr
    told = inspect(tmp_path / "run", name)
    assert told["selection"]["alone"]
    # Words that a table knows as common are nobody's own.
    words = {token["text"].strip() for token in told["selection"]["tokens"] if token["text"].startswith(" ")}
    words = {word for word in words if word.isalpha()}
    assert words
    table = tmp_path / "words.tsv"
    table.write_text("".join(f"{word}\t900000\n" for word in words))
    shutil.rmtree(tmp_path / "run")
    done = launch.run(config, tmp_path / "run", *SHORT, *settings(f"corpus.concepts={name}", f"selection.frequencies={table}"))
    assert done.returncode == DONE, done.stderr
    left = {token["text"] for token in inspect(tmp_path / "run", name)["selection"]["tokens"]}
    assert left.isdisjoint({" " + word for word in words})
