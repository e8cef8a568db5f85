"""What people take from a finished run: a patch."""
import hashlib
import json
import shutil

import pytest
import numpy as np
from safetensors import safe_open

from launch import DONE, QUENCH, USAGE, call
from stores import contents


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def names(base):
    return [record["name"] for record in lines(base / "catalog" / "concepts.jsonl")]


def test_a_patch_holds_the_edits_alone(base, reference, names, tmp_path):
    patch = tmp_path / "one.safetensors"
    gated, edited = names[0], names[2]
    done = call([QUENCH, "export", reference, "--concepts", gated, edited, "--patch", patch, "--to", tmp_path / "whole"])
    assert done.returncode == DONE and f"no edit of {gated} (gated)\n" in done.stderr, done.stderr
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
    assert json.loads(about["concepts"]) == [gated, edited] and json.loads(about["base_model"]) == manifest["inputs"]
    assert float(about["joint_factor"]) == edits["/@joint_factor"]


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
