"""Writes the safetensors format (https://huggingface.co/docs/safetensors) a tensor at a time."""
import json
import struct

BYTES = {"BF16": 2, "F16": 2, "F32": 4}


def write_safetensors(path, dtype, shapes, data):
    """`shapes`: {name: shape}, in file order; `data`: the tensors' bytes in that order, one item each."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        begin, end = end, end + BYTES[dtype] * product(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for item in data:
            file.write(item)


def product(shape):
    result = 1
    for size in shape:
        result *= int(size)
    return result
