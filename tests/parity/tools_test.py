"""Tests of the Python tools: convert_gguf.py, import_ember.py, random_model.py, synthetic_catalog.py."""
import contextlib
import importlib
import io
import json
import pathlib
import re
import subprocess
import sys
from unittest import mock

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / ".deps" / "models"
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

from tiny_run import QUENCH


def tool(name, *arguments, fails=False):
    """Runs main() of a tool in this process (starting Python and torch each time takes longer than all tests)."""
    output = io.StringIO()
    with mock.patch("sys.argv", [name, *map(str, arguments)]), contextlib.redirect_stdout(output):
        try:
            importlib.import_module(name).main()
            error = None
        except SystemExit as stop:
            error = str(stop)
    assert (error is not None) == fails, error
    return error if fails else output.getvalue()


# ---- random_model.py ------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["llama", "gemma2", "gemma3"])
@pytest.mark.parametrize("options", [[], ["--rope-parameters", "--shards", "3", "--untied", "--dtype", "bfloat16"]])
def test_random_model_loads(tmp_path, arch, options):
    tool("random_model", tmp_path / "m", "--arch", arch, *options)
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not any(info.values())
    assert model.config.tie_word_embeddings == ("--untied" not in options)
    assert torch.isfinite(model(torch.arange(40)[None]).logits).all()


def test_random_model_is_decided_by_its_seed(tmp_path):
    for name, options in {"a": ["--seed", 1], "b": ["--seed", 1, "--shards", 2], "c": ["--seed", 2]}.items():
        tool("random_model", tmp_path / name, "--arch", "llama", *options)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in "ac")
    shards = {}
    for file in sorted((tmp_path / "b").glob("*.safetensors")):
        shards.update(load_file(file))
    assert all(torch.equal(one[name], shards[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


# ---- convert_gguf.py ------------------------------------------------------------------------------


def as_llama_cpp_stores(name, weight, config):
    """The inverse of what the converter must undo, as llama.cpp's own converter writes it."""
    gemma = config["model_type"] != "llama"
    if gemma and name.endswith("norm.weight"):
        return weight + 1
    if not gemma and ("q_proj" in name or "k_proj" in name):
        heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        rows = weight.shape[0]
        return weight.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(rows, -1)
    return weight


def gguf_name(name, arch):
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "pre_feedforward_layernorm": "ffn_norm",
             "post_feedforward_layernorm": "post_ffw_norm",
             "post_attention_layernorm": "ffn_norm" if arch == "llama" else "post_attention_norm"}
    top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in top:
        return top[stem] + ".weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{names[rest]}.weight"


def add_byte_level_tokenizer(writer, size):
    # All bytes in GPT-2's spelling, two merges, a special token, and padding up to the model's vocabulary.
    alphabet = sorted(ByteLevel.alphabet())
    tokens = ["<|end|>", *alphabet, "ab", "12"]
    merges = ["a b", "1 2"]
    types = [3] + [1] * (len(tokens) - 1)
    filler = size - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens + [f"<fill{i}>" for i in range(filler)])
    writer.add_token_types(types + [5] * filler)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{{ messages[0]['content'] }}")



def add_gemma_tokenizer(writer, size):
    letters = ["\u2581", "a", "b", "c", "\n"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    # Ids are in merge order: "ab" goes before "bc".
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "  ", "\n\n", *bytes_, "ab", "bc", "\u2581ab", *letters]
    types = [3, 3, 3, 3, 4, 4] + [6] * 256 + [1] * (3 + len(letters))
    filler = size - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens + [f"<unused{i}>" for i in range(filler)])
    writer.add_token_types(types + [3] * filler)
    writer.add_token_scores([0.0] * size)
    for role, index in {"pad": 0, "eos": 1, "bos": 2, "unk": 3}.items():
        getattr(writer, f"add_{role}_token_id")(index)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def write_gguf(path, arch, config, tensors):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    if arch != "llama":
        writer.add_sliding_window(config["sliding_window"])
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    (add_byte_level_tokenizer if arch == "llama" else add_gemma_tokenizer)(writer, config["vocab_size"])
    for name, tensor in tensors.items():
        stored = as_llama_cpp_stores(name, tensor.float().numpy(), config)
        writer.add_tensor(gguf_name(name, arch), np.ascontiguousarray(stored))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module", params=["llama", "gemma2", "gemma3"])
