#!/usr/bin/env python3
"""Turns a GGUF file into a Hugging Face model directory, without torch and without transformers.

    convert_gguf.py model.gguf OUT
    convert_gguf.py model.gguf.part00 model.gguf.part01 ... OUT      # parts of one file, in order

OUT gets config.json, generation_config.json, model.safetensors (bfloat16), tokenizer.json and
tokenizer_config.json. Architectures: llama, gemma2, gemma3. Tokenizers: byte-level BPE (pre-tokenizers
smollm, llama-bpe, gpt-2) and Gemma's SentencePiece BPE.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import gguf
import numpy as np
from tokenizers import Tokenizer

from gguf_metadata import ConversionError, Metadata
from gguf_tokenizer import build_tokenizer, tokenizer_config
from safetensors_file import write_safetensors

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
}
LLAMA_NORMS = {"ffn_norm": "post_attention_layernorm"}
GEMMA_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}


# ---- config.json ----------------------------------------------------------------------------------


def base_config(meta, tensors):
    """What all architectures share, in the names of transformers 4, which 5 reads too."""
    heads = meta.own("attention.head_count")
    hidden = meta.own("embedding_length")
    embedding = tensors["token_embd.weight"]
    factor = meta.own("rope.scaling.factor", 1.0)
    if factor != 1 and meta.own("rope.scaling.type", "linear") != "linear":
        raise ConversionError(f"rope.scaling.type {meta.own('rope.scaling.type')!r} is not supported (linear is)")
    return {
        "model_type": meta.arch,
        "torch_dtype": "bfloat16",
        "vocab_size": int(embedding.shape[1]),
        "hidden_size": hidden,
        "intermediate_size": meta.own("feed_forward_length"),
        "num_hidden_layers": meta.own("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.own("attention.head_count_kv", heads),
        "head_dim": meta.own("attention.key_length", hidden // heads),
        "max_position_embeddings": meta.own("context_length"),
        "rms_norm_eps": meta.own("attention.layer_norm_rms_epsilon"),
        "rope_theta": meta.own("rope.freq_base", 10000.0),
        "rope_scaling": {"rope_type": "linear", "factor": factor} if factor != 1 else None,
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": meta.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": meta.get("tokenizer.ggml.padding_token_id"),
    }


def llama_config(meta, tensors):
    if "rope_freqs.weight" in tensors:
        raise ConversionError("rope_freqs.weight: scaled rotary positions (Llama 3.1 and later) are not supported; "
                              "take the model's own Hugging Face directory instead")
    config = base_config(meta, tensors)
    return {"architectures": ["LlamaForCausalLM"], **config, "hidden_act": "silu", "mlp_bias": False}


def gemma_config(meta, tensors, name, pattern):
    """`pattern`: every so-many-th layer attends to everything, the others to a window."""
    config = base_config(meta, tensors)
    layers = range(1, config["num_hidden_layers"] + 1)
    is_27b = len(layers) in (46, 62)  # Gemma 2 and 3 27B, whose scale the file does not hold
    return {
        "architectures": [name],
        **config,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"] if is_27b else config["head_dim"],
        "sliding_window": meta.own("attention.sliding_window"),
        "layer_types": ["full_attention" if i % pattern == 0 else "sliding_attention" for i in layers],
        "attn_logit_softcapping": meta.own("attn_logit_softcapping", 0.0) or None,
        "final_logit_softcapping": meta.own("final_logit_softcapping", 0.0) or None,
    }


def gemma2_config(meta, tensors):
    return gemma_config(meta, tensors, "Gemma2ForCausalLM", 2)


def gemma3_config(meta, tensors):
    config = gemma_config(meta, tensors, "Gemma3ForCausalLM", 6)
    own = {"model_type": "gemma3_text", "rope_local_base_freq": 10000.0, "sliding_window_pattern": 6}
    return {**config, **own, "use_bidirectional_attention": False}


CONFIGS = {"llama": llama_config, "gemma2": gemma2_config, "gemma3": gemma3_config}


# ---- model.safetensors ----------------------------------------------------------------------------


def hugging_face_name(name, arch):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in fixed:
        return fixed[name]
    names = {**LAYER_NAMES, **(LLAMA_NORMS if arch == "llama" else GEMMA_NORMS)}
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if not match or match[2] not in names:
        raise ConversionError(f"tensor {name!r} is not one of architecture {arch!r}")
    return f"model.layers.{match[1]}.{names[match[2]]}.weight"


def interleaved_to_halves(weight, heads):
    """llama.cpp stores a head's rotary pairs side by side; Hugging Face as two halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bfloat16(values):
    """The nearest bfloat16, ties to even, as uint16."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    if not np.isfinite(values).all():
        raise ConversionError("a weight is not finite")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def convert_tensor(tensor, arch, config):
    weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    if arch == "llama" and ".attn_q." in tensor.name:
        return interleaved_to_halves(weight, config["num_attention_heads"])
    if arch == "llama" and ".attn_k." in tensor.name:
        return interleaved_to_halves(weight, config["num_key_value_heads"])
    if arch.startswith("gemma") and tensor.name.endswith("norm.weight"):
        return weight - 1  # llama.cpp multiplies by the weight, Gemma by 1 + weight
    return weight


def write_weights(path, tensors, arch, config):
    def converted():
        for tensor in tensors.values():
            try:
                yield to_bfloat16(convert_tensor(tensor, arch, config)).tobytes()
            except ConversionError as error:
                raise ConversionError(f"tensor {tensor.name!r}: {error}") from None

    shapes = {hugging_face_name(name, arch): [int(size) for size in reversed(tensor.shape)]
              for name, tensor in tensors.items()}
    write_safetensors(path, "BF16", shapes, converted())


# ---- the whole directory --------------------------------------------------------------------------


def write_json(path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def write_directory(source, out):
    try:
        reader = gguf.GGUFReader(source)
    except ValueError as error:
        raise ConversionError(f"{source}: not a GGUF file ({error})") from None
    meta = Metadata(reader)
    if meta.arch not in CONFIGS:
        raise ConversionError(f"architecture {meta.arch!r} is not supported ({', '.join(CONFIGS)} are)")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "token_embd.weight" not in tensors:
        raise ConversionError("tensor 'token_embd.weight' is missing: the file is not a complete language model")
    config = {key: value for key, value in CONFIGS[meta.arch](meta, tensors).items() if value is not None}
    tokens = meta.get("tokenizer.ggml.tokens", required=True)
    adds_bos = meta.get("tokenizer.ggml.add_bos_token", meta.arch != "llama")

    write_json(out / "config.json", config)
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    write_json(out / "generation_config.json", special)
    write_json(out / "tokenizer.json", build_tokenizer(meta, tokens, adds_bos), indent=1)
    write_json(out / "tokenizer_config.json", tokenizer_config(meta, tokens, adds_bos))
    Tokenizer.from_file(str(out / "tokenizer.json"))  # refuses what it cannot read
    write_weights(out / "model.safetensors", tensors, meta.arch, config)
    return config


def joined(parts, folder):
    """One file: the only part itself, or all of them concatenated below `folder`."""
    if len(parts) == 1:
        return parts[0]
    whole = folder / "joined.gguf"
    with open(whole, "wb") as target:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, target)
    return whole


def check_digest(path, expected):
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ConversionError(f"{path}: SHA-256 is {found}, expected {expected}: download it again")


def convert(parts, out, sha256=None):
    if out.exists():
        raise ConversionError(f"{out} exists; name another directory or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        folder = pathlib.Path(folder)
        source = joined(parts, folder)
        if sha256:
            check_digest(source, sha256)
        staged = folder / "model"
        staged.mkdir()
        config = write_directory(source, staged)
        os.replace(staged, out)  # complete or not there at all
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="+", type=pathlib.Path, help="the file, or its parts in order")
    parser.add_argument("out", type=pathlib.Path, help="directory to make; must not exist")
    parser.add_argument("--sha256", help="refuse a (joined) file that has another SHA-256")
    arguments = parser.parse_args()
    try:
        config = convert(arguments.gguf, arguments.out, arguments.sha256)
    except (ConversionError, OSError) as error:
        sys.exit(f"convert_gguf.py: {error}")
    print(f"{arguments.out}: {config['architectures'][0]}, {config['num_hidden_layers']} layers, "
          f"width {config['hidden_size']}, vocabulary {config['vocab_size']}")


if __name__ == "__main__":
    main()
