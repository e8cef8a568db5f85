"""tokenize, score and generate: what is wrong with a line is told of that line, what is wrong with a model ends all."""
import json
import os
import shutil
import struct

import pytest

import launch
from launch import DONE, MPIRUN, USAGE
from tiny_run import QUENCH

MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def call(command, model, text, ranks=0):
    """The finished command; bytes of the text that are no UTF-8 are written as Python's surrogates."""
    launcher = [*MPIRUN, "-n", str(ranks)] if ranks else []
    return launch.call([*launcher, QUENCH, command, "--model", model], input=text, encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize("ranks", [0, 2, 3])
@pytest.mark.parametrize("bad", [1, 3, 1030])
def test_a_line_that_is_not_utf8(base, bad, ranks):
    lines = [f"line {number}" for number in range(1, 1101)]
    good = call("tokenize", base / "model", "".join(line + "\n" for line in lines), ranks)
    assert good.returncode == DONE and len(good.stdout.splitlines()) == 1100
    lines[bad - 1] = lines[1080] = "it is \udcff\udcfe"
    done = call("tokenize", base / "model", "".join(line + "\n" for line in lines), ranks)
    ours = [line for line in done.stderr.splitlines() if line.startswith("quench: ")]
    assert done.returncode == USAGE and len(ours) == 1, done.stderr
    assert f"standard input: line {bad}: " in done.stderr and "byte 6" in done.stderr
    assert done.stdout.splitlines() == good.stdout.splitlines()[:bad - 1]


def test_limits_of_an_answer(base):
    limits = [2.7, 0, -1, 1_000_001, 1e300, "2", None, [[2]], 2]
    asked = [json.dumps({"prompt": "One", "max_new_tokens": limit}) for limit in limits] + ['{"prompt": 1e999}']
    done = call("generate", base / "model", "".join(line + "\n" for line in asked))
    assert done.returncode == DONE, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 10
    assert all("max_new_tokens must be a whole number from 1 to 1000000" in answer["error"] for answer in told[:8])
    assert list(told[8]) == ["text", "ids"] and 1 <= len(told[8]["ids"]) <= 2
    assert "1e999" in told[9]["error"]


def test_a_field_of_another_type_is_named(base):
    asked = [{"context": 5, "continuation": "a"}, {"context": "a"}, {"context": "a", "continuation": ["b"]}]
    done = call("score", base / "model", "".join(json.dumps(line) + "\n" for line in asked))
    told = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert done.returncode == DONE and len(told) == 3
    for error, part in zip(told, ('"context" must be a text, is number', 'needs the field "continuation"', '"continuation" must be a text, is array')):
        assert part in error
    done = call("generate", base / "model", '{"prompt": "a", "chat": "yes"}\n')
    assert '"chat\\" must be true or false, is string' in done.stdout


def test_a_file_size_limit_is_told(base, reference, tmp_path):
    text = tmp_path / "text"
    text.write_text("many words in a line of text\n" * 20000)
    for words in (["tokenize", "--model", base / "model"], ["export", reference, "--to", tmp_path / "out"], ["report", reference]):
        command = f"ulimit -f 100; exec {' '.join(map(str, [QUENCH, *words]))} < {text} > {tmp_path / 'ids'}"
        done = launch.call(["bash", "-c", command])
        assert done.returncode == USAGE and "quench: " in done.stderr, (words, done.returncode, done.stderr)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def zeros_with_a_vocabulary(model, vocab):
    """Turns the model into one with so many tokens and zeros for weights, in a file that takes no room."""
    file = model / "model.safetensors"
    data = file.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header, end = json.loads(data[8:8 + length]), 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        size = tensor["data_offsets"][1] - tensor["data_offsets"][0]
        if name == "model.embed_tokens.weight":
            size = size // tensor["shape"][0] * vocab
            tensor["shape"][0] = vocab
        tensor["data_offsets"] = [end, end + size]
        end += size
    text = json.dumps(header).encode()
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + end)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["vocab_size"] = vocab
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.skipif(MEMORY > 128 << 30, reason="it would fit")
def test_a_model_larger_than_memory(base, tmp_path):
    model = shutil.copytree(base / "model", tmp_path / "model")
    try:
        zeros_with_a_vocabulary(model, MEMORY // 128)  # of 64 float32 each: twice the memory
    except OSError as error:
        pytest.skip(f"no file of that size: {error}")
    for words in (["score", "--model", model], ["generate", "--model", model],
                  ["catalog", "stats", base / "catalog", "--model", model]):
        done = launch.call([QUENCH, *words], input="")
        assert done.returncode == USAGE, done.stderr
        assert "iB of memory on a node" in done.stderr and "iB are available" in done.stderr


def test_weights_that_are_not_numbers(base, tmp_path):
    model = shutil.copytree(base / "model", tmp_path / "model")
    with open(model / "model.safetensors", "r+b") as file:
        length, = struct.unpack("<Q", file.read(8))
        start = json.loads(file.read(length))["model.embed_tokens.weight"]["data_offsets"][0]
        file.seek(8 + length + start + 4 * 7)
        file.write(struct.pack("<f", float("nan")))
    done = call("score", model, "")
    assert done.returncode == USAGE, done.stderr
    assert f"{model / 'model.safetensors'}: model.embed_tokens.weight: number 7 is not a number" in done.stderr


def test_weights_that_the_configuration_does_not_use(base, tmp_path):
    model = shutil.copytree(base / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] = 2
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = call("score", model, "")
    assert done.returncode == DONE and done.stderr.count("config.json has no use for 9 of the tensors") == 1, done.stderr
    assert "model.layers.2.input_layernorm.weight" in done.stderr
