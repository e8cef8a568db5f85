"""Compares logits, MLP activations, scores and greedy generation with Hugging Face's transformers, in float32.

Environment: QUENCH_TRANSFORMER_DRIVER (program), QUENCH_MODELS (folder with converted models).
What is missing is skipped, with a message.
"""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = pathlib.Path(os.environ.get("QUENCH_MODELS", ROOT / ".deps" / "models"))
DRIVER = pathlib.Path(
    os.environ.get("QUENCH_TRANSFORMER_DRIVER", ROOT / "build" / "release" / "tests" / "parity" / "transformer_driver")
)
LONG = bool(os.environ.get("QUENCH_LONG"))
NEW_TOKENS = 256 if LONG else 64
TIE = 1e-5 if LONG else 0  # of the largest logit: among thousands of tokens, float32 leaves some undecided
LONG_ROW = 2000 if LONG else 700  # both longer than Gemma 3's window
WHOLE = ["--rope-parameters", "--shards", "3", "--untied", "--dtype", "bfloat16"]
TINY = {
    **{arch: ["--arch", arch] for arch in ("llama", "gemma2", "gemma3")},
    **{f"{arch}-whole": ["--arch", arch, "--seed", "5", *WHOLE] for arch in ("llama", "gemma2", "gemma3")},
    "llama-half": ["--arch", "llama", "--dtype", "float16"],
}
REAL = ["SmolLM2-135M-Instruct", "gemma-3-270m"]
TOPICS = ["golf", "uranium", "ancient Rome", "baseball", "Harry Potter", "the Moon", "bread", "chess", "volcanoes",
          "jazz", "the Nile", "penguins", "algebra", "Paris", "photosynthesis", "bridges", "tea", "the piano",
          "glaciers", "football"]


class Pair:
    """One model directory, read by transformers and by the driver."""

    def __init__(self, folder):
        self.folder = folder
        self.reference = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager").eval()

    def ask(self, **request):
        done = subprocess.run([DRIVER, self.folder], input=json.dumps(request) + "\n", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @torch.inference_mode()
    def logits(self, row):
        return self.reference(torch.tensor([row])).logits[0].numpy()

    @torch.inference_mode()
    def activations(self, row):
        """The input of down_proj: [layers, tokens, width of the MLP]."""
        seen = []
        hooks = [layer.mlp.down_proj.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0].numpy()))
                 for layer in self.reference.model.layers]
        self.reference(torch.tensor([row]))
        for hook in hooks:
            hook.remove()
        return np.stack(seen)

    def logprob(self, context, continuation):
        """The sum of the continuation's log-probabilities, in float64."""
        logits = torch.from_numpy(self.logits(context + continuation)).double()[len(context) - 1:-1]
        return logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None]).sum().item()

    def agrees(self, prompt, answer):
        """Whether greedy decoding answers so: each token is the likeliest one after all before it. One pass over the whole
        says the same as a pass a token, and takes a tenth of the time."""
        logits = self.logits(prompt + answer)[len(prompt) - 1:-1]
        chosen = logits[np.arange(len(answer)), answer]
        return len(answer) == NEW_TOKENS and (chosen >= logits.max(-1) - TIE * np.abs(logits).max()).all()


@pytest.fixture(scope="module", autouse=True)
def driver():
    if not DRIVER.is_file():
        pytest.skip(f"no program at {DRIVER}; build the target transformer_driver or set QUENCH_TRANSFORMER_DRIVER")


@pytest.fixture(scope="module", params=TINY)
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    subprocess.run([sys.executable, ROOT / "tools" / "random_model.py", folder, *TINY[request.param]], check=True)
    return Pair(folder)


@pytest.fixture(scope="module", params=REAL)
def real(request):
    folder = MODELS / request.param
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no model at {folder}; run tools/fetch_models.sh or set QUENCH_MODELS")
    pair = Pair(folder)
    pair.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return pair


def rows_of(pair, lengths):
    generator = np.random.default_rng(7)
    return [generator.integers(3, pair.reference.config.vocab_size, length).tolist() for length in lengths]


