"""Wrong inputs and full disks end with code 64 and one message that names the place; nothing half-written counts as done."""
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

import launch
import tiny_run
from launch import DONE, USAGE, settings
from stores import STAGE_FILES, assert_same, is_complete, leftovers


def refused(done, *parts):
    """Code 64, and one message with all these parts."""
    assert done.returncode == USAGE, f"{done.returncode}\n{done.stderr}"
    ours = [line for line in done.stderr.splitlines() if line.startswith("quench: ")]
    assert len(ours) == 1, done.stderr
    for part in parts:
        assert str(part) in done.stderr, done.stderr
    assert "internal error" not in done.stderr and "terminate called" not in done.stderr


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def model(base, tmp_path):
    """A copy of the model, to be damaged."""
    return shutil.copytree(base / "model", tmp_path / "model")


@pytest.fixture
def catalog(base, tmp_path):
    return shutil.copytree(base / "catalog", tmp_path / "catalog")


@pytest.mark.parametrize("setting, parts", [
    ("dictionary.rnak=5", ["dictionary.rnak", "dictionary.rank"]),
    ("dictionary.rank=0", ["dictionary.rank", "'0'", "1 to 65536"]),
    ("dictionary.rank=ten", ["dictionary.rank", "'ten'", "whole number"]),
    ("erasure.shared_tokens=some", ["erasure.shared_tokens", "'some'", "strongest"]),
    ("corpus.concepts=Gulf", ["Gulf", "Golf"]),
    ("relearning.concepts=Tennis", ["relearning.concepts", "Tennis"]),
    ("activations.layers=0-3", ["activations.layers", "'0-3'", "layers 0 to 2"]),
    ("evaluation.form=letter", ["corpus.train_forms", "lacks letter", "evaluation.objective"]),
    ("corpus.train_forms=choice,lettr", ["corpus.train_forms", "'lettr'"]),
    ("evaluation.form=open", ["corpus.train_forms", "lacks open", "lacks letter"]),
    ("run.device=gpu", ["run.device", "'gpu'", "auto | cpu | cuda"]),
    ("run.model=/nowhere/model", ["run.model", "/nowhere/model"]),
    ("run.catalog=/nowhere/catalog", ["run.catalog", "/nowhere/catalog"]),
    ("run.model=", ["run.model", "missing"]),
])
@pytest.mark.parametrize("ranks", [0, 2])
def test_setting(config, run, setting, parts, ranks):
    refused(launch.run(config, run, *settings(setting), ranks=ranks), *parts)
    assert not run.exists()


def write_initial(file, tokens, rank=6, seed=7, kind=np.float32):
    with h5py.File(file, "w") as store:  # as docs/file-formats.md says
        store.attrs.update(stage=np.bytes_("initial"), schema_version=1, run_id=np.bytes_("-"), inputs_hash=np.bytes_("-"),
                           complete=1)
        store["tokens"] = np.arange(tokens, dtype=np.int32)
        store["coefficients"] = np.random.default_rng(seed).standard_normal((tokens, rank), dtype=np.float32).astype(kind)


def test_initial_coefficients_from_a_file(base, config, run, tmp_path):
    file, vocab = tmp_path / "initial.h5", json.loads((base / "model/config.json").read_text())["vocab_size"]
    options = settings("dictionary.init=file", f"dictionary.init_file={file}", "dictionary.rank=6")

    refused(launch.run(config, run, *settings("dictionary.init=file")), "dictionary.init_file", "missing")
    refused(launch.run(config, run, *options), "dictionary.init_file", file)
    write_initial(file, vocab, kind=np.float64)
    refused(launch.run(config, run, *options), "dictionary.init_file", file, "float64")
    write_initial(file, vocab, rank=5)
    refused(launch.run(config, run, *options), "dictionary.init_file", file, f"{vocab} x 6")
    assert not run.exists()
    write_initial(file, vocab)
    assert launch.run(config, run, *options, ranks=2).returncode == DONE
    write_initial(file, 20)
    refused(launch.run(config, run, *options), "dictionary/initial")  # changed since
    refused(launch.run(config, tmp_path / "other", *options), file, "no coefficients for")


