"""What a GGUF file says about itself."""
import numpy as np


class ConversionError(Exception):
    """The file cannot be converted; the message says why."""


class Metadata:
    """The file's key-value pairs; `own` looks below the architecture's name."""

    def __init__(self, reader):
        self.fields = reader.fields
        self.arch = self.get("general.architecture", required=True)

    def get(self, key, default=None, required=False):
        if key in self.fields:
            value = self.fields[key].contents()
            return shortest(value) if isinstance(value, float) else value
        if required:
            raise ConversionError(f"key {key!r} is missing: the file is not a complete language model")
        return default

    def own(self, key, default=None):
        return self.get(f"{self.arch}.{key}", default, required=default is None)


def shortest(value):
    """The shortest decimal that is the same float32 (9.999999747378752e-06 is 1e-05)."""
    return float(str(np.float32(value)))