def check_logits(pair, rows, pad, folder):
    pair.ask(what="logits", rows=rows, pad=pad, out=str(folder / "logits"))
    expected = np.concatenate([pair.logits(row) for row in rows])
    logits = np.fromfile(folder / "logits", dtype=np.float32).reshape(expected.shape)
    assert np.abs(logits - expected).max() <= 1e-3 * np.abs(expected).max()


def check_activations(pair, rows, pad, folder):
    pair.ask(what="activations", rows=rows, pad=pad, out=str(folder / "activations"))
    expected = np.concatenate([pair.activations(row) for row in rows], axis=1)
    activations = np.fromfile(folder / "activations", dtype=np.float32).reshape(expected.shape)
    for ours, theirs in zip(activations, expected, strict=True):  # a layer each
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def check_scores(pair, items):
    expected = [[pair.logprob(item["context"], tokens) for tokens in item["continuations"]] for item in items]
    for max_tokens in (1, 4096):
        scores = pair.ask(what="score", items=items, max_tokens=max_tokens)
        for got, want in zip(scores, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def check_generation(pair, prompts, batch):
    answers = pair.ask(what="generate", prompts=prompts, max_new_tokens=NEW_TOKENS, stop_ids=[], batch=batch)
    different = [i for i, prompt in enumerate(prompts) if not pair.agrees(prompt, answers[i])]
    assert not different, f"the answers to prompts {different} differ"


@pytest.mark.parametrize("pad", ["left", "right"])
def test_logits_of_tiny_models(tiny, pad, tmp_path):
    check_logits(tiny, rows_of(tiny, [40]), pad, tmp_path)
    check_logits(tiny, rows_of(tiny, [40, 23, 9, 1]), pad, tmp_path)


@pytest.mark.parametrize("pad", ["left", "right"])
def test_mlp_activations_of_tiny_models(tiny, pad, tmp_path):
    check_activations(tiny, rows_of(tiny, [40, 23, 9, 1]), pad, tmp_path)


def test_scores_of_tiny_models(tiny):
    parts = rows_of(tiny, [30, 1, 4, 2, 12, 5, 7, 1, 20])
    check_scores(tiny, [{"context": parts[0], "continuations": parts[1:4]},
                        {"context": parts[4], "continuations": parts[5:7]},
                        {"context": parts[7], "continuations": parts[8:]}])


def test_generation_of_tiny_models(tiny):
    check_generation(tiny, rows_of(tiny, [20, 12, 5, 5, 3, 1]), batch=4)


def test_attention_with_biases(tmp_path):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attention_bias=True, bos_token_id=1, eos_token_id=2, initializer_range=0.3)
    model = transformers.LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path / "biased")
    pair = Pair(tmp_path / "biased")
    check_logits(pair, rows_of(pair, [30, 8]), "left", tmp_path)


@pytest.mark.parametrize("pad", ["left", "right"])
def test_logits_of_real_models(real, pad, tmp_path):
    texts = [f"The history of {topic} is long, and its first chapter" for topic in TOPICS[:3]] + ["Golf"]
    check_logits(real, real.tokenizer(texts)["input_ids"], pad, tmp_path)


def test_long_rows_of_real_models(real, tmp_path):
    check_logits(real, rows_of(real, [LONG_ROW]), "left", tmp_path)


def test_scores_of_real_models(real):
    def ids(text, special=False):
        return real.tokenizer(text, add_special_tokens=special)["input_ids"]

    check_scores(real, [{"context": ids(f"Question: Where would one find {topic}?\nAnswer:", True),
                         "continuations": [ids(" In a library."), ids(" Nowhere"), ids(" Under the bed, of course.")]}
                        for topic in TOPICS[:6]])


def test_generation_of_real_models(real):
    prompts = real.tokenizer([f"Question: What is known about {topic}?\nAnswer:" for topic in TOPICS])["input_ids"]
    check_generation(real, prompts, batch=len(prompts))