def test_factorisations_of_other_initial_coefficients_are_made_again(base, config, run, tmp_path):
    file, vocab = tmp_path / "initial.h5", json.loads((base / "model/config.json").read_text())["vocab_size"]
    options = settings("dictionary.init=file", f"dictionary.init_file={file}", "dictionary.rank=6", "relearning.enabled=false")
    write_initial(file, vocab)
    assert launch.run(config, run, *options, fault="dictionary:1:KILL").returncode != DONE
    write_initial(file, vocab, seed=8)
    refused(launch.run(config, run, *options), "dictionary/initial")
    assert launch.run(config, run, *options, "--accept-changes").returncode == DONE
    assert launch.run(config, tmp_path / "fresh", *options).returncode == DONE
    with h5py.File(run / "dictionary.h5") as actual, h5py.File(tmp_path / "fresh/dictionary.h5") as expected:
        assert np.array_equal(actual["dictionaries/objective/values"], expected["dictionaries/objective/values"])


@pytest.mark.parametrize("words, place", [(["--gflops", "0"], "--gflops"), (["--gflops", "nan"], "--gflops"), (["--ranks", "-3"], "--ranks")])
def test_plan_refuses_numbers_that_mean_nothing(config, run, words, place):
    refused(launch.call([tiny_run.QUENCH, "plan", "-c", config, "--set", f"run.directory={run}", *words]), place)


def test_plan_checks_as_a_run_does(config, run, tmp_path):
    manual = tmp_path / "manual.jsonl"
    manual.write_text('{"concept": "nobody", "tokens": [1]}\n')
    for key, value, problem in (("relearning.concepts", "nothing", "'nothing' is not among the run's"),
                                ("selection.manual", manual, "'nobody' is not among the run's")):
        options = settings(f"run.directory={run}", "selection.method=" + ("manual" if value == manual else "contrast"), f"{key}={value}")
        for command in ("plan", "run"):
            refused(launch.call([tiny_run.QUENCH, command, "-c", config, *options]), key, problem)


def test_plan_counts_the_activations_factorised(config, run):
    def plan(*assignments):
        words = [tiny_run.QUENCH, "plan", "-c", config, *settings(f"run.directory={run}", *assignments), "--json"]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    off, on, every = plan("activations.layers="), plan(), plan("activations.layers=all")
    assert [p["activation_fits"] for p in (off, on, every)] == [0, 6, 9]
    assert off["rank_hours"] < on["rank_hours"] < every["rank_hours"]
    assert off["forward_tokens"] < on["forward_tokens"] == every["forward_tokens"]  # layer 2 is the last


def test_plan_of_gpus_has_their_forms_and_their_rate(config, run):
    def plan(*words):
        words = [tiny_run.QUENCH, "plan", "-c", config, "--set", f"run.directory={run}", "--set", "run.device=cuda", *words, "--json"]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    alone, joint = plan(), plan("--set", "dictionary.scope=vocabulary", "--ranks", "2")
    assert (alone["dictionary"]["form"], joint["dictionary"]["form"]) == ("batched", "device")
    assert alone["dictionary"]["bytes_sent_an_iteration"] == 0 < joint["dictionary"]["bytes_sent_an_iteration"]
    assert min(p["dictionary"]["bytes_a_rank"] for p in (alone, joint)) > 0
    assert alone["assumed_gflops_a_rank"] > 1000 > plan("--gflops", "500")["assumed_gflops_a_rank"] == 500


def test_plan_counts_what_a_cell_asks(config, run):
    def tokens(*assignments):
        words = [tiny_run.QUENCH, "plan", "-c", config, *settings(f"run.directory={run}", "activations.layers=", *assignments), "--json"]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["forward_tokens"]

    # Answers to instructions are made in each cell: their length weighs as often as there are cells.
    def weight(*assignments):
        return tokens("evaluation.instruction_tokens=30", *assignments) - tokens("evaluation.instruction_tokens=20", *assignments)

    one, three = (["erasure.search=grid", f"erasure.strengths={strengths}"] for strengths in ("1", "1,2,3"))
    assert weight(*three) > weight(*one) > weight(*one, "evaluation.alone=false") > 0
    assert tokens(*one) > tokens(*one, "evaluation.curve=false")


def test_activations_of_an_earlier_configuration_are_removed(config, reference, run):
    shutil.copytree(reference, run)
    done = launch.run(config, run, *settings("activations.layers="), "--accept-changes")
    assert done.returncode == DONE, done.stderr
    assert "selection: kept" in done.stderr and not (run / "activations.h5").exists()


