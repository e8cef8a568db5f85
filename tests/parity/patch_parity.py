"""Puts a patch into models of transformers with the code that docs/guide.md shows: the logits are those of the full export.

Environment: as export_parity.py.
"""

import re

import pytest

torch = pytest.importorskip("torch")

from export_parity import ROOT, edit_of, export, load, real, tiny

TINY = ["llama", "llama-tied", "gemma2", "gemma3"]


def documented():
    """apply_patch() as the guide has it."""
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S) if "def apply_patch" in block]
    names = {}
    exec(compile(code, "docs/guide.md", "exec"), names)
    return names["apply_patch"]


apply_patch = documented()


def make(source, folder):
    """The full export and the patch of an edit, and the ids of its rows."""
    base = load(source)
    ids, values = edit_of(base)
    export(source, folder / "erased", ids, values, 10**9, folder / "edit.safetensors")
    return folder / "erased", folder / "edit.safetensors", ids


def logits(model, ids):
    torch.manual_seed(3)
    tokens = torch.randint(0, model.config.vocab_size, (2, 24))
    tokens[:, ::4] = torch.tensor(ids)[torch.arange(6) % len(ids)]
    with torch.no_grad():
        return model.eval()(tokens).logits


def check(source, folder, **options):
    """The documented code on a model loaded with these options, against the full export loaded alike."""
    whole, patch, ids = make(source, folder)
    model = load(source, **options)
    untouched = logits(model, ids)
    apply_patch(model, patch)
    expected = load(whole, **options)
    assert torch.equal(logits(model, ids), logits(expected, ids))
    assert (logits(model, ids) - untouched).abs().max() > 1e-3  # the edit is felt
    model.save_pretrained(folder / "saved")
    saved, info = load(folder / "saved", output_loading_info=True, **options)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name


@pytest.mark.parametrize("dtype", ["auto", torch.float32])
@pytest.mark.parametrize("name", TINY)
def test_tiny_models(tmp_path, name, dtype):
    check(tiny(tmp_path / "source", name), tmp_path, dtype=dtype)


@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "gemma-3-270m"])
def test_real_models(tmp_path, name):
    check(real(name), tmp_path, dtype="auto")


@pytest.mark.parametrize("name", TINY)
def test_refuses_what_is_not_the_base(tmp_path, name):
    source = tiny(tmp_path / "source", name)
    whole, patch, ids = make(source, tmp_path)
    one_number = load(source)
    with torch.no_grad():
        one_number.get_input_embeddings().weight[5, 3] += 1  # of a row that the patch leaves alone
    larger = load(source)
    larger.resize_token_embeddings(128)
    for model in (one_number, larger, load(whole)):
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tied = model.config.tie_word_embeddings
        with pytest.raises(ValueError, match="the patch is for source"):
            apply_patch(model, patch)
        assert model.config.tie_word_embeddings == tied
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_refuses_a_narrower_type(tmp_path):
    source = tiny(tmp_path / "source", "llama-tied")  # float32
    _, patch, _ = make(source, tmp_path)
    with pytest.raises(ValueError, match="dtype='auto'"):
        apply_patch(load(source, dtype=torch.bfloat16), patch)
