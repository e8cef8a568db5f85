"""Compares what tokenizer.json can ask for, beyond the four real tokenizers, with the reference.

Each case puts other parts into a real tokenizer.
"""

import json

import pytest

import hard_text
from tokenizer_reference import check_texts, directory

SEED, LINES = 7, 1_000

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
OTHER = [r"\w+|[^\w\s]+", r"\W", r"\D+", r"[\d\S]", r"[^\S\n]", r"[一-龥぀-ゟ゠-ヿ]+", r"\p{Sc}|\p{Pd}|\p{^Lu}", r"^\s|\s$", r"x*",
         r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",  # tiktoken's cl100k
         r"\p{N}{2}?|é{2,3}+|(?:[aeiou]|日){2}+|\w{2}?"]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


def metaspace(scheme, cut=True):
    part = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
    return {"normalizer": None, "pre_tokenizer": part, "decoder": part}


def replaced(old, new):
    return {"type": "Replace", "pattern": old, "content": new}


BYTE_LEVEL_CASES = {
    **{f"{b}-{i}": sequence(split(r"\d|[aeiou]+", b, i), BYTES) for b in BEHAVIORS for i in (False, True)},
    "literal": sequence({**split("", "MergedWithNext"), "pattern": {"String": "e"}}, BYTES),
    "qwen": sequence(split(QWEN), BYTES),
    "o200k": sequence(split(O200K), BYTES),
    "deepseek": sequence(split(r"\p{N}{1,3}"), split(OTHER[5]), split(DEEPSEEK), BYTES),
    **{f"regex-{i}": sequence(split(pattern, "Contiguous"), BYTES) for i, pattern in enumerate(OTHER)},
    "digits": sequence({"type": "Digits", "individual_digits": False}, BYTES),
    "whitespace": sequence({"type": "Whitespace"}, BYTES),
    "whitespace-split": sequence({"type": "WhitespaceSplit"}, BYTES),
    "prefix-space": {"pre_tokenizer": {**BYTES, "add_prefix_space": True, "use_regex": True}},
    "bytes-then-split": sequence(BYTES, split("Ġ")),
    "ignore-merges": {"model": {"ignore_merges": True}},
    "no-decoder": {"decoder": None},
    "prepend": {"normalizer": {"type": "Prepend", "prepend": "▁ "}},
    "replace": {"normalizer": {"type": "Sequence", "normalizers": [replaced({"Regex": r"\s+"}, " "), replaced({"String": "a"}, "bb")]}},
}
SENTENCE_PIECE_CASES = {
    **{f"metaspace-{s}": metaspace(s) for s in ("always", "first", "never")},
    "metaspace-whole": metaspace("first", False),
    "no-fallback": {"model": {"byte_fallback": False}},
    "no-fallback-no-fuse": {"model": {"byte_fallback": False, "fuse_unk": False}},
    "no-unknown": {"model": {"byte_fallback": False, "unk_token": None}},
    "strip": {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replaced({"String": " "}, "▁")]},
        "decoder": {
            "type": "Sequence",
            "decoders": [
                replaced({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    },
}  # fmt: skip


def flagged_tokens():
    """Added tokens with all combinations of flags; not all in the vocabulary."""
    contents = ["golf", " the", "can", "can't", "Harry ", "日本", "\n", "▁▁", "e.g", "👍", "ab", "é", "_a", "ⅷ", "<x>", "<x><x>"]
    return [
        {
            "content": f"{content}{'!' if i >= 16 else ''}",
            "single_word": bool(i & 1),
            "lstrip": bool(i & 2),
            "rstrip": bool(i & 4),
            "normalized": bool(i & 8),
            "special": i % 3 == 0 and not i & 8,  # the reference skips no special token that is normalised
        }
        for i, content in enumerate(contents * 2)
    ]


def changed(tokenizer, patch):
    for part, value in patch.items():
        tokenizer[part] = {**tokenizer[part], **value} if part == "model" else value
    return tokenizer


def check(name, patch, tmp_path, flags=False):
    tokenizer = changed(json.loads((directory(name) / "tokenizer.json").read_text(encoding="utf-8")), patch)
    if flags:
        vocab = tokenizer["model"]["vocab"]
        known = {token["content"] for token in tokenizer["added_tokens"]}
        new_id = max(vocab.values())
        for token in flagged_tokens():
            if token["content"] not in known:
                new_id += token["content"] not in vocab
                tokenizer["added_tokens"].append({"id": vocab.get(token["content"], new_id), **token})
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    contents = [token["content"] for token in tokenizer["added_tokens"]]
    check_texts(tmp_path, hard_text.lines(SEED, LINES, contents[-40:]))


@pytest.mark.parametrize("case", BYTE_LEVEL_CASES)
def test_byte_level(case, tmp_path):
    check("SmolLM2-135M-Instruct", BYTE_LEVEL_CASES[case], tmp_path)


@pytest.mark.parametrize("case", SENTENCE_PIECE_CASES)
def test_sentence_piece(case, tmp_path):
    check("gemma-2", SENTENCE_PIECE_CASES[case], tmp_path)


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "gemma-2"])
@pytest.mark.parametrize("case", ["prepend", "replace"])
def test_flagged_added_tokens(name, case, tmp_path):
    check(name, {"normalizer": BYTE_LEVEL_CASES[case]["normalizer"]}, tmp_path, flags=True)
