"""What the tokenizer's parity tests share: the tokenizers, the program under test, the reference.

Environment: QUENCH_TOKENIZER_DRIVER (program), QUENCH_SHARED (folder with tokenizers/ and paper-data/),
QUENCH_MODELS (folder with converted models). What is missing is skipped, with a message.
"""

import json
import os
import pathlib
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QUENCH_SHARED", ROOT.parent / "shared"))
MODELS = pathlib.Path(os.environ.get("QUENCH_MODELS", ROOT / ".deps" / "models"))
DRIVER = pathlib.Path(
    os.environ.get("QUENCH_TOKENIZER_DRIVER", ROOT / "build" / "release" / "tests" / "parity" / "tokenizer_driver")
)
DIRECTORIES = {
    "llama-3.1": SHARED / "tokenizers" / "llama-3.1",
    "gemma-2": SHARED / "tokenizers" / "gemma-2",
    "SmolLM2-135M-Instruct": MODELS / "SmolLM2-135M-Instruct",
    "gemma-3-270m": MODELS / "gemma-3-270m",
}


def directory(name):
    folder = DIRECTORIES[name]
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"no tokenizer at {folder}; set QUENCH_SHARED or QUENCH_MODELS")
    return folder


def ask(folder, requests):
    if not DRIVER.is_file():
        pytest.skip(f"no program at {DRIVER}; build the target tokenizer_driver or set QUENCH_TOKENIZER_DRIVER")
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([DRIVER, folder], input=lines, capture_output=True, text=True, check=True, encoding="utf-8")
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(requests)
    return answers


def reference(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return {"ids": ids, "special_ids": tokenizer.encode(text, add_special_tokens=True).ids, **decoded(tokenizer, ids)}


def decoded(tokenizer, ids):
    return {
        "text": tokenizer.decode(ids, skip_special_tokens=True),
        "special_text": tokenizer.decode(ids, skip_special_tokens=False),
    }


def check_texts(folder, texts):
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    different = []
    for text, answer in zip(texts, ask(folder, texts)):
        expected = reference(tokenizer, text)
        if any(answer[key] != value for key, value in expected.items()):
            different.append((text, expected, {key: answer[key] for key in expected}))
    assert not different, f"{len(different)} of {len(texts)} texts differ; the first: {different[0]}"
