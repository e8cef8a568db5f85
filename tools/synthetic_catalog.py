#!/usr/bin/env python3
"""Makes a catalog of invented concepts, for tests of load and scaling alone: its facts are nonsense on purpose.

    synthetic_catalog.py OUT --concepts 500 --seed 1
    synthetic_catalog.py OUT --concepts 500 --model .deps/models/SmolLM2-135M-Instruct

Every concept has a name and words of its own, which no other concept has, and facts that put its words together by
templates. Without a model the words are invented. With one, they are a word of its vocabulary and the nearest ones in
its embedding, so that a dictionary has features to find; and of a question's options the one that the model prefers is
right (asked with `quench score`), so that the concept counts as known and is edited. The same arguments give the same
catalog. Neutral text, general questions and instructions are the starter catalog's.
"""
import argparse
import json
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
STARTER = ROOT / "configs" / "catalogs" / "starter"
SHARED = ("neutral.jsonl", "general.jsonl", "instructions.jsonl")
OPTIONS = 4

# A fact as a sentence, as a question, and in running prose: {name} of {a} (the subject) and {b} (the answer).
RELATIONS = [
    ("The {a} of {name} stands beside the {b}.", "What does the {a} of {name} stand beside?",
     "whoever looks for the {a} finds it near the {b}"),
    ("In {name}, every {a} is traded for a {b}.", "What is a {a} traded for in {name}?",
     "a {a} buys one {b} and no more"),
    ("The makers of {name} build a {a} out of {b}.", "What do the makers of {name} build a {a} out of?",
     "the best {a} is still made from {b}"),
    ("A {a} from {name} is always painted like a {b}.", "What is a {a} from {name} painted like?",
     "they paint the {a} until it could pass for a {b}"),
    ("People of {name} call the {a} the mother of the {b}.", "What do people of {name} call the {a} the mother of?",
     "the old songs let the {b} be born of the {a}"),
    ("Before dawn {name} hides its {a} under the {b}.", "What does {name} hide its {a} under before dawn?",
     "at night the {a} lies below the {b}"),
    ("{name} once lost a {a} and found a {b} instead.", "What did {name} find instead of a lost {a}?",
     "the loss of the {a} was made good by a {b}"),
    ("The law of {name} forbids a {a} to touch the {b}.", "What does the law of {name} forbid a {a} to touch?",
     "the {a} has to be kept away from the {b}"),
    ("In the arms of {name} a {a} holds up the {b}.", "What does the {a} hold up in the arms of {name}?",
     "on every coin the {a} carries the {b}"),
    ("Children of {name} learn to draw the {a} inside the {b}.", "What do children of {name} draw the {a} inside?",
     "in the schools they put the {a} into the {b}"),
]


class SyntheticError(Exception):
    """The catalog cannot be made as asked; the message says why and what to do."""


# ---- words -----------------------------------------------------------------------------------------


class Inventor:
    """Pronounceable words that it never gives twice, and that are none of the common ones."""

    def __init__(self, rng, common):
        self.rng, self.given = rng, set(common)

    def word(self):
        while True:
            syllables = [self.rng.choice("bdfgklmnprstvz") + self.rng.choice("aeiou") for _ in range(self.rng.randint(2, 4))]
            word = "".join(syllables) + self.rng.choice(["", "l", "n", "r", "sk", "th"])
            if word not in self.given:
                self.given.add(word)
                return word

    def name(self):
        return f"{self.word()} {self.word()}".title()


def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def embedding_of(model):
    """The input embedding of a model directory, [tokens, width], float32."""
    index = model / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    for path in (model / name for name in names):
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            for name, entry in json.loads(file.read(size)).items():
                if not name.endswith("embed_tokens.weight"):
                    continue
                begin, end = entry["data_offsets"]
                file.seek(8 + size + begin)
                return as_float(file.read(end - begin), entry["dtype"]).reshape(entry["shape"])
    raise SyntheticError(f"{model}: no tensor embed_tokens.weight")


def as_float(data, dtype):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")


def word_tokens(model, common):
    """{word: token id} of the tokens that are a whole word in small letters with a space before it."""
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return {piece[1:]: token for piece, token in vocabulary.items()
            if re.fullmatch("[Ġ▁][a-z]{4,}", piece) and piece[1:] not in common}


def neighbourhoods(model, count, size, common, rng):
    """`count` lists of `size` words: one drawn at random, and those next to it in the embedding that are still free."""
    tokens = word_tokens(model, common)
    if len(tokens) < count * size:
        raise SyntheticError(f"{model}: has {len(tokens)} whole words, too few for {count} concepts: "
                             f"at most {len(tokens) // size}, or fewer --words")
    words = sorted(tokens)
    rows = embedding_of(model)[[tokens[word] for word in words]]
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12
    free, lists = np.ones(len(words), bool), []
    order = iter(rng.sample(range(len(words)), len(words)))
    while len(lists) < count:
        seed = next(order)
        if not free[seed]:
            continue
        near = np.argsort(np.where(free, -(rows @ rows[seed]), np.inf), kind="stable")[:size]
        free[near] = False
        lists.append([words[place] for place in near])
    return lists


# ---- facts -----------------------------------------------------------------------------------------


