"""A tiny model, a catalog that it knows, and a configuration: a whole run takes a second or two.

The model's weights are random, so it knows nothing. But it prefers some option of every question, and the catalog is
written so that the preferred one is right: every stage then has something to do.
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUENCH = pathlib.Path(os.environ.get("QUENCH", ROOT / "build" / "release" / "pipeline" / "quench"))
TOKENIZER = pathlib.Path(os.environ.get("QUENCH_MODELS", ROOT / ".deps" / "models")) / "SmolLM2-135M-Instruct"
STARTER = ROOT / "configs" / "catalogs" / "starter"
CONCEPTS, QUESTIONS = 3, 6

CONFIGURATION = """\
[run]
model = {base}/model
catalog = {base}/catalog
threads = 1
[corpus]
prompt_style = plain
[dictionary]
rank = 8
max_iterations = 30
[activations]
layers = 0,2
rank = 4
max_iterations = 20
[selection]
contrast = 0.2
[erasure]
strengths = 1, 4
min_general = 0
min_specificity = 0
min_coherence = 0
joint_min_general = 0
joint_min_coherence = 0
[evaluation]
resamples = 200
open_tokens = 3
instruction_tokens = 4
[relearning]
max_concepts = 2
paragraphs = 4
max_length = 24
steps = 4
points = 2
seeds = 1
batch = 2
"""


def what_is_missing():
    """A message when the tests cannot run here, else None."""
    if not QUENCH.exists():
        return f"{QUENCH} is not built"
    if not (TOKENIZER / "tokenizer.json").exists():
        return f"no tokenizer in {TOKENIZER}: run tools/fetch_models.sh smollm2"
    return None


def make_inputs(base):
    """BASE/model, BASE/catalog and BASE/run.cfg."""
    make_model(base / "model")
    make_catalog(base / "catalog", base / "model")
    (base / "run.cfg").write_text(CONFIGURATION.format(base=base), encoding="utf-8")


def make_model(out):
    subprocess.run([sys.executable, ROOT / "tools" / "random_model.py", out, "--arch", "llama", "--hidden", "64",
                    "--layers", "3", "--tokenizer", TOKENIZER], check=True)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def make_catalog(out, model):
    concepts = read_lines(STARTER / "concepts.jsonl")[:CONCEPTS]
    for record in concepts:
        for group in record["questions"].values():
            for split in group:
                group[split] = group[split][:QUESTIONS]
        record["paragraphs"] = record["paragraphs"][:4]
    general = read_lines(STARTER / "general.jsonl")
    general = [q for split in ("train", "test") for q in general if q["split"] == split][::8]
    questions = general + [q for record in concepts for group in record["questions"].values()
                           for split in group.values() for q in split]
    take_preferred_answers(questions, model)
    out.mkdir()
    write_lines(out / "concepts.jsonl", concepts)
    write_lines(out / "general.jsonl", general)
    write_lines(out / "neutral.jsonl", read_lines(STARTER / "neutral.jsonl")[:40])
    write_lines(out / "instructions.jsonl", read_lines(STARTER / "instructions.jsonl")[::8])


def take_preferred_answers(questions, model):
    items = [{"context": f"Question: {question['question']}\nAnswer:", "continuation": " " + option}
             for question in questions for option in question["options"]]
    text = "".join(json.dumps(item) + "\n" for item in items)
    done = subprocess.run([QUENCH, "score", "--model", model], input=text, capture_output=True, text=True, check=True)
    scores = [line["logprob"] / line["tokens"] for line in map(json.loads, done.stdout.splitlines())]
    for number, question in enumerate(questions):
        preferred = max(range(4), key=lambda option: scores[4 * number + option])
        question["answer"] = question["options"][preferred]
        question["accepted"] = [question["answer"]]
