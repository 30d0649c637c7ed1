"""`.safetensors` files: names, types, shapes and places as JSON, then the numbers (Hugging Face's format)."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_classics.errors import InputError

TYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
LARGEST_HEADER = 100_000_000
"""Bytes of JSON; the format's own bound."""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file by name, in its own types (bfloat16 as `ml_dtypes` has it).

    Raises:
        ValueError: the file is damaged, or has a type that weights do not have.
    """
    try:
        content = Path(path).read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        if length > min(len(content) - 8, LARGEST_HEADER):
            raise ValueError("its header is longer than the file")
        header = json.loads(content[8 : 8 + length])
        numbers = memoryview(content)[8 + length :]
        tensors = {name: _array(name, entry, numbers) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as safetensors ({reason}); fetch it again") from error
    if not tensors:
        raise InputError(f"{path} holds no tensors; fetch it again")
    return tensors


def _array(name: str, entry: dict[str, Any], numbers: memoryview) -> np.ndarray:
    if entry["dtype"] not in TYPES:
        raise ValueError(f"{name} has the type {entry['dtype']}, which weights do not have")
    dtype, shape, (start, stop) = TYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    if not all(isinstance(size, int) and size >= 0 for size in (*shape, start, stop)):
        raise ValueError(f"the shape or place of {name} is not made of counts")
    if not start <= stop <= len(numbers) or stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} is cut short")
    return np.frombuffer(numbers[start:stop], dtype).reshape(shape)