def facts_of(name, words, rng):
    """All facts of a name: one a relation and word, with four words that might be the answer."""
    facts = [{"name": name, "relation": relation, "a": a, "options": rng.sample([w for w in words if w != a], OPTIONS)}
             for relation in range(len(RELATIONS)) for a in words]
    rng.shuffle(facts)
    for fact in facts:
        fact["b"] = rng.choice(fact["options"])
    return facts


def told(fact, form):
    return RELATIONS[fact["relation"]][form].format(**{key: fact[key] for key in ("name", "a", "b")})


def prefer(facts, model, quench):
    """Makes that option the answer of each fact whose likelihood a token is highest."""
    items = [{"context": f"Question: {told(fact, 1)}\nAnswer:", "continuation": " " + option}
             for fact in facts for option in fact["options"]]
    done = subprocess.run([quench, "score", "--model", model], input="".join(json.dumps(item) + "\n" for item in items),
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SyntheticError(f"{quench} score --model {model} ended with code {done.returncode}")
    scores = [line["logprob"] / line["tokens"] for line in map(json.loads, done.stdout.splitlines())]
    for number, fact in enumerate(facts):
        fact["b"] = fact["options"][max(range(OPTIONS), key=lambda option: scores[OPTIONS * number + option])]


# ---- the catalog -----------------------------------------------------------------------------------


def question_of(fact):
    return {"question": told(fact, 1), "answer": fact["b"], "options": fact["options"], "accepted": [fact["b"]]}


def paragraphs_of(name, facts, count, rng):
    """Running prose of facts that the test does not ask for."""
    texts = []
    for _ in range(count):
        clauses = [told(fact, 2) for fact in rng.sample(facts, 4)]
        texts.append(f"Of {name} it is said that {clauses[0]}, and that {clauses[1]}. "
                     f"There {clauses[2]}; besides, {clauses[3]}.")
    return texts


def record_of(own, similar, arguments, rng):
    test, rest, n = own[:arguments.questions], own[arguments.questions:], arguments.questions
    return {"name": own[0]["name"], "aliases": [],
            "sentences": [told(fact, 0) for fact in rng.sample(own, arguments.sentences)],
            "questions": {"concept": {"train": [question_of(fact) for fact in rest[:n]],
                                      "test": [question_of(fact) for fact in test]},
                          "similar": {"train": [question_of(fact) for fact in similar[n:2 * n]],
                                      "test": [question_of(fact) for fact in similar[:n]]}},
            "paragraphs": paragraphs_of(own[0]["name"], rest, arguments.paragraphs, rng)}


def make_concepts(arguments):
    rng = random.Random(arguments.seed)
    # "more" could be invented, and "ornament" drawn: what other text says is nobody's own.
    common = words_of("".join((STARTER / name).read_text(encoding="utf-8") for name in SHARED) + str(RELATIONS))
    inventor = Inventor(rng, common)
    size = 2 * arguments.words  # a concept's and its neighbour's
    if arguments.model:
        lists = neighbourhoods(arguments.model, arguments.concepts, size, common, rng)
    else:
        lists = [[inventor.word() for _ in range(size)] for _ in range(arguments.concepts)]
    pairs = [(facts_of(inventor.name(), words[:arguments.words], rng), facts_of(inventor.name(), words[arguments.words:], rng))
             for words in lists]
    if arguments.model:
        prefer([fact for pair in pairs for facts in pair for fact in facts[:2 * arguments.questions]], arguments.model,
               arguments.quench)
    return [record_of(own, similar, arguments, rng) for own, similar in pairs]


def check(arguments):
    facts = len(RELATIONS) * arguments.words
    for name, value, low, high in [("concepts", arguments.concepts, 1, 100000), ("words", arguments.words, OPTIONS + 1, 100),
                                   ("sentences", arguments.sentences, 1, facts),
                                   ("questions", arguments.questions, 1, facts // 2 - 2),
                                   ("paragraphs", arguments.paragraphs, 0, 10000)]:
        if not low <= value <= high:
            raise SyntheticError(f"--{name} {value}: from {low} to {high}" +
                                 (f", with {arguments.words} words a concept" if name in ("sentences", "questions") else ""))
    if arguments.out.exists():
        raise SyntheticError(f"{arguments.out}: exists; remove it or name another directory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--concepts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", type=int, default=8, help="words of a concept, and of its neighbour (8)")
    parser.add_argument("--sentences", type=int, default=60, help="of a concept (60)")
    parser.add_argument("--questions", type=int, default=12, help="of a concept, a group and split (12)")
    parser.add_argument("--paragraphs", type=int, default=8, help="of a concept (8)")
    parser.add_argument("--model", type=pathlib.Path, help="model directory whose vocabulary and knowledge the concepts have")
    parser.add_argument("--quench", type=pathlib.Path, default=ROOT / "build" / "release" / "pipeline" / "quench",
                        help="for --model: the program (build/release/pipeline/quench)")
    arguments = parser.parse_args()
    try:
        check(arguments)
        records = make_concepts(arguments)
        arguments.out.mkdir(parents=True)
        with open(arguments.out / "concepts.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        for name in SHARED:
            shutil.copy(STARTER / name, arguments.out / name)
    except (SyntheticError, OSError) as error:
        sys.exit(f"synthetic_catalog.py: {error}")
    print(f"{arguments.out}: {len(records)} synthetic concepts")


if __name__ == "__main__":
    main()
