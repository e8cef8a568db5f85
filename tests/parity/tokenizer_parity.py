"""Compares the tokenizer and the chat templates with Hugging Face's tokenizers and transformers."""

import json
import os
import random
import shutil

import pytest

import hard_text
from tokenizer_reference import DIRECTORIES, SHARED, ask, check_texts, decoded, directory, tokenizers

LONGER = 10 if os.environ.get("QUENCH_LONG") else 1
SEED, HARD_LINES, RANDOM_ID_LISTS, CHAT_TURNS = 20240607, 10_000 * LONGER, 2_000 * LONGER, 500 * LONGER

GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA31_TEMPLATE = (
    "{{- bos_token }}{% set date_string = '26 Jul 2024' %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}{{- 'Cutting Knowledge Date: December 2023\n' }}"
    "{{- 'Today Date: ' + date_string + '\n\n' }}{{- '<|eot_id|>' }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_in(item)


def paper_texts():
    folder = SHARED / "paper-data"
    if not folder.is_dir():
        pytest.skip(f"no paper data at {folder}; set QUENCH_SHARED")
    texts = []
    for file in sorted(folder.iterdir()):
        whole = file.read_text(encoding="utf-8")
        texts.append(whole)
        if file.suffix == ".json":
            texts.extend(strings_in(json.loads(whole)))
    return texts


@pytest.mark.parametrize("name", DIRECTORIES)
def test_paper_data(name):
    check_texts(directory(name), paper_texts())


@pytest.mark.parametrize("name", DIRECTORIES)
def test_hard_unicode(name):
    folder = directory(name)
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    contents = [token["content"] for token in added]
    check_texts(folder, hard_text.lines(SEED, HARD_LINES, contents))


@pytest.mark.parametrize("name", DIRECTORIES)
def test_every_assigned_code_point(name):
    folder = directory(name)
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0x40000 <= c < 0xE0000 and c < 0xE0200]
    check_texts(folder, ["x" + "1a ".join(map(chr, codes[i : i + 64])) for i in range(0, len(codes), 64)])


@pytest.mark.parametrize("name", DIRECTORIES)
def test_decodes_any_ids(name):
    folder = directory(name)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    rng = random.Random(SEED)
    size = tokenizer.get_vocab_size()
    requests = [[rng.randrange(rng.choice((300, size))) for _ in range(rng.randint(0, 20))] for _ in range(RANDOM_ID_LISTS)]
    assert ask(folder, requests) == [decoded(tokenizer, ids) for ids in requests]


def with_template(folder, template, tmp_path):
    """The tokenizer of `folder` in a folder of its own, with `template` in place of its own one."""
    shutil.copy(folder / "tokenizer.json", tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.update(chat_template=template, tokenizer_class="PreTrainedTokenizerFast")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "name, template",
    [
        ("SmolLM2-135M-Instruct", None),
        ("llama-3.1", None),
        ("llama-3.1", LLAMA31_TEMPLATE),
        ("gemma-2", GEMMA_TEMPLATE),
        ("gemma-3-270m", GEMMA_TEMPLATE),
    ],
    ids=["smollm2", "llama-3.1", "llama-3.1-dated", "gemma-2", "gemma-3"],
)
def test_chat_template(name, template, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = directory(name)
    if template:
        folder = with_template(folder, template, tmp_path)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    texts = ["", " \x1c\u2003 padded \n\x1f\u180e "]
    texts += hard_text.lines(SEED + 1, CHAT_TURNS, list(tokenizer.get_added_vocab()))
    for text, answer in zip(texts, ask(folder, texts)):
        turn = [{"role": "user", "content": text}]
        expected = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        assert answer["chat_text"] == expected
        assert answer["chat_ids"] == tokenizer.encode(expected, add_special_tokens=False)