def converted(request, tmp_path_factory):
    """(architecture, original directory, converted directory): a random model through GGUF and back."""
    arch, folder = request.param, tmp_path_factory.mktemp(request.param)
    tool("random_model", folder / "original", "--arch", arch, "--untied")
    config = json.loads((folder / "original" / "config.json").read_text())
    write_gguf(folder / "model.gguf", arch, config, load_file(folder / "original" / "model.safetensors"))
    whole = (folder / "model.gguf").read_bytes()
    parts = [folder / "part0", folder / "part1"]
    parts[0].write_bytes(whole[:100_000])
    parts[1].write_bytes(whole[100_000:])
    tool("convert_gguf", *parts, folder / "converted")
    return arch, folder / "original", folder / "converted"


def test_weights_come_back(converted):
    _, original, out = converted
    expected = load_file(original / "model.safetensors")
    found = load_file(out / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        if name.endswith("norm.weight"):  # Gemma's +1 rounds in float32
            torch.testing.assert_close(found[name].float(), tensor, rtol=2**-8, atol=1e-6)
        else:
            assert torch.equal(found[name], tensor.to(torch.bfloat16)), name


def test_config_comes_back(converted):
    arch, original, out = converted
    expected, found = (json.loads((folder / "config.json").read_text()) for folder in (original, out))
    same = ["architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "intermediate_size", "rms_norm_eps", "rope_theta", "tie_word_embeddings"]
    same += [] if arch == "llama" else ["sliding_window"]
    same += ["attn_logit_softcapping", "final_logit_softcapping", "layer_types"] if arch == "gemma2" else []
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}
    model, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(info.values()) and model.dtype == torch.bfloat16


def test_tokenizer(converted):
    arch, _, out = converted
    in_transformers = AutoTokenizer.from_pretrained(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    if arch == "llama":
        expected = {"ab": ["ab"], "12": ["1", "2"], "a b<|end|>é": ["a", "Ġ", "b", "<|end|>", "Ã", "©"]}
    else:
        expected = {"abc": ["<bos>", "ab", "c"], "bca": ["<bos>", "bc", "a"], "ab c": ["<bos>", "ab", "\u2581", "c"], " ab": ["<bos>", "\u2581ab"],
                    "a  b": ["<bos>", "a", "\u2581\u2581", "b"], "\n\na": ["<bos>", "\n\n", "a"],
                    "é": ["<bos>", "<0xC3>", "<0xA9>"]}
    assert {text: tokenizer.encode(text).tokens for text in expected} == expected
    for text in expected:
        ids = tokenizer.encode(text).ids
        assert in_transformers(text)["input_ids"] == ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text.replace("<|end|>", "")


def test_converter_refuses(converted, tmp_path):
    arch, original, out = converted
    source = out.parent / "model.gguf"
    assert "exists" in tool("convert_gguf", source, out, fails=True)
    assert "SHA-256" in tool("convert_gguf", source, tmp_path / "x", "--sha256", "0" * 64, fails=True)
    (tmp_path / "bad.gguf").write_bytes(b"not a model" * 10)
    assert "not a GGUF file" in tool("convert_gguf", tmp_path / "bad.gguf", tmp_path / "x", fails=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.gguf"]


@pytest.mark.skipif(not (MODELS / "SmolLM2-135M-Instruct").exists(), reason="tools/fetch_models.sh smollm2")
def test_fetched_model_knows_paris():
    folder = MODELS / "SmolLM2-135M-Instruct"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=1, do_sample=False)[0, -1]
    assert tokenizer.decode(answer) == " Paris"


# ---- import_ember.py ------------------------------------------------------------------------------


def question(text, answer="w", options=("w", "x", "y", "z")):
    return {"q": text, "correct_answer": answer, "options": list(options)}


@pytest.fixture
def source(tmp_path):
    """A small release of the paper's layout, with the faults that the real one has."""
    folder = tmp_path / "source"
    folder.mkdir()
    choice = {"QA_train": [question("q1?"), question("q1?"), question("q2?", "y")], "QA_test": [question("q3?")],
              "SimdomQA_train": [question("s1?"), question("s2?")], "SimdomQA_test": [question("s2?")]}
    files = {
        "concept_sentences": [{"concept": "Golf", "sentences": ["One.", "Two é.", "One.", ""]}],
        "neutral_sentences": [{"url": "", "title": "", "sentence": text} for text in ("N1.", "N2.", "N1.")],
        "mc_questions": {"Golf": choice},
        "open_questions": {"Golf": {"QA_train": [{"q": "q1?", "a": "W of course."}, {"q": "q2?", "a": "y."}]}},
        "relearn_paragraphs": {"Golf": {"RelearnParagraphs": ["P1.", "P1.", "P2."]}},
        "mmlu_train_indices": [2], "mmlu_test_indices": [0, 1],
        "alpaca_train_indices": [1], "alpaca_test_indices": [0],
    }
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    starter = tmp_path / "starter"
    starter.mkdir()
    (starter / "general.jsonl").write_text('{"from": "starter"}\n')
    (starter / "instructions.jsonl").write_text('{"instruction": "starter", "split": "test"}\n')
    return folder


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def run_import(source, *options, fails=False):
    return tool("import_ember", source, source.parent / "out", "--starter", source.parent / "starter", *options,
                fails=fails)


def test_import(source):
    text = run_import(source)
    assert "starter" in text and "Golf: left out 2 repeated or empty sentences, 2 repeated or empty questions, 1" in text
    out = source.parent / "out"
    [concept] = read_lines(out / "concepts.jsonl")
    assert concept["sentences"] == ["One.", "Two é."] and concept["paragraphs"] == ["P1.", "P2."]
    own, similar = concept["questions"]["concept"], concept["questions"]["similar"]
    assert own["train"] == [
        {"question": "q1?", "answer": "w", "options": ["w", "x", "y", "z"], "accepted": ["w", "W of course"]},
        {"question": "q2?", "answer": "y", "options": ["w", "x", "y", "z"], "accepted": ["y"]}]
    assert [q["question"] for q in own["test"]] == ["q3?"]
    # what is chosen on must not be what is reported on
    assert [q["question"] for q in similar["train"]] == ["s1?"] and [q["question"] for q in similar["test"]] == ["s2?"]
    assert read_lines(out / "neutral.jsonl") == [{"text": "N1."}, {"text": "N2."}]
    assert read_lines(out / "general.jsonl") == [{"from": "starter"}]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_import_with_mmlu_and_alpaca(source, suffix):
    rows = [{"question": f"m{i}?", "choices": ["1", "2", "3", "4"], "answer": i} for i in range(2)]
    rows.append({"question": "m2?", "choices": ["1", "1", "3", "4"], "answer": 3})
    text = {"json": json.dumps(rows), "jsonl": "\n".join(map(json.dumps, rows)),
            "csv": 'question,A,B,C,D,answer\nm0?,1,2,3,4,A\nm1?,1,2,3,4,B\nm2?,1,1,3,4,D\n'}[suffix]
    mmlu, alpaca = source.parent / f"mmlu.{suffix}", source.parent / "alpaca.json"
    if suffix == "jsonl":  # lines as other programs write them: a break of Unicode's within, blank ones between
        text = "\r\n\n" + text.replace("m0?", "m\u20280?").replace("\n", "\r\n") + "\n\n"
    mmlu.write_bytes(text.encode())
    alpaca.write_text(json.dumps([{"instruction": "do this"}, {"instruction": "do that"}]))
    said = run_import(source, "--mmlu", mmlu, "--alpaca", alpaca)
    assert "general.jsonl" not in [line.split(":")[0] for line in said.splitlines() if "left out" in line]
    general = read_lines(source.parent / "out" / "general.jsonl")
    assert [(q["question"], q["answer"], q["split"]) for q in general] == [
        ("m2?", 3, "train"), ("m\u20280?" if suffix == "jsonl" else "m0?", 0, "test"), ("m1?", 1, "test")]
    assert general[0]["choices"] == ["1", "1", "3", "4"]
    assert read_lines(source.parent / "out" / "instructions.jsonl") == [
        {"instruction": "do that", "split": "train"}, {"instruction": "do this", "split": "test"}]


def test_import_with_examples(source):
    def row(text, **more):
        return {"question": text, "choices": ["1", "2", "3", "4"], "answer": 1, **more}

    mmlu, dev = source.parent / "mmlu.json", source.parent / "dev.jsonl"
    mmlu.write_text(json.dumps([row("m0?", subject=" anatomy\n"), row("m1?"), row("m2?", subject="virology")]))
    dev.write_text("".join(json.dumps(record) + "\n" for record in [
        row("d0?", subject="virology"), row("m0?", subject="anatomy"), row("d1? ", subject="anatomy ")]))
    said = run_import(source, "--mmlu", mmlu, "--mmlu-dev", dev)
    assert f"5 records from {mmlu} and {dev}" in said and "general.jsonl: left out 1 repeated" in said
    general = read_lines(source.parent / "out" / "general.jsonl")
    # An example that is asked as well would give its answer away.
    assert [(q["question"], q.get("subject"), q["split"]) for q in general] == [
        ("m2?", "virology", "train"), ("m0?", "anatomy", "test"), ("m1?", None, "test"),
        ("d0?", "virology", "dev"), ("d1?", "anatomy", "dev")]
    concepts_of(source.parent / "out")  # nothing is wrong with it
    dev.write_text(json.dumps({**row("d0?"), "answer": "E"}))
    assert f"{dev}: row 0: answer 'E'" in run_import(source, "--force", "--mmlu", mmlu, "--mmlu-dev", dev, fails=True)
    assert "--mmlu-dev needs --mmlu" in run_import(source, "--force", "--mmlu-dev", dev, fails=True)


def test_import_refuses(source):
    run_import(source)
    assert "--force" in run_import(source, fails=True)
    run_import(source, "--force")
    (source.parent / "mmlu.json").write_text("[]")
    assert "row 2 of mmlu_train_indices.json" in run_import(
        source, "--force", "--mmlu", source.parent / "mmlu.json", fails=True)
    for suffix in ("json", "jsonl", "csv"):
        (source.parent / f"mmlu.{suffix}").write_bytes(b"caf\xe9")
        assert f"mmlu.{suffix}: not UTF-8 at byte 3" in run_import(
            source, "--force", "--mmlu", source.parent / f"mmlu.{suffix}", fails=True)
    (source / "mc_questions.json").write_text('{"Golf": {}}')
    assert "'Golf' has no 'QA_test'" in run_import(source, "--force", fails=True)
    (source / "mc_questions.json").write_text('{"Golf": {\n}')
    assert "mc_questions.json:2" in run_import(source, "--force", fails=True)


# ---- synthetic_catalog.py -------------------------------------------------------------------------


def concepts_of(catalog):
    """The concepts of a catalog that quench finds nothing wrong with."""
    checked = subprocess.run([QUENCH, "catalog", "check", catalog], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    return read_lines(catalog / "concepts.jsonl")


def questions_of(concept, group):
    return [question for split in ("train", "test") for question in concept["questions"][group][split]]


def vocabulary_of(concept, group):
    """The words that its facts are made of: each is an option of some question."""
    return {option for question in questions_of(concept, group) for option in question["options"]}


def test_synthetic_concepts_have_words_of_their_own(tmp_path):
    tool("synthetic_catalog", tmp_path / "a")
    concepts = concepts_of(tmp_path / "a")
    assert len(concepts) == 500
    owners = {}
    for concept in concepts:
        for group in ("concept", "similar"):
            words = vocabulary_of(concept, group)
            assert len(words) == 8 and not words & owners.keys()
            owners.update(dict.fromkeys(words, (concept["name"], group)))
    for concept in concepts:
        name = concept["name"]
        assert len(set(concept["sentences"])) == 60 and len(concept["paragraphs"]) == 8
        for text in [*concept["sentences"], *concept["paragraphs"]]:
            assert {owners[word] for word in re.findall("[a-z]+", text) if word in owners} == {(name, "concept")}
        for question in questions_of(concept, "similar"):
            assert all(owners.get(word) in (None, (name, "similar")) for word in re.findall("[a-z]+", question["question"]))


def test_synthetic_catalog_is_decided_by_its_seed(tmp_path):
    made = {}
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        tool("synthetic_catalog", tmp_path / name, "--concepts", 3, "--seed", seed)
        made[name] = (tmp_path / name / "concepts.jsonl").read_bytes()
    assert made["a"] == made["b"] != made["c"]


def test_synthetic_concepts_of_a_model(tmp_path):
    folder = tmp_path / "model"
    tool("random_model", folder, "--arch", "llama", "--tokenizer", MODELS / "SmolLM2-135M-Instruct", "--shards", 2,
         "--dtype", "bfloat16")
    options = ["--concepts", 6, "--questions", 2, "--sentences", 20, "--model", folder, "--quench", QUENCH]
    tool("synthetic_catalog", tmp_path / "catalog", *options)
    concepts = concepts_of(tmp_path / "catalog")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Its words are neighbours in the embedding.
    rows = model.get_input_embeddings().weight.detach()
    rows = torch.nn.functional.normalize(rows - rows.mean(dim=0), dim=1)
    words = [sorted(vocabulary_of(concept, "concept")) for concept in concepts]
    ids = [[token for word in own for token in tokenizer(" " + word).input_ids] for own in words]
    assert [len(one) for one in ids] == [len(own) for own in words]
    centres = torch.stack([torch.nn.functional.normalize(rows[one].mean(dim=0), dim=0) for one in ids])
    for place, one in enumerate(ids):
        assert ((rows[one] @ centres.T).argmax(dim=1) == place).all()
    # The answer is what the model prefers.
    for question in (q for concept in concepts for group in ("concept", "similar") for q in questions_of(concept, group)):
        prompt = tokenizer(f"Question: {question['question']}\nAnswer:").input_ids
        scores = []
        for option in question["options"]:
            answer = tokenizer(" " + option).input_ids
            logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(dim=1)
            scores.append(logits[len(prompt) - 1:-1].gather(1, torch.tensor(answer)[:, None]).mean().item())
        assert scores[question["options"].index(question["answer"])] > max(scores) - 1e-4


def test_synthetic_catalog_refuses(tmp_path):
    assert "exists" in tool("synthetic_catalog", tmp_path, fails=True)
    assert "--questions 39: from 1 to 38, with 8 words" in tool("synthetic_catalog", tmp_path / "a", "--questions", 39,
                                                                fails=True)
    assert "at most" in tool("synthetic_catalog", tmp_path / "a", "--concepts", 9999, "--model",
                             MODELS / "SmolLM2-135M-Instruct", fails=True)
    assert not (tmp_path / "a").exists()
