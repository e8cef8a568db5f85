#!/usr/bin/env python3
"""Imports the data layout that the EMBER paper released into a catalog.

    import_ember.py SRC OUT [--mmlu FILE [--mmlu-dev FILE]] [--alpaca FILE]

SRC holds concept_sentences.json, neutral_sentences.json, mc_questions.json, open_questions.json and
relearn_paragraphs.json, and for --mmlu and --alpaca the index lists mmlu_{train,test}_indices.json and
alpaca_{train,test}_indices.json. All rows of --mmlu-dev become examples, shown before general questions of their subject
(corpus.shots). OUT gets concepts.jsonl, neutral.jsonl, general.jsonl and instructions.jsonl.
"""
import argparse
import ast
import csv
import io
import json
import os
import pathlib
import sys

GROUPS = {"concept": "QA", "similar": "SimdomQA"}  # ours: the paper's
SPLITS = ("train", "test")
LETTERS = "ABCD"


class SourceError(Exception):
    """The source cannot be imported; the message says file, place and remedy."""


def read_text(path):
    """The file's text with its own line ends."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None


def read_json(path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None


class Dropped:
    """Counts what is left out, by place and kind, and says it at the end."""

    def __init__(self):
        self.counts = {}

    def add(self, place, kind):
        kinds = self.counts.setdefault(place, {})
        kinds[kind] = kinds.get(kind, 0) + 1

    def distinct(self, place, kind, items, key=lambda item: item, seen=None):
        """The items whose key is neither empty nor seen before."""
        seen, kept = set() if seen is None else seen, []
        for item in items:
            if not key(item) or key(item) in seen:
                self.add(place, f"repeated or empty {kind}")
                continue
            seen.add(key(item))
            kept.append(item)
        return kept

    def report(self):
        for place, kinds in self.counts.items():
            print(f"{place}: left out " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))


def stripped(texts):
    return [text.strip() for text in texts]


def make_question(question, answer, options, accepted, place):
    """One question of the catalog; answers keep their order and are distinct."""
    options = stripped(options)
    if len(options) != 4 or answer not in options:
        raise SourceError(f"{place}: expected four options with the answer among them, found {options!r} and {answer!r}")
    return {"question": question, "answer": answer, "options": options, "accepted": list(dict.fromkeys(accepted))}


def read_questions(name, choice, free, dropped, paths):
    """{group: {split: [question]}} of one concept; the open form's answer is accepted beside the option.

    A question that both splits have stays in the test split: what is chosen on must not be what is reported on.
    """
    result, seen = {}, set()
    for group, prefix in GROUPS.items():
        result[group] = {split: [] for split in SPLITS}
        for split in reversed(SPLITS):
            key = f"{prefix}_{split}"
            if key not in choice:
                raise SourceError(f"{paths['mc']}: {name!r} has no {key!r}")
            open_answers = {item["q"].strip(): item["a"].strip().rstrip(".") for item in free.get(key, [])}
            questions = []
            for index, item in enumerate(choice[key]):
                text, answer = item["q"].strip(), item["correct_answer"].strip()
                accepted = [answer, open_answers.get(text, answer)]
                place = f"{paths['mc']}: {name}: {key}[{index}]"
                questions.append(make_question(text, answer, item["options"], accepted, place))
            result[group][split] = dropped.distinct(name, "questions", questions, lambda q: q["question"], seen)
    return result


def read_concepts(source, dropped):
    names = {"sentences": "concept_sentences", "mc": "mc_questions", "open": "open_questions",
             "paragraphs": "relearn_paragraphs"}
    paths = {key: source / f"{name}.json" for key, name in names.items()}
    data = {key: read_json(path) for key, path in paths.items()}
    concepts = []
    for record in data["sentences"]:
        name = record["concept"].strip()
        if name not in data["mc"]:
            raise SourceError(f"{paths['mc']}: no questions for {name!r}, which {paths['sentences'].name} has")
        paragraphs = data["paragraphs"].get(name, {}).get("RelearnParagraphs", [])
        concepts.append({
            "name": name,
            "aliases": [],
            "sentences": dropped.distinct(name, "sentences", stripped(record["sentences"])),
            "questions": read_questions(name, data["mc"][name], data["open"].get(name, {}), dropped, paths),
            "paragraphs": dropped.distinct(name, "paragraphs", stripped(paragraphs)),
        })
    return concepts


def read_rows(path):
    """The records of a JSON list, JSON Lines, CSV with a header, or Parquet file."""
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet
        except ImportError:
            raise SourceError(f"{path}: reading Parquet needs pyarrow (pip install pyarrow), or give JSON or CSV") from None
        try:
            return pyarrow.parquet.read_table(path).to_pylist()
        except pyarrow.lib.ArrowException as error:
            raise SourceError(f"{path}: not Parquet: {error}") from None
    if path.suffix == ".csv":
        try:
            return list(csv.DictReader(io.StringIO(read_text(path), newline="")))
        except csv.Error as error:
            raise SourceError(f"{path}: not CSV: {error}") from None
    if path.suffix != ".jsonl":
        return read_json(path)
    rows = []
    # Not splitlines(): JSON texts may hold U+2028 and other line breaks of Unicode as they are.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise SourceError(f"{path}:{number}: not JSON: {error.msg}") from None
    return rows


def chosen(source, path, kind):
    """(split, row number, row) of the rows that SRC/<kind>_{train,test}_indices.json name."""
    rows = read_rows(path)
    for split in SPLITS:
        for index in read_json(source / f"{kind}_{split}_indices.json"):
            if not 0 <= index < len(rows):
                raise SourceError(f"{path}: row {index} of {kind}_{split}_indices.json is not among its {len(rows)} rows: "
                                   "this is not the file that the indices were made for")
            yield split, index, rows[index]


def options_of(row, place):
    choices = row.get("choices")
    if choices is None and all(letter in row for letter in LETTERS):
        return [row[letter] for letter in LETTERS]
    if isinstance(choices, str):
        try:
            choices = ast.literal_eval(choices)
        except (SyntaxError, ValueError):
            choices = None
    if not isinstance(choices, list):
        raise SourceError(f"{place}: no list 'choices' and no columns A, B, C, D")
    return [str(choice) for choice in choices]


def make_general(row, split, place):
    """One general question in MMLU's layout; its answer by its place, since two options may be equal."""
    options = stripped(options_of(row, place))
    answer = str(row.get("answer", "")).strip()
    number = LETTERS.find(answer.upper()) if answer.isalpha() else int(answer) if answer.isdigit() else -1
    if not 0 <= number < len(options):
        raise SourceError(f"{place}: answer {answer!r} is neither A to D nor 0 to 3")
    if len(options) != 4:
        raise SourceError(f"{place}: expected four options, found {options!r}")
    subject = (row.get("subject") or "").strip()
    return {"question": row["question"].strip(), **({"subject": subject} if subject else {}), "choices": options,
            "answer": number, "split": split}


