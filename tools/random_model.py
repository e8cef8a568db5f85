#!/usr/bin/env python3
"""Makes a Hugging Face model directory with random weights, for tests and timing. Needs torch alone.

    random_model.py OUT --arch gemma3 --seed 1 --tokenizer DIR
    random_model.py OUT --arch llama --size llama-3.1-8b --dtype bfloat16

The sizes `tiny` have everything that an architecture can have at once: grouped heads, a head width of their
own, layers with and without a sliding window (of 8 tokens), scaled rotary positions, soft-caps small enough to matter.
"""
import argparse
import json
import pathlib
import shutil
import sys

import torch

from safetensors_file import product, write_safetensors

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def sizes(hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, **extra):
    return {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "head_dim": head_dim, "intermediate_size": intermediate,
            "vocab_size": vocab, **extra}


SIZES = {
    "llama": {
        "tiny": sizes(64, 4, 4, 2, 16, 160, 512, max_position_embeddings=1024, rope_theta=10000.0,
                      rope_scaling={**LLAMA3_ROPE, "original_max_position_embeddings": 32}),
        "smollm2-135m": sizes(576, 30, 9, 3, 64, 1536, 49152, max_position_embeddings=8192, rope_theta=100000.0),
        "llama-3.1-8b": sizes(4096, 32, 32, 8, 128, 14336, 128256, max_position_embeddings=131072,
                              rope_theta=500000.0, tie_word_embeddings=False,
                              rope_scaling={**LLAMA3_ROPE, "original_max_position_embeddings": 8192}),
    },
    "gemma2": {
        "tiny": sizes(64, 4, 4, 2, 32, 160, 512, max_position_embeddings=1024, sliding_window=8,
                      query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
        "gemma-2-2b": sizes(2304, 26, 8, 4, 256, 9216, 256000, max_position_embeddings=8192, sliding_window=4096),
    },
    "gemma3": {
        "tiny": sizes(64, 4, 4, 2, 32, 160, 512, max_position_embeddings=1024, sliding_window=8, pattern=3,
                      query_pre_attn_scalar=24, rope_scaling={"rope_type": "linear", "factor": 8.0}),
        "gemma-3-270m": sizes(640, 18, 4, 1, 256, 2048, 262144, max_position_embeddings=32768, sliding_window=512),
        "gemma-3-1b": sizes(1152, 26, 4, 1, 256, 6912, 262144, max_position_embeddings=32768, sliding_window=512),
    },
}

FAMILIES = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5,
              "hidden_act": "silu", "mlp_bias": False},
    "gemma2": {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "rms_norm_eps": 1e-6, "pattern": 2,
               "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "rope_theta": 10000.0,
               "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3": {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "rms_norm_eps": 1e-6, "pattern": 6,
               "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "rope_theta": 1000000.0,
               "rope_local_base_freq": 10000.0},
}


def layer_types(layers, pattern):
    return ["full_attention" if layer % pattern == 0 else "sliding_attention" for layer in range(1, layers + 1)]


def with_rope_parameters(config):
    """The rotary settings as transformers 5 saves them."""
    rope = {"rope_type": "default", "rope_theta": config.pop("rope_theta"), **config.pop("rope_scaling", {})}
    if "rope_local_base_freq" in config:
        local = {"rope_type": "default", "rope_theta": config.pop("rope_local_base_freq")}
        rope = {"full_attention": rope, "sliding_attention": local}
    return {**config, "rope_parameters": rope}


def make_config(arguments):
    config = {**FAMILIES[arguments.arch], "torch_dtype": arguments.dtype, "tie_word_embeddings": True,
              "attention_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
              **SIZES[arguments.arch][arguments.size]}
    for option, key in DIMENSIONS.items():
        value = getattr(arguments, option)
        if value is not None:
            config[key] = value
    if arguments.untied:
        config["tie_word_embeddings"] = False
    if arguments.arch != "llama":
        config["layer_types"] = layer_types(config["num_hidden_layers"], config.pop("pattern"))
    return with_rope_parameters(config) if arguments.rope_parameters else config


DIMENSIONS = {"hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
              "kv_heads": "num_key_value_heads", "head_dim": "head_dim", "intermediate": "intermediate_size",
              "vocab": "vocab_size", "window": "sliding_window"}


