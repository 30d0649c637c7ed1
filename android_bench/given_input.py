"""An input that the user gives, as the bytes that a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from android_bench.errors import InputError


def read(path: Path) -> np.ndarray:
    """Return the array in a .npy file; raise InputError where it is none."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no .npy file of numbers ({error}); save the input with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; save the one input with numpy.save")
    return array


def as_bytes(array: np.ndarray, tensors: list[dict[str, Any]], model: Path) -> bytes:
    """Return `array` as the only input of a model, quantized if the model's input is and the array is not.

    `tensors` describe the inputs: shape, dtype, scale and zero point of each. The batch axis of 1 may
    be missing. Raises InputError where the array does not fit.
    """
    if len(tensors) != 1:
        raise InputError(f"{model} has {len(tensors)} inputs; --input is for models with one")
    (tensor,) = tensors
    shape, dtype = tuple(tensor["shape"]), np.dtype(tensor["dtype"])
    if array.shape not in (shape, shape[1:]):
        raise InputError(f"{model} takes an input of shape {shape}, --input has {array.shape}; give one of that shape")
    if array.dtype.kind == "f" and tensor["scale"]:
        limits = np.iinfo(dtype)
        steps = np.round(array / tensor["scale"]) + tensor["zero_point"]
        array = np.clip(steps, limits.min, limits.max)
    elif array.dtype.kind != dtype.kind:
        raise InputError(f"{model} takes {dtype} input, --input has {array.dtype}; give that type")
    return np.ascontiguousarray(array.astype(dtype)).tobytes()