def read_general(source, dropped, path, dev=None):
    """The questions that are asked, then those of `dev`, which are shown: of two that are equal the former stays."""
    questions = [make_general(row, split, f"{path}: row {index}") for split, index, row in chosen(source, path, "mmlu")]
    if dev:
        questions += [make_general(row, "dev", f"{dev}: row {index}") for index, row in enumerate(read_rows(dev))]
    return dropped.distinct("general.jsonl", "questions", questions, lambda q: q["question"] and (q["question"], *q["choices"]))


def read_instructions(source, dropped, path):
    records = [{"instruction": row["instruction"].strip(), "split": split}
               for split, _, row in chosen(source, path, "alpaca")]
    return dropped.distinct("instructions.jsonl", "instructions", records, lambda r: r["instruction"])


def shared_records(name, given, read, source, starter, dropped):
    """The records of one shared file: from the files given, else the starter catalog's."""
    given = [path for path in given if path]
    if given:
        records = read(source, dropped, *given)
        print(f"{name}: {len(records)} records from {' and '.join(map(str, given))}")
    else:
        records = read_rows(starter / name)
        print(f"{name}: {len(records)} records of the starter catalog in {starter}")
    return records


def write_lines(path, records):
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def run(arguments):
    source, out, dropped = arguments.source, arguments.out, Dropped()
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not arguments.force:
        raise SourceError(f"{out} is not empty; name another directory, or give --force to write over its files")
    if arguments.mmlu_dev and not arguments.mmlu:
        raise SourceError("--mmlu-dev needs --mmlu: the starter's questions have no subjects for its examples to match")
    concepts = read_concepts(source, dropped)
    neutral = [{"text": text} for text in dropped.distinct(
        "neutral.jsonl", "sentences",
        stripped(item["sentence"] for item in read_json(source / "neutral_sentences.json")))]
    shared = {
        "general.jsonl": ([arguments.mmlu, arguments.mmlu_dev], read_general),
        "instructions.jsonl": ([arguments.alpaca], read_instructions),
    }
    files = {"concepts.jsonl": concepts, "neutral.jsonl": neutral}
    for name, (given, read) in shared.items():
        files[name] = shared_records(name, given, read, source, arguments.starter, dropped)
    out.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        write_lines(out / name, records)
    dropped.report()
    questions = sum(len(q) for c in concepts for group in c["questions"].values() for q in group.values())
    print(f"{out}: {len(concepts)} concepts with {sum(len(c['sentences']) for c in concepts)} sentences, "
          f"{questions} questions and {sum(len(c['paragraphs']) for c in concepts)} paragraphs; "
          f"{len(neutral)} neutral sentences")


def main():
    starter = pathlib.Path(__file__).resolve().parent.parent / "configs" / "catalogs" / "starter"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="SRC")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--mmlu", type=pathlib.Path, metavar="FILE",
                        help="MMLU's test split (cais/mmlu, all) as .json, .jsonl, .csv or .parquet; else the starter's questions")
    parser.add_argument("--mmlu-dev", type=pathlib.Path, metavar="FILE",
                        help="MMLU's dev split in the same layout: five examples a subject, for corpus.shots; with --mmlu")
    parser.add_argument("--alpaca", type=pathlib.Path, metavar="FILE",
                        help="alpaca_eval.json; else the starter's instructions")
    parser.add_argument("--starter", type=pathlib.Path, metavar="DIR", default=starter, help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="write over the files of an existing OUT")
    try:
        run(parser.parse_args())
    except (SourceError, OSError) as error:
        sys.exit(f"import_ember.py: {error}")
    except (KeyError, TypeError, AttributeError) as error:
        sys.exit(f"import_ember.py: the source is not laid out as expected: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