def tensor_shapes(config):
    """{name: shape} in the order of the layers."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    gemma = config["model_type"] != "llama"
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden]}
    for layer in range(config["num_hidden_layers"]):
        parts = {"self_attn.q_proj": [queries, hidden], "self_attn.k_proj": [keys, hidden],
                 "self_attn.v_proj": [keys, hidden], "self_attn.o_proj": [hidden, queries],
                 "mlp.gate_proj": [mlp, hidden], "mlp.up_proj": [mlp, hidden], "mlp.down_proj": [hidden, mlp],
                 "input_layernorm": [hidden], "post_attention_layernorm": [hidden]}
        if gemma:
            parts.update({"pre_feedforward_layernorm": [hidden], "post_feedforward_layernorm": [hidden]})
        if config["model_type"] == "gemma3_text":
            parts.update({"self_attn.q_norm": [config["head_dim"]], "self_attn.k_norm": [config["head_dim"]]})
        shapes.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()})
    shapes["model.norm.weight"] = [hidden]
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [config["vocab_size"], hidden]
    return shapes


def random_tensor(shape, centre, seed, dtype, device):
    """Norms: `centre` +- 0.2; matrices: variance 1/inputs, so that activations keep their size; 2x for logits and scores."""
    generator = torch.Generator(device).manual_seed(seed)
    values = torch.randn(shape, generator=generator, device=device)
    values = centre + 0.2 * values if len(shape) == 1 else values * (2 / shape[1] ** 0.5)
    return values.to(dtype).cpu()


def to_bytes(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def write_weights(out, config, arguments):
    shapes = tensor_shapes(config)
    numbers = {name: index for index, name in enumerate(shapes)}
    centre = 1.0 if config["model_type"] == "llama" else 0.0
    dtype = getattr(torch, arguments.dtype)

    def data(names):
        for name in names:
            seed = arguments.seed * 1_000_003 + numbers[name]  # a tensor's values do not depend on the shards
            yield to_bytes(random_tensor(shapes[name], centre, seed, dtype, arguments.device))

    names, count = list(shapes), arguments.shards
    if count == 1:
        write_safetensors(out / "model.safetensors", DTYPES[arguments.dtype], shapes, data(names))
        return
    weight_map = {}
    for shard in range(count):
        file = f"model-{shard + 1:05d}-of-{count:05d}.safetensors"
        part = names[shard * len(names) // count:(shard + 1) * len(names) // count]
        weight_map.update(dict.fromkeys(part, file))
        write_safetensors(out / file, DTYPES[arguments.dtype], {name: shapes[name] for name in part}, data(part))
    total = sum(product(shape) for shape in shapes.values()) * dtype.itemsize
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def read_tokenizer(folder):
    """(vocabulary size, {"bos_token_id": id, ...}) of a tokenizer directory."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {**tokenizer["model"]["vocab"], **{token["content"]: token["id"] for token in tokenizer["added_tokens"]}}
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {}
    for role in ("bos", "eos", "pad"):
        token = config.get(f"{role}_token")
        text = token["content"] if isinstance(token, dict) else token
        if text in ids:
            special[f"{role}_token_id"] = ids[text]
    return max(ids.values()) + 1, special


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def run(arguments):
    if arguments.size not in SIZES[arguments.arch]:
        sys.exit(f"random_model.py: --size of {arguments.arch} is one of {', '.join(SIZES[arguments.arch])}")
    config = make_config(arguments)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if arguments.tokenizer:
        vocabulary, special = read_tokenizer(arguments.tokenizer)
        config["vocab_size"] = max(vocabulary, arguments.vocab or 0)
    config.update(special)
    arguments.out.mkdir(parents=True)
    write_json(arguments.out / "config.json", config)
    write_json(arguments.out / "generation_config.json", special)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if arguments.tokenizer and (arguments.tokenizer / name).exists():
            shutil.copyfile(arguments.tokenizer / name, arguments.out / name)
    write_weights(arguments.out, config, arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="directory to make; must not exist")
    parser.add_argument("--arch", choices=SIZES, required=True)
    parser.add_argument("--size", default="tiny", help="; ".join(f"{a}: {', '.join(s)}" for a, s in SIZES.items()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=pathlib.Path, metavar="DIR", help="copied; its vocabulary is the model's")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--shards", type=int, default=1, help="safetensors files")
    parser.add_argument("--untied", action="store_true", help="an output head of its own")
    parser.add_argument("--rope-parameters", action="store_true", help="config.json as transformers 5 writes it")
    parser.add_argument("--device", default="cpu", help="where random numbers are drawn; other devices give other ones")
    for option, key in DIMENSIONS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, help=key)
    try:
        run(parser.parse_args())
    except FileExistsError as error:
        sys.exit(f"random_model.py: {error.filename} exists; name another directory")
    except OSError as error:
        sys.exit(f"random_model.py: {error}")


if __name__ == "__main__":
    main()