@pytest.mark.parametrize("text", ["{}", "[]", "null", "{", '{"run_id": 5, "configuration": {}, "inputs": {}, "starts": []}',
                                  '{"run_id": "a", "configuration": 5, "inputs": {}, "starts": []}',
                                  '{"run_id": "a", "configuration": {}, "inputs": {}, "starts": [], "outcome": 5}',
                                  '{"run_id": "a", "configuration": {}, "inputs": {}, "starts": [], "sensitive": 5}'])
def test_damaged_manifest(config, reference, run, text):
    shutil.copytree(reference, run)
    (run / "manifest.json").write_text(text)
    refused(launch.run(config, run), run / "manifest.json")
    refused(launch.call([tiny_run.QUENCH, "status", run]), run / "manifest.json")
    assert launch.call([tiny_run.QUENCH, "report", run]).returncode == DONE  # of what is there all the same


def test_damaged_timings_begin_anew(config, reference, run):
    shutil.copytree(reference, run)
    (run / "timings.json").write_text("{")
    assert launch.run(config, run).returncode == DONE
    assert any(row["name"] == "stage/all" for row in json.loads((run / "timings.json").read_text()))


def test_two_runs_in_one_directory(config, reference, run):
    shutil.copytree(reference, run)
    with open(run / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(launch.run(config, run), run, "another run")
    assert launch.run(config, run).returncode == DONE


def test_links_that_lead_nowhere(config, model, run, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refused(launch.run(config, run, *settings(f"run.model={loop}", f"run.catalog={loop}")), loop)
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        file = model / name
        kept = file.read_bytes() if file.exists() else None
        file.unlink(missing_ok=True)
        file.symlink_to(file)
        refused(launch.run(config, run, *settings(f"run.model={model}"), ranks=2), name)
        file.unlink()
        if kept is not None:
            file.write_bytes(kept)


def test_standard_input_that_cannot_be_read(model):
    source = os.open("/", os.O_RDONLY)
    done = subprocess.run([tiny_run.QUENCH, "tokenize", "--model", model], stdin=source, capture_output=True, text=True)
    os.close(source)
    refused(done, "standard input: cannot be read")


def test_standard_output_that_cannot_be_written(reference):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([tiny_run.QUENCH, "status", reference], stdout=full, stderr=subprocess.PIPE, text=True)
    refused(done, "standard output")


def test_chat_templates(config, model, run):
    def start(style):
        return launch.run(config, run, *settings(f"run.model={model}", f"corpus.prompt_style={style}"))

    template = model / "chat_template.jinja"
    template.write_text("[INST] {{ messages }} [/INST]")
    refused(start("chat"), "corpus.prompt_style", template)
    done = start("auto")
    assert done.returncode == DONE and str(template) in done.stderr, done.stderr
    template.write_text("[INST] {{ messages }} [/INST] ")
    refused(start("auto"), "model/chat_template.jinja")


def test_several_problems_are_told_at_once(config, run):
    done = launch.run(config, run, *settings("run.model=/nowhere/model", "run.catalog=/nowhere/catalog"))
    refused(done, "/nowhere/model", "/nowhere/catalog")


def test_configuration_file(config, run, tmp_path):
    refused(launch.run(tmp_path / "none.cfg", run), tmp_path / "none.cfg")
    broken = tmp_path / "broken.cfg"
    broken.write_text("[dictionary]\nrnak = 5\nrank = many\n", encoding="utf-8")
    refused(launch.run(broken, run), broken, "dictionary.rank", "'many'", "dictionary.rnak")
    broken.write_text("[dictionary]\nrank = 5\n[selection]\nz = 2\n[dictionary]\nrank = 6\n", encoding="utf-8")
    refused(launch.run(broken, run), broken, "dictionary.rank: given twice")
    broken.write_text("[run]\nmodel = /data/m#1  # a comment\n[corpus]\nconcepts = Golf # another\n", encoding="utf-8")
    refused(launch.run(broken, run), f"{broken}:2", "m#", "--set")


def test_group_size_that_does_not_divide_the_ranks(config, run):
    refused(launch.run(config, run, *settings("run.group_size=2"), ranks=3), "group_size = 2", "3 ranks")


def test_wrong_words(config, run):
    refused(launch.run(config, run, "--nonsense", ranks=3), "nonsense")


@pytest.mark.parametrize("ranks", [0, 2])
def test_device_that_is_not_there(config, run, ranks):
    version = launch.call([tiny_run.QUENCH, "--version"]).stdout
    if "driver for" in version:
        pytest.skip("there may be a GPU for every rank")
    remedy = "run.device = cpu" if "CUDA" in version else "./setup.sh --cuda"
    refused(launch.run(config, run, *settings("run.device=cuda"), ranks=ranks), "run.device = cuda", remedy)
    assert not run.exists()


def edit_json(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")


def unsupported(model):
    edit_json(model / "config.json", architectures=["GPTNeoXForCausalLM"], model_type="gpt_neox")
    return ["GPTNeoXForCausalLM", "LlamaForCausalLM", "Gemma2ForCausalLM"]


def truncated_weights(model):
    file = model / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    return [file]


def truncated_header(model):
    os.truncate(model / "model.safetensors", 100)
    return [model / "model.safetensors", "header"]


def no_weights(model):
    (model / "model.safetensors").unlink()
    return [model]


def pickled_weights(model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    return [model, "safetensors"]


def broken_tokenizer(model):
    text = (model / "tokenizer.json").read_bytes()
    (model / "tokenizer.json").write_bytes(text[:len(text) // 2])
    return [model / "tokenizer.json", "byte"]


def no_tokenizer(model):
    (model / "tokenizer.json").unlink()
    return [model / "tokenizer.json"]


def tokenizer_of_a_larger_model(model):
    shutil.rmtree(model)
    subprocess.run([sys.executable, tiny_run.ROOT / "tools" / "random_model.py", model, "--arch", "llama"], check=True)
    shutil.copy(tiny_run.TOKENIZER / "tokenizer.json", model)
    return [model / "tokenizer.json", "vocab_size is 512"]


def another_shape(model):
    edit_json(model / "config.json", intermediate_size=192)
    return ["mlp.gate_proj.weight", "config.json"]


def broken_config(model):
    (model / "config.json").write_text("{\"architectures\": [", encoding="utf-8")
    return [model / "config.json", "byte"]


def number_too_large(model):
    (model / "config.json").write_text("{\"rms_norm_eps\": 1e999}", encoding="utf-8")
    return [model / "config.json", "1e999"]


@pytest.mark.parametrize("damage", [unsupported, truncated_weights, truncated_header, no_weights, pickled_weights,
                                    broken_tokenizer, no_tokenizer, tokenizer_of_a_larger_model, another_shape,
                                    broken_config, number_too_large], ids=lambda damage: damage.__name__)
def test_model(config, run, model, damage):
    parts = damage(model)
    refused(launch.run(config, run, *settings(f"run.model={model}")), *parts)
    assert not run.exists()


def test_all_problems_of_a_catalog_are_told(config, run, catalog):
    concepts = tiny_run.read_lines(catalog / "concepts.jsonl")
    concepts[0]["questions"]["concept"]["test"][1]["answer"] = "none of them"
    concepts[1]["sentences"][2] = ""
    concepts[2]["sentnces"] = concepts[2].pop("sentences")
    tiny_run.write_lines(catalog / "concepts.jsonl", concepts)
    with open(catalog / "general.jsonl", "a", encoding="utf-8") as file:
        file.write("{not JSON\n")
    done = launch.run(config, run, *settings(f"run.catalog={catalog}"))
    refused(done, "concepts.jsonl:1: questions.concept.test[1].answer", "concepts.jsonl:2: sentences[2]",
            "sentnces", "general.jsonl:")


def test_a_concept_without_paragraphs_is_not_attacked(config, reference, run, catalog):
    def attacked(directory):
        with h5py.File(directory / "relearning.h5") as store:
            return sorted(set(store["attacks/concept"][:].tolist()))

    without = attacked(reference)[0]
    concepts = tiny_run.read_lines(catalog / "concepts.jsonl")
    concepts[without]["paragraphs"] = []
    tiny_run.write_lines(catalog / "concepts.jsonl", concepts)
    done = launch.run(config, run, *settings(f"run.catalog={catalog}"), ranks=2)
    assert done.returncode == DONE, done.stderr
    assert done.stderr.count(f"'{concepts[without]['name']}' has no paragraphs") == 1, done.stderr
    assert without not in attacked(run)


def test_changes_of_an_existing_run(config, reference, run, catalog):
    shutil.copytree(reference, run)
    done = launch.run(config, run, *settings("selection.contrast=0.3", "relearning.steps=3"))
    refused(done, run, "selection.contrast", "'0.2'", "'0.3'", "relearning.steps", "--accept-changes")
    concepts = tiny_run.read_lines(catalog / "concepts.jsonl")
    concepts[0]["sentences"][0] += " And so on."
    tiny_run.write_lines(catalog / "concepts.jsonl", concepts)
    refused(launch.run(config, run, *settings(f"run.catalog={catalog}")), run, "catalog/concepts")
    done = launch.run(config, run, *settings("relearning.steps=3"), "--accept-changes")
    assert done.returncode == DONE, done.stderr
    assert "evaluation: kept" in done.stderr and "relearning: begins" in done.stderr
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["starts"][-1]["changes_accepted"] is True
    assert manifest["configuration"]["relearning.steps"] == "3"


def test_places_and_machinery_may_change(config, reference, run):
    moved = shutil.copytree(reference, run)
    done = launch.run(config, moved, *settings("run.threads=2", "run.time_limit=60", "run.device=cpu"))
    assert done.returncode == DONE, done.stderr
    assert json.loads((moved / "manifest.json").read_text(encoding="utf-8"))["starts"][-1]["device"] == "cpu"
    assert_same(moved, reference)


def test_run_directory_is_a_file(config, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(launch.run(config, directory), directory)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_export_does_not_replace_what_is_not_an_export(config, reference, run, tmp_path):
    shutil.copytree(reference, run)
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine", encoding="utf-8")
    refused(launch.run(config, run, *settings(f"run.export_to={other}")), other)
    assert [path.name for path in other.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("ranks", [0, 2])
def test_places_that_cannot_be_used_are_told_at_the_start(config, run, model, tmp_path, ranks):
    before = sorted(model.iterdir())
    for directory in (model, model / "run"):
        refused(launch.run(config, directory, *settings(f"run.model={model}"), ranks=ranks), "run.directory", directory)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for target in (model, tmp_path / "file", tmp_path / "file" / "below"):
        refused(launch.run(config, run, *settings(f"run.model={model}", f"run.export_to={target}"), ranks=ranks),
                "run.export_to", target)
    assert not run.exists() and sorted(model.iterdir()) == before


@pytest.mark.skipif(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 64 << 30, reason="it would fit")
def test_more_memory_than_there_is(config, run):
    done = launch.run(config, run, *settings("dictionary.rank=65536"))  # K x K systems of 64 GiB
    refused(done, "iB of memory on a node", "iB are available")
    assert not run.exists()


# A limit on a file's size fails a write as a full disk does. Each limit lets the files of earlier stages through.
def run_with_file_limit(config, run, limit, ranks):
    words = launch.command(config, run, ranks=ranks)
    return launch.call(words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


@pytest.mark.parametrize("file", ["corpus.h5", "dictionary.h5", "activations.h5", "baseline.h5", "edits.h5", "evaluation.h5",
                                  "relearning.h5", "model/model.safetensors"])
def test_no_room_for_a_file(config, reference, run, file):
    before = list(STAGE_FILES.values()) + ["model/model.safetensors"]
    before = before[:before.index(file)]
    shutil.copytree(reference, run, ignore=lambda folder, names: [
        name for name in names if name == "model" or (name in STAGE_FILES.values() and name not in before)])
    done = run_with_file_limit(config, run, 12_000, 0)
    refused(done, run)
    assert not (run / file).exists()
    assert all(is_complete(run / name) for name in before)
    assert [name for name in leftovers(run) if name.endswith(".partial")] == []
    done = launch.run(config, run)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with little room; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "none", folder], capture_output=True).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("ranks", [0, 2])
def test_full_disk(config, reference, small_disk, ranks):
    run = small_disk / "run"
    done = launch.run(config, run, ranks=ranks)  # somewhere in the middle
    refused(done, run)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = launch.run(config, run, ranks=ranks)
    assert done.returncode == DONE, done.stderr
    assert_same(run, reference)
    assert leftovers(run) == []
