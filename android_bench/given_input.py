"""An input that the user gives, as the bytes that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from android_bench.document import Tensor
from android_bench.errors import InputError


def read(path: Path) -> np.ndarray:
    """Read the user's input.

    Args:
        path: a .npy file.

    Returns:
        The array in it.

    Raises:
        InputError: where it is none.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file; save the input with numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # a header may announce more than there is
    except Exception as error:  # NumPy reads a header as Python's tokens, and raises what their reader does
        raise InputError(f"{path} is no .npy file of numbers ({error}); save the input with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays; save the one input with numpy.save")
    return np.array(array)


def as_bytes(array: np.ndarray, tensors: Sequence[Tensor], model: Path) -> bytes:
    """Turn an array into the only input of a model, quantized if the model's input is and the array is not.

    Args:
        array: the user's; the batch axis of 1 may be missing.
        tensors: the model's inputs.
        model: the model's path, for messages.

    Returns:
        The bytes of the input.

    Raises:
        InputError: where the array does not fit.
    """
    if len(tensors) != 1:
        raise InputError(f"{model} has {len(tensors)} inputs; --input is for models with one")
    (tensor,) = tensors
    shape, dtype = tuple(tensor.shape), np.dtype(tensor.dtype)
    if array.shape not in (shape, shape[1:]):
        raise InputError(f"{model} takes an input of shape {shape}, --input has {array.shape}; give one of that shape")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError("--input holds a value that is not finite; give numbers")
    if array.dtype.kind == "f" and tensor.scale:
        limits = np.iinfo(dtype)
        steps = np.round(array / tensor.scale) + tensor.zero_point
        array = np.clip(steps, limits.min, limits.max)
    elif array.dtype.kind != dtype.kind:
        raise InputError(f"{model} takes {dtype} input, --input has {array.dtype}; give that type")
    return np.ascontiguousarray(array.astype(dtype)).tobytes()
