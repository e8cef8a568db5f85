"""tokenizer.json and tokenizer_config.json out of a GGUF file's metadata."""
from gguf_metadata import ConversionError

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # llama.cpp's token types
SPACE = "\u2581"  # SentencePiece's visible space

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def added_tokens(tokens, types):
    return [
        {"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": kind == CONTROL}
        for index, (token, kind) in enumerate(zip(tokens, types)) if kind in (CONTROL, USER_DEFINED)
    ]


def byte_level(**options):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **options}


def byte_level_pre_tokenizer(pre):
    if pre == "smollm":
        return {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level()]}
    if pre == "llama-bpe":
        split = {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}, "behavior": "Isolated", "invert": False}
        return {"type": "Sequence", "pretokenizers": [split, byte_level(use_regex=False)]}
    if pre in ("gpt-2", "default"):
        return byte_level()
    raise ConversionError(f"pre-tokenizer {pre!r} is not supported (smollm, llama-bpe and gpt-2 are)")


def byte_level_bpe(meta, tokens, types):
    pre = meta.get("tokenizer.ggml.pre", "default")
    merges = [merge.split(" ") for merge in meta.get("tokenizer.ggml.merges", required=True)]
    return {
        "added_tokens": added_tokens(tokens, types),
        "normalizer": None,
        "pre_tokenizer": byte_level_pre_tokenizer(pre),
        "decoder": byte_level(add_prefix_space=True),
        "model": bpe_model(tokens, merges, ignore_merges=pre == "llama-bpe"),
    }


def sentencepiece_merges(tokens):
    """Every split of a token into two tokens, best token first; Gemma's ids are in merge order."""
    known = set(tokens)
    return [
        [token[:cut], token[cut:]]
        for token in tokens for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in known and token[cut:] in known
    ]


def gemma_bpe(meta, tokens, types):
    tokens = [SPACE * len(token) if token and not token.strip(" ") else token for token in tokens]
    unknown = tokens[meta.get("tokenizer.ggml.unknown_token_id", required=True)]
    model = bpe_model(tokens, sentencepiece_merges(tokens), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    return {
        "added_tokens": added_tokens(tokens, types),
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model,
    }


def bpe_model(tokens, merges, **options):
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise ConversionError("the vocabulary names a token twice")
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            **options, "vocab": vocabulary, "merges": merges}


def begin_with(token, index):
    """The post-processor that puts the beginning-of-text token before each sequence."""
    def sequence(name, kind):
        return [{"SpecialToken": {"id": token, "type_id": kind}}, {"Sequence": {"id": name, "type_id": kind}}]

    return {"type": "TemplateProcessing", "single": sequence("A", 0), "pair": sequence("A", 0) + sequence("B", 1),
            "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}}}


def build_tokenizer(meta, tokens, adds_bos):
    types = meta.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    kind = meta.get("tokenizer.ggml.model", required=True)
    if kind == "gpt2":
        parts = byte_level_bpe(meta, tokens, types)
    elif kind == "llama" and meta.arch.startswith("gemma"):
        parts = gemma_bpe(meta, tokens, types)
    else:
        raise ConversionError(f"tokenizer {kind!r} of architecture {meta.arch!r} is not supported")
    bos = meta.get("tokenizer.ggml.bos_token_id")
    post = begin_with(tokens[bos], bos) if adds_bos else None
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": parts["added_tokens"],
            "normalizer": parts["normalizer"], "pre_tokenizer": parts["pre_tokenizer"], "post_processor": post,
            "decoder": parts["decoder"], "model": parts["model"]}


def tokenizer_config(meta, tokens, adds_bos):
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": adds_bos, "add_eos_token": False,
              "clean_up_tokenization_spaces": False, "model_max_length": meta.own("context_length")}
    for role, key in {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}.items():
        index = meta.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None:
            config[f"{role}_token"] = tokens[index]
    template = meta.get("tokenizer.chat_template")
    return {**config, "chat_template": template} if template else config
