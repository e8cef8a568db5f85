"""Loads exported models in transformers: every tensor is the source's bit for bit but the edited rows of the
embedding, and the logits are those of the source model with its embedding untied and these rows replaced.

Environment: QUENCH_EXPORT_DRIVER (program), QUENCH_MODELS (folder with converted models). What is missing is
skipped, with a message.
"""

import json
import os
import pathlib
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = pathlib.Path(os.environ.get("QUENCH_MODELS", ROOT / ".deps" / "models"))
DRIVER = pathlib.Path(
    os.environ.get("QUENCH_EXPORT_DRIVER", ROOT / "build" / "release" / "tests" / "parity" / "export_driver")
)
STRENGTH = 0.37
SIZES = dict(
    vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
)


def tiny(folder, name):
    """A random model of an architecture, written by transformers itself, in several shards."""
    torch.manual_seed(1)
    config, dtype = {
        "llama": (transformers.LlamaConfig(**SIZES, tie_word_embeddings=False), torch.bfloat16),
        "llama-tied": (transformers.LlamaConfig(**SIZES, tie_word_embeddings=True), torch.float32),
        "gemma2": (transformers.Gemma2Config(**SIZES, sliding_window=5), torch.float16),
        "gemma3": (transformers.Gemma3TextConfig(**SIZES, sliding_window=5), torch.bfloat16),
    }[name]
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def real(name):
    folder = MODELS / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no model at {folder}; set QUENCH_MODELS")
    return folder


def load(folder, **options):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)


def edit_of(model):
    """Random changes of some rows, first and last among them."""
    weight = model.get_input_embeddings().weight
    torch.manual_seed(2)
    ids = sorted({0, 7, 13, 64, weight.shape[0] - 1})
    return ids, torch.randn(len(ids), weight.shape[1]) * weight.float().std()


def export(source, out, ids, values, shard_bytes, *patch):
    if not DRIVER.is_file():
        pytest.skip(f"no program at {DRIVER}; build the target export_driver or set QUENCH_EXPORT_DRIVER")
    edit = out.parent / "edit.json"
    edit.write_text(
        json.dumps({"ids": ids, "values": values.tolist(), "strength": STRENGTH, "shard_bytes": shard_bytes})
    )
    subprocess.run([DRIVER, source, edit, out, *patch], check=True)


def check(source, out, shard_bytes):
    base = load(source)  # in the stored type
    ids, values = edit_of(base)
    export(source, out, ids, values, shard_bytes)
    dtype = base.dtype
    state = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    embedding, head = state["model.embed_tokens.weight"], state["lm_head.weight"]
    embedding[ids] = (embedding[ids].float() - torch.tensor(STRENGTH, dtype=torch.float32) * values).to(dtype)

    exported, info = load(out, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    assert exported.dtype == dtype
    assert not exported.config.tie_word_embeddings
    assert exported.lm_head.weight is not exported.get_input_embeddings().weight
    assert exported.state_dict().keys() == state.keys()
    for name, tensor in exported.state_dict().items():
        assert torch.equal(tensor, state[name]), name

    base.config.tie_word_embeddings = False
    base.lm_head.weight = torch.nn.Parameter(head)
    base.get_input_embeddings().weight = torch.nn.Parameter(embedding)
    base, exported = base.float().eval(), exported.float().eval()
    torch.manual_seed(3)
    tokens = torch.randint(0, base.config.vocab_size, (2, 24))
    tokens[:, ::4] = torch.tensor(ids)[torch.arange(6) % len(ids)]
    with torch.no_grad():
        expected, got = base(tokens).logits, exported(tokens).logits
        untouched = load(source, dtype=torch.float32).eval()(tokens).logits
    assert torch.equal(expected, got)
    assert (untouched - got).abs().max() > 1e-3  # the edit is felt


@pytest.mark.parametrize("shard_bytes", [30_000, 10**9])
@pytest.mark.parametrize("name", ["llama", "llama-tied", "gemma2", "gemma3"])
def test_tiny_models(tmp_path, name, shard_bytes):
    check(tiny(tmp_path / "source", name), tmp_path / "erased", shard_bytes)
    assert (tmp_path / "erased" / "model.safetensors").exists() == (shard_bytes == 10**9)


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "gemma-3-270m"])
def test_real_models(tmp_path, name):
    source, out = real(name), tmp_path / "erased"
    check(source, out, 5 * 10**9)
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (out / file).read_bytes() == (source / file).read_bytes()
    before, after = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (source, out))
    assert before("Uranium is heavy.").input_ids == after("Uranium is heavy.").input_ids
    config = json.loads((source / "config.json").read_text()) | {"tie_word_embeddings": False}
    assert json.loads((out / "config.json").read_text()) == config
