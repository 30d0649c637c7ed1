"""A model's inputs and outputs as bytes: the raw values of all tensors in their order, nothing between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from android_bench.runners.python.errors import RunnerError
from android_bench.runners.python.runtime import Interpreter

# The seed of the noise that a model gets where no input is given. It is a date and has no other meaning.
INPUT_SEED = 20260101


def describe(detail: dict[str, Any]) -> dict[str, Any]:
    """Describe a tensor.

    Args:
        detail: the runtime's own description.

    Returns:
        Its name, shape, dtype, scale (0 where it is not quantized) and zero point, as JSON takes them.
    """
    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"]),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def random_input(details: list[dict[str, Any]]) -> bytes:
    """Return the same noise in every process.

    Args:
        details: the runtime's descriptions of all inputs.

    Returns:
        The bytes of all inputs: floats in [0, 1), integers of 8 and 16 bits over their whole range, others 0 or 1.
    """
    generator = np.random.RandomState(INPUT_SEED)
    arrays = []
    for detail in details:
        dtype = np.dtype(detail["dtype"])
        shape = tuple(detail["shape"])
        if dtype.kind == "f":
            array = generator.random_sample(shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize <= 2:
            limits = np.iinfo(dtype)
            array = generator.randint(limits.min, limits.max + 1, shape).astype(dtype)
        else:
            array = generator.randint(0, 2, shape).astype(dtype)
        arrays.append(array.tobytes())
    return b"".join(arrays)


def set_inputs(interpreter: Interpreter, details: list[dict[str, Any]], content: bytes) -> None:
    """Fill all inputs.

    Args:
        interpreter: the model.
        details: the runtime's descriptions of its inputs.
        content: the bytes of all of them.

    Raises:
        RunnerError: of kind "input", where `content` is longer or shorter than the inputs.
    """
    expected = sum(int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize for detail in details)
    if len(content) != expected:
        raise RunnerError("input", f"the model takes {expected} bytes of input, {len(content)} were given")
    start = 0
    for detail in details:
        dtype = np.dtype(detail["dtype"])
        count = int(np.prod(detail["shape"]))
        array: np.ndarray = np.frombuffer(content, dtype, count, start).reshape(detail["shape"])
        interpreter.set_tensor(detail["index"], array)
        start += count * dtype.itemsize


def output_bytes(interpreter: Interpreter, details: list[dict[str, Any]]) -> bytes:
    """Return the bytes of all outputs.

    Args:
        interpreter: the model, after an inference.
        details: the runtime's descriptions of its outputs.
    """
    return b"".join(np.ascontiguousarray(interpreter.get_tensor(each["index"])).tobytes() for each in details)
